# The tests' stand-in for an operator's own site.sls (/etc/idr/pillar on a master). Nothing here is real.
omero:
  server:
    version: 5.6.13-ice36
    source: http://downloads.test/OMERO.server-5.6.13-ice36.zip
    source_hash: sha256=0000000000000000000000000000000000000000000000000000000000000000
  ice_wheel:
    source: http://downloads.test/zeroc_ice-3.6.5-cp311-cp311-linux_x86_64.whl
    source_hash: sha256=1111111111111111111111111111111111111111111111111111111111111111
