# The caching proxy's configuration. It is one file, because then `nginx -t` can judge the whole of it before it takes
# the place of the one in use: a candidate that fails changes nothing, on disk or in the running nginx.
{%- from 'nginx/map.jinja' import nginx with context %}
{%- from 'nginx/sizes.jinja' import check with context %}
{{- check(nginx.cache) }}
{%- set zones = nginx.cache.zones.keys() | join(' ') %}
include:
  - nginx.installed
  - nginx.certificate
  - nginx.pages
  - storage.mounted

every zone has a directory:
  file.directory:
    - names: {{ nginx.cache.zones.keys() | map('regex_replace', '^', '/var/cache/nginx/') | list | json }}
    - user: {{ nginx.user }}
    - mode: '0700'
    - require:
      - pkg: nginx is installed
      - sls: storage.mounted

# A volume that another system filled has that system's numbers: nginx could neither read its entries nor remove them,
# and would answer 500. Contents go before their directory, so that an interrupted run is seen and finished by the next.
entries of another system's nginx are given to this one:
  cmd.run:
    - name: >-
        cd /var/cache/nginx &&
        find {{ zones }} -depth ! -user {{ nginx.user }} -exec chown -h {{ nginx.user }} {} +
    - onlyif: >-
        cd /var/cache/nginx &&
        find {{ zones }} -maxdepth 1 ! -user {{ nginx.user }} -print -quit | grep -q .
    - require:
      - file: every zone has a directory

the proxy's configuration is in place:
  file.managed:
    - name: /etc/nginx/nginx.conf
    - source: salt://nginx/files/nginx.conf.j2
    - template: jinja
    - mode: '0644'
    - check_cmd: nginx -t -q -c
    - require:
      - pkg: nginx is installed
      - file: every zone has a directory
      - cmd: entries of another system's nginx are given to this one
      - sls: nginx.certificate
      - sls: nginx.pages
