# OMERO.server and OMERO.web for one side of an environment. Data: /data.
include:
  - base
  - storage.mounted
  - redis.running
  - omero_server.running
  - omero_web.running
  - omero_web.served
  - firewall.running
