# The certificate and its key are one file, so that they are replaced together or not at all: a half-replaced pair would
# stop nginx at its next start. Supplied ones come from the operator's secrets (secrets:tls).
{%- set public = pillar['environment']['public'] %}
include:
  - nginx.installed

certificates have a directory of their own:
  file.directory:
    - name: /etc/nginx/ssl
    - mode: '0700'
    - require:
      - pkg: nginx is installed

{%- if pillar.get('secrets', {}).get('tls') %}

the supplied certificate is in place:
  file.managed:
    - name: /etc/nginx/ssl/site.pem
    - contents_pillar:
      - secrets:tls:privkey
      - secrets:tls:fullchain
    - mode: '0600'
    - show_changes: False
    # a key and a certificate that don't belong together: the file is handed over as $0
    - check_cmd: >-
        sh -c 'key="$(openssl pkey -in "$0" -passin pass: -pubout)" &&
        test "$key" = "$(openssl x509 -in "$0" -noout -pubkey)" ||
        { echo "secrets:tls:privkey is not the key of the first certificate in secrets:tls:fullchain"; exit 1; }'
    - require:
      - file: certificates have a directory of their own

{%- else %}

a certificate of its own stands in for a supplied one:
  cmd.run:
    - name: >-
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650
        -subj '/CN={{ public.name }}' -addext 'subjectAltName=DNS:{{ public.name }},IP:{{ public.address }}'
        -keyout site.pem.new -out site.pem.new && mv site.pem.new site.pem
    - cwd: /etc/nginx/ssl
    - umask: '077'
    - creates: /etc/nginx/ssl/site.pem
    - require:
      - file: certificates have a directory of their own
{%- endif %}
