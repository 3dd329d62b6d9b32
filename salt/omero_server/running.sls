# OMERO.server runs under systemd, restarted only when something of it changed, and visitors have a user in it.
{%- from 'omero/map.jinja' import database, omero with context %}
include:
  - omero_server.installed
  - omero_server.configured
  - omero_server.database

OMERO.server runs:
  service.running:
    - name: omero-server
    - enable: True
    - require:
      - sls: omero_server.database
      - module: systemd knows OMERO.server's unit
    - watch:
      - file: OMERO.server is version {{ omero.server.get('version', '') }}
      - file: OMERO.server uses this Python
      - file: OMERO.server's configuration begins empty
      - file: OMERO.server's configuration is this
      - file: OMERO.server knows its database's password
      - file: OMERO.server's configuration is nothing else
      - file: OMERO.server's unit is in place

visitors have a user who can only look:
  omero.read_only_user:
    - user: {{ omero.public.user }}
    - group: {{ omero.public.group }}
    - pillar_key: secrets:omero:root_password
    - database: {{ database | json }}
    - require:
      - service: OMERO.server runs

the visitors' user has this environment's password:  # the one made just now has a throw-away one
  omero.password_set:
    - user: {{ omero.public.user }}
    - pillar_key: secrets:omero:public_password
    - database: {{ database | json }}
    - onchanges:
      - omero: visitors have a user who can only look
