# PostgreSQL's whole configuration, outside of the data directory, so that a cloned or restored volume brings none.
include:
  - postgresql.installed

{%- from 'postgresql/map.jinja' import postgresql with context %}

PostgreSQL's configuration has a place of its own:
  file.directory:
    - name: {{ postgresql.etc }}
    - mode: '0755'
    - require:
      - sls: postgresql.installed

{%- for name in ['postgresql.conf', 'pg_hba.conf', 'pg_ident.conf'] %}

PostgreSQL's {{ name }} is in place:
  file.managed:
    - name: {{ postgresql.etc }}/{{ name }}
    - source: salt://postgresql/files/{{ name }}.j2
    - template: jinja
    - context: {{ {'postgresql': postgresql, 'server': pillar['server']} | json }}
    - mode: '0640'
    - group: postgres
    - require:
      - file: PostgreSQL's configuration has a place of its own
{%- endfor %}

PostgreSQL has its unit:
  file.managed:
    - name: /etc/systemd/system/{{ postgresql.unit }}
    - source: salt://postgresql/files/postgresql.service.j2
    - template: jinja
    - context: {{ {'postgresql': postgresql} | json }}
    - require:
      - sls: postgresql.installed
