# A cluster on the volume: the one that is there, or a new one if there is none. Nothing in an existing one is changed but
# what ties it to the server it comes from: owner, stale lock, settings of its own.
include:
  - postgresql.configured

{%- from 'postgresql/map.jinja' import postgresql with context %}

there is a cluster on {{ postgresql.volume }}:
  pg_cluster.initialised:
    - name: {{ postgresql.volume }}
    - major: {{ postgresql.major }}
    - locale: {{ postgresql.locale }}
    - require:
      - sls: postgresql.configured

the cluster's indexes are in the order of this server's collations:
  pg_cluster.collated:
    - name: {{ postgresql.volume }}
    - major: {{ postgresql.major }}
    - require:
      - pg_cluster: there is a cluster on {{ postgresql.volume }}
