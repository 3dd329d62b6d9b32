# What the proxy serves itself: the static pages under /about, and the page of which maintenance.on makes what visitors see.
{%- from 'nginx/map.jinja' import nginx with context %}
{%- set about = nginx.about %}

the page for times of maintenance is there:
  file.managed:
    - name: /srv/www/maintenance.html
    - source: salt://nginx/files/maintenance.html
    - makedirs: True
    - mode: '0644'

{%- if about.source %}

this version of the static pages is there:
  archive.extracted:
    - name: /srv/www/about/{{ about.version }}
    - source: {{ about.source }}
    - source_hash: {{ about.source_hash }}
    - enforce_toplevel: False
    - user: root
    - group: root

{%- else %}

this version of the static pages is there:
  file.managed:
    - name: /srv/www/about/{{ about.version }}/index.html
    - source: salt://nginx/files/about.html
    - makedirs: True
    - mode: '0644'
{%- endif %}

it is the one that visitors get:
  file.symlink:
    - name: /srv/www/html
    - target: /srv/www/about/{{ about.version }}
    - require:
      - {{ 'archive' if about.source else 'file' }}: this version of the static pages is there
