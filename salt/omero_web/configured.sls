# OMERO.web's configuration, whole: the unit drops what is set and loads these files in order before every start.
include:
  - omero.given
  - omero_web.installed

{%- set files = '/opt/omero/web/config' %}

OMERO.web's configuration has a directory:
  file.directory:
    - name: {{ files }}
    - user: root
    - group: omero-web
    - mode: '0750'
    - require:
      - user: OMERO.web has a user

OMERO.web's configuration begins empty:
  file.managed:
    - name: {{ files }}/00-drop.omero
    - contents: config drop default
    - require:
      - file: OMERO.web's configuration has a directory
    - require_in:
      - file: OMERO.web's configuration is nothing else

{%- for name in ['10-web', '20-apps'] %}

OMERO.web's configuration has {{ name }}:
  file.managed:
    - name: {{ files }}/{{ name }}.omero
    - source: salt://omero_web/files/{{ name }}.omero.j2
    - template: jinja
    - require:
      - file: OMERO.web's configuration has a directory
    - require_in:
      - file: OMERO.web's configuration is nothing else
{%- endfor %}

OMERO.web knows the visitors' password:
  file.managed:
    - name: {{ files }}/30-secrets.omero
    - source: salt://omero_web/files/30-secrets.omero.j2
    - template: jinja
    - user: root
    - group: omero-web
    - mode: '0640'
    - show_changes: False
    - require:
      - sls: omero.given
      - file: OMERO.web's configuration has a directory
    - require_in:
      - file: OMERO.web's configuration is nothing else

OMERO.web's configuration is nothing else:  # a file left there by hand would be loaded as well
  file.directory:
    - name: {{ files }}
    - clean: True

OMERO.web's unit is in place:
  file.managed:
    - name: /etc/systemd/system/omero-web.service
    - source: salt://omero_web/files/omero-web.service

systemd knows OMERO.web's unit:
  module.run:
    - name: service.systemctl_reload
    - onchanges:
      - file: OMERO.web's unit is in place
