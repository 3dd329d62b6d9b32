# OMERO.server and the Python that its command runs on. Every version has a directory of its own, which the links are
# turned to last, with the server stopped: an old one is still there to go back to.
{%- from 'omero/map.jinja' import family, omero, ice_wheel with context %}
{%- import_text 'omero_server/files/requirements.lock' as lock %}
{%- set version = omero.server.get('version', '') %}
{%- set hash = omero.server.get('source_hash', '') %}
{%- set unpacked = '/opt/omero/server/' ~ version ~ '-' ~ hash.split('=')[-1][:8] %}
{%- set venv = '/opt/omero/server/venv3-' ~ ((lock ~ salt['pillar.get']('omero:ice_wheel:source_hash', '')) | sha256)[:12] %}
include:
  - omero.given
  - omero.commanded

what OMERO.server runs on is installed:
  pkg.installed:
    - pkgs: {{ ([family.psql, 'unzip', 'openssl'] + omero.server.get('packages', family.java)) | json }}

group idr-data has the images:
  group.present:
    - name: idr-data
    - gid: {{ omero.data.gid }}

OMERO.server's group has its number:
  group.present:
    - name: omero-server
    - gid: 546

OMERO.server's user has its number:  # the one that owns /data in every IDR
  user.present:
    - name: omero-server
    - uid: 546
    - gid: 546
    - groups: [idr-data]
    - home: /var/lib/omero-server
    - shell: /bin/bash
    - require:
      - group: OMERO.server's group has its number
      - group: group idr-data has the images

OMERO.server may open many files:
  file.managed:
    - name: /etc/security/limits.d/95-omero.conf
    - contents: |
        # Managed by Salt. For work by hand as omero-server; the unit has the same.
        omero-server - nofile 16384
        omero-server - nproc 8192

what is installed is root's to change:  # the versions are OMERO.server's own, the links between them aren't
  file.directory:
    - name: /opt/omero/server
    - user: root
    - group: root
    - mode: '0755'
    - makedirs: True

OMERO.server {{ version }} is unpacked:
  archive.extracted:
    - name: {{ unpacked }}
    - source: {{ salt['pillar.get']('omero:server:source') | json }}
    - source_hash: {{ hash | json }}
    - archive_format: zip
    - keep_source: False
    - trim_output: 3
    - unless:
      - fun: file.file_exists
        path: {{ unpacked }}/.complete
    - require:
      - sls: omero.given
      - pkg: what OMERO.server runs on is installed
      - file: what is installed is root's to change

OMERO.server {{ version }} is whole:
  cmd.run:
    - name: chown -R omero-server:omero-server {{ unpacked }}/OMERO.server-{{ version }} && touch {{ unpacked }}/.complete
    - creates: {{ unpacked }}/.complete
    - require:
      - archive: OMERO.server {{ version }} is unpacked
      - user: OMERO.server's user has its number

OMERO.server's configuration is for itself to read:  # etc/grid/config.xml has the database's password
  file.directory:
    - name: {{ unpacked }}/OMERO.server-{{ version }}/etc/grid
    - user: omero-server
    - group: omero-server
    - mode: '0750'
    - require:
      - cmd: OMERO.server {{ version }} is whole

OMERO.server's lock is here:
  file.managed:
    - name: /opt/omero/server/requirements.lock
    - source: salt://omero_server/files/requirements.lock
    - makedirs: True

OMERO.server's Python is complete:
  cmd.run:
    - name: /opt/omero/bin/make-venv /opt/salt/bin/uv {{ family.python }} {{ venv }} {{ ice_wheel }} /opt/omero/server/requirements.lock
    - creates: {{ venv }}/.complete
    - require:
      - sls: omero.commanded
      - file: OMERO.server's lock is here

OMERO.server is stopped before another takes its place:  # what is running couldn't be stopped by another's files
  service.dead:
    - name: omero-server
    - prereq:
      - file: OMERO.server is version {{ version }}

OMERO.server is version {{ version }}:
  file.symlink:
    - name: /opt/omero/server/OMERO.server
    - target: {{ unpacked }}/OMERO.server-{{ version }}
    - require:
      - file: OMERO.server's configuration is for itself to read
      - cmd: OMERO.server's Python is complete

OMERO.server uses this Python:
  file.symlink:
    - name: /opt/omero/server/venv3
    - target: {{ venv }}
    - require:
      - cmd: OMERO.server's Python is complete
      - file: OMERO.server is version {{ version }}
