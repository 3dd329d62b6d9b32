# What only the site can give: passwords, and where OMERO.server and the Ice wheel are got from. Without them nothing of
# OMERO is touched; every missing one is named.
{%- set needed = {
    'omero:server:version': 'the release of OMERO.server, as its archive names itself, e.g. 5.6.13-ice36',
    'omero:server:source': 'where the archive of OMERO.server is downloaded from',
    'omero:server:source_hash': 'its hash, as sha256=...',
    'omero:ice_wheel:source': 'where the zeroc-ice 3.6 wheel for Python 3.11 is downloaded from',
    'omero:ice_wheel:source_hash': 'its hash, as sha256=...',
    'secrets:database:password': "the password of PostgreSQL's role for OMERO",
    'secrets:omero:root_password': "the password of OMERO's root",
    'secrets:omero:public_password': 'the password of the user as whom visitors see everything',
} %}
{%- set missing = [] %}
{%- for key, meaning in needed.items() if not salt['pillar.get'](key) %}
{%- do missing.append(key ~ ' (' ~ meaning ~ ')') %}
{%- endfor %}
the site has given what OMERO needs:
{%- if missing %}
  test.fail_without_changes:
    - name: {{ ('Pillar of ' ~ pillar['server']['id'] ~ ' lacks ' ~ missing | join(', ')) | json }}
{%- else %}
  test.nop: []
{%- endif %}
