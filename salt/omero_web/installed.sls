# OMERO.web with the IDR's apps, in a virtual environment of its own lock. A new lock makes a new directory beside the
# old one, and the link is turned to it last.
{%- from 'omero/map.jinja' import family, ice_wheel with context %}
{%- import_text 'omero_web/files/requirements.lock' as lock %}
{%- set venv = '/opt/omero/web/venv3-' ~ ((lock ~ salt['pillar.get']('omero:ice_wheel:source_hash', '')) | sha256)[:12] %}
include:
  - omero.given
  - omero.commanded

OMERO.web has a user:
  user.present:
    - name: omero-web
    - system: True
    - usergroup: True
    - home: /var/lib/omero-web
    - shell: /bin/bash

OMERO.web's lock is here:
  file.managed:
    - name: /opt/omero/web/requirements.lock
    - source: salt://omero_web/files/requirements.lock
    - makedirs: True

OMERO.web and its apps are complete:
  cmd.run:
    - name: /opt/omero/bin/make-venv /opt/salt/bin/uv {{ family.python }} {{ venv }} {{ ice_wheel }} /opt/omero/web/requirements.lock
    - creates: {{ venv }}/.complete
    - require:
      - sls: omero.commanded
      - file: OMERO.web's lock is here

OMERO.web is this one:
  file.symlink:
    - name: /opt/omero/web/venv3
    - target: {{ venv }}
    - require:
      - cmd: OMERO.web and its apps are complete

{#- What OMERO.web writes: its configuration for itself, logs, and the static files that nginx reads. #}
{%- for name, mode in [('', '0755'), ('/etc', '0755'), ('/etc/grid', '0750'), ('/var', '0755')] %}

OMERO.web{{ name }} is its own:
  file.directory:
    - name: /opt/omero/web/OMERO.web{{ name }}
    - user: omero-web
    - group: omero-web
    - mode: '{{ mode }}'
    - makedirs: True
    - require:
      - user: OMERO.web has a user
{%- endfor %}
