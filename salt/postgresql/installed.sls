# PostgreSQL's programs, with its user at a pinned number, and without the cluster that Debian would make of its own.
include:
  - postgresql.checked

{%- from 'postgresql/map.jinja' import postgresql with context %}

PostgreSQL's group has the number that its volumes carry:
  group.present:
    - name: postgres
    - gid: {{ postgresql.gid }}
    - system: True
    - require:
      - sls: postgresql.checked

PostgreSQL's user has the number that its volumes carry:
  user.present:
    - name: postgres
    - uid: {{ postgresql.uid }}
    - gid: {{ postgresql.gid }}
    - home: /var/lib/postgresql
    - shell: /bin/bash
    - system: True
    - require:
      - group: PostgreSQL's group has the number that its volumes carry

{%- if grains['os_family'] == 'Debian' %}

no cluster is made outside of the volume:
  file.managed:
    - name: /etc/postgresql-common/createcluster.conf
    - makedirs: True
    - contents: |
        # Managed by Salt (salt/postgresql): the cluster is on the data volume.
        create_main_cluster = false
    - require:
      - sls: postgresql.checked
    - require_in:
      - pkg: PostgreSQL is installed
{%- endif %}

{%- if postgresql.repository %}

PostgreSQL's packages have their source:
  pkgrepo.managed:
    {%- for key, value in postgresql.repository.items() %}
    - {{ {key: value} | json }}
    {%- endfor %}
    - require:
      - sls: postgresql.checked
    - require_in:
      - pkg: PostgreSQL is installed
{%- endif %}

PostgreSQL is installed:
  pkg.installed:
    - pkgs: {{ (postgresql.packages + [postgresql.locales_package]) | json }}
    - install_recommends: False
    - require:
      - user: PostgreSQL's user has the number that its volumes carry

{%- for locale in postgresql.locales %}

databases that sort by {{ locale }} can be opened:
  locale.present:
    - name: {{ locale }}
    - require:
      - pkg: PostgreSQL is installed
{%- endfor %}
