# What the volume holds is looked at before a package is installed or a file written: PostgreSQL of another major version,
# or a cluster at another place, stops this role as it is.
include:
  - storage.mounted

{%- from 'postgresql/map.jinja' import postgresql with context %}

the volume is fit for PostgreSQL {{ postgresql.major }}:
  pg_cluster.acceptable:
    - name: {{ postgresql.volume }}
    - major: {{ postgresql.major }}
    - require:
      - sls: storage.mounted
