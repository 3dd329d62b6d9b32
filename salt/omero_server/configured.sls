# OMERO.server's configuration, whole: the unit drops what is set and loads these files in order before every start,
# so what someone set by hand with `omero config set` is gone then. Also the data directories, where there are none yet.
{%- from 'omero/map.jinja' import omero, database with context %}
include:
  - storage.mounted
  - omero.given
  - omero_server.installed

{%- set files = '/opt/omero/server/config' %}

OMERO.server's configuration has a directory:
  file.directory:
    - name: {{ files }}
    - user: root
    - group: omero-server
    - mode: '0750'
    - makedirs: True
    - require:
      - user: OMERO.server's user has its number

OMERO.server's configuration begins empty:
  file.managed:
    - name: {{ files }}/00-drop.omero
    - contents: config drop default
    - require:
      - file: OMERO.server's configuration has a directory
    - require_in:
      - file: OMERO.server's configuration is nothing else

OMERO.server's configuration is this:
  file.managed:
    - name: {{ files }}/10-server.omero
    - source: salt://omero_server/files/10-server.omero.j2
    - template: jinja
    - require:
      - file: OMERO.server's configuration has a directory
    - require_in:
      - file: OMERO.server's configuration is nothing else

OMERO.server knows its database's password:
  file.managed:
    - name: {{ files }}/20-secrets.omero
    - source: salt://omero_server/files/20-secrets.omero.j2
    - template: jinja
    - user: root
    - group: omero-server
    - mode: '0640'
    - show_changes: False
    - require:
      - sls: omero.given
      - file: OMERO.server's configuration has a directory
    - require_in:
      - file: OMERO.server's configuration is nothing else

psql knows its database's password:
  file.managed:
    - name: {{ database.passfile }}
    - source: salt://omero_server/files/pgpass.j2
    - template: jinja
    - user: omero-server
    - group: omero-server
    - mode: '0600'
    - show_changes: False
    - require:
      - sls: omero.given
      - file: OMERO.server's configuration has a directory
    - require_in:
      - file: OMERO.server's configuration is nothing else

OMERO.server's configuration is nothing else:  # a file left there by hand would be loaded as well
  file.directory:
    - name: {{ files }}
    - clean: True

OMERO.server looks before it starts:
  file.managed:
    - name: /opt/omero/server/bin/preflight
    - source: salt://omero_server/files/preflight
    - mode: '0755'
    - makedirs: True

OMERO.server's certificates have a place:  # beside the installation, so that /data holds data only
  file.directory:
    - name: /opt/omero/server/certs
    - user: omero-server
    - group: omero-server
    - mode: '0700'
    - require:
      - user: OMERO.server's user has its number

{%- for volume in pillar['server']['volumes'] %}

no restore from a copy goes on in {{ volume.mount }}:  # a directory made there now would be in its way
  file.missing:
    - name: {{ volume.mount }}/.idr-restoring
    - require:
      - sls: storage.mounted
{%- endfor %}

{#- A directory that exists is another installation's work or a link to other storage: not even its mode is changed. #}
{%- set data = omero.data.directory %}
{%- for name, mode, group in [
      ('', '0755', 'omero-server'), ('/BioFormatsCache', '0755', 'omero-server'), ('/DropBox', '0755', 'omero-server'),
      ('/Files', '0755', 'omero-server'), ('/FullText', '0755', 'omero-server'), ('/Pixels', '0755', 'omero-server'),
      ('/Thumbnails', '0755', 'omero-server'), ('/ManagedRepository', '2775', 'idr-data')] %}

{{ data }}{{ name }} is made where there is none:
  file.directory:
    - name: {{ data }}{{ name }}
    - user: omero-server
    - group: {{ group }}
    - mode: '{{ mode }}'
    - unless:
      - fun: file.access
        path: {{ data }}{{ name }}
        mode: f
    - require:
      - sls: storage.mounted
      - user: OMERO.server's user has its number
  {%- for volume in pillar['server']['volumes'] %}
      - file: no restore from a copy goes on in {{ volume.mount }}
  {%- endfor %}
{%- endfor %}

OMERO.server's unit is in place:
  file.managed:
    - name: /etc/systemd/system/omero-server.service
    - source: salt://omero_server/files/omero-server.service.j2
    - template: jinja

systemd knows OMERO.server's unit:
  module.run:
    - name: service.systemctl_reload
    - onchanges:
      - file: OMERO.server's unit is in place
