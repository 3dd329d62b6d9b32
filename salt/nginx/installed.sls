# nginx without a site of its own, for the proxy and for OMERO.web's hosts. Who includes this brings the configuration.
{%- from 'nginx/map.jinja' import nginx with context %}

nginx is installed:
  pkg.installed:
    - pkgs: {{ nginx.packages | json }}
    - install_recommends: False

the distribution's welcome page is no site of ours:
  file.absent:
    - name: /etc/nginx/sites-enabled/default
    - require:
      - pkg: nginx is installed

{%- if grains.get('selinux', {}).get('enabled') %}

nginx may connect to what it stands in front of:
  selinux.boolean:
    - name: httpd_can_network_connect
    - value: True
    - persist: True
    - require:
      - pkg: nginx is installed
{%- endif %}
