# OMERO's database, on this side's own database server, over existing data as well as in an empty one.
{%- from 'omero/map.jinja' import database with context %}
include:
  - omero_server.installed
  - omero_server.configured

the database is one that this OMERO.server knows:
  omero.database_ready:
    - database: {{ database | json }}
    - wait: 300
    - require:
      - sls: omero_server.installed
      - sls: omero_server.configured

{#- Over data of another installation both get this environment's. The user of visitors may not be there yet. #}
{%- for user, key in [('root', 'secrets:omero:root_password'), (pillar['omero']['public']['user'], 'secrets:omero:public_password')] %}

OMERO's user {{ user }} has this environment's password:
  omero.password_set:
    - user: {{ user }}
    - pillar_key: {{ key }}
    - database: {{ database | json }}
    - require:
      - omero: the database is one that this OMERO.server knows
{%- endfor %}
