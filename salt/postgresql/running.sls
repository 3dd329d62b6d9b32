# PostgreSQL runs with the settings of its files, and OMERO's database and roles are in it.
include:
  - postgresql.initialised

{%- from 'postgresql/map.jinja' import postgresql with context %}

PostgreSQL runs:
  service.running:
    - name: {{ postgresql.unit }}
    - enable: True
    - require:
      - sls: postgresql.initialised
    - watch:
      - file: PostgreSQL has its unit
      - pkg: PostgreSQL is installed

# Reloaded when a file changed; restarted only if a changed setting can't be taken up otherwise.
PostgreSQL's settings are in force:
  pg_cluster.settings_in_force:
    - name: {{ postgresql.unit }}
    - major: {{ postgresql.major }}
    - require:
      - service: PostgreSQL runs

OMERO's role has this environment's password:
  pg_role.present:
    - name: omero
    - password_from: secrets:database:password
    - require:
      - pg_cluster: PostgreSQL's settings are in force

readers have a role that can't write or hold up the server:
  pg_role.present:
    - name: omeroreadonly
    - password_from: secrets:database:readonly_password
    # covers tables yet to be made, unlike a grant on all tables
    - member_of: [pg_read_all_data]
    - settings:
        statement_timeout: 60s
    - require:
      - pg_cluster: PostgreSQL's settings are in force

OMERO's database is OMERO's alone:
  pg_database.present:
    - name: idr
    - owner: omero
    - readers: [omeroreadonly]
    - require:
      - pg_role: OMERO's role has this environment's password
      - pg_role: readers have a role that can't write or hold up the server
