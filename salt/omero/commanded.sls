# The command `omero`, for whoever logs in here: the right installation, and no way round the units by accident.
{%- from 'omero/map.jinja' import family, omero, ice_wheel with context %}
include:
  - omero.given

the omero command guards the units:
  file.managed:
    - name: /usr/local/bin/omero
    - source: salt://omero/files/omero
    - mode: '0755'

virtual environments are made whole:
  file.managed:
    - name: /opt/omero/bin/make-venv
    - source: salt://omero/files/make-venv
    - mode: '0755'
    - makedirs: True

what makes virtual environments is there:
  pkg.installed:
    - name: {{ family.python }}

the Ice wheel is here:
  file.managed:
    - name: {{ ice_wheel }}
    - source: {{ salt['pillar.get']('omero:ice_wheel:source') | json }}
    - source_hash: {{ salt['pillar.get']('omero:ice_wheel:source_hash') | json }}
    - makedirs: True
    - require:
      - sls: omero.given
