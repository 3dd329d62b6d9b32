# nginx before OMERO.web, on this server: static files from the disk, the rest from gunicorn, which serves none.
# Administrators log in here, through a tunnel; visitors come through the proxy.
{%- from 'omero/map.jinja' import family, omero, server with context %}
include:
  - nginx.installed
  - omero_web.installed

{%- set logo = omero.web.logo if server.side == 'production' else {} %}
{%- if logo %}

the logo is here:
  file.managed:
    - name: /opt/omero/web/branding/logo.png
    - source: {{ logo.source | json }}
    - source_hash: {{ logo.source_hash | json }}
    - makedirs: True
    - require_in:
      - file: nginx serves OMERO.web
{%- endif %}

nginx serves OMERO.web:
  file.managed:
    - name: /etc/nginx/nginx.conf
    - source: salt://omero_web/files/nginx.conf.j2
    - template: jinja
    - context: {{ {'user': family.nginx_user, 'logo': logo} | json }}
    - check_cmd: nginx -t -q -c
    - require:
      - sls: nginx.installed

nginx runs before OMERO.web:
  service.running:
    - name: nginx
    - enable: True
    - reload: True
    - watch:
      - file: nginx serves OMERO.web
