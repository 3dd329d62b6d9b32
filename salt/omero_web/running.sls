# OMERO.web runs under systemd, restarted only when something of it changed.
include:
  - redis.running
  - omero_web.installed
  - omero_web.configured

OMERO.web runs:
  service.running:
    - name: omero-web
    - enable: True
    - require:
      - service: Redis runs
      - module: systemd knows OMERO.web's unit
    - watch:
      - file: OMERO.web is this one
      - file: OMERO.web's configuration begins empty
      - file: OMERO.web's configuration has 10-web
      - file: OMERO.web's configuration has 20-apps
      - file: OMERO.web knows the visitors' password
      - file: OMERO.web's configuration is nothing else
      - file: OMERO.web's unit is in place
