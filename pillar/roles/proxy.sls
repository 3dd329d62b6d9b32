# The caching proxy. Sites change values in site.sls; the URLs and sizes here are the IDR's own.
nginx:
  upstream: []                    # servers of the environment that answer for OMERO.web; empty: this side's omero server
  cache:
    # Largest part of the cache volume that the zones together may fill: nginx removes entries only after it has
    # written new ones, and a filesystem wants room.
    volume_percent: 95
    memory_percent: 25            # largest part of this server's memory that the zones' keys may take
    # A URL belongs to the zone whose expression matches its path, from its beginning and without its query. No two may
    # match the same path. What no zone matches is never stored: pages with forms, searches, downloads.
    zones:
      omero:
        {max_size_mb: 1024, keys_mb: 1, inactive: 180d, valid: 180d, path: '/webgateway/(?:metadata_|imgData/|plate/)'}
      omerostatic:
        {max_size_mb: 200, keys_mb: 1, inactive: 30d, valid: 30d, path: '/static/'}
      omerothumbnail:
        {max_size_mb: 10240, keys_mb: 300, inactive: 180d, valid: 180d, path: '/web(?:client|gateway)/(?:render|get)_thumbnail'}
      omerorender:
        {max_size_mb: 40960, keys_mb: 35, inactive: 180d, valid: 180d, path: '/web(?:client|gateway)/render_(?!thumbnail)'}
      omerometadata:
        {max_size_mb: 25600, keys_mb: 65, inactive: 180d, valid: 180d, path: '/webclient/metadata_'}
      omeroapi:                   # of api/v0 only what reads the model: its token and login belong to one visitor
        {max_size_mb: 10240, keys_mb: 320, inactive: 180d, valid: 180d, path: '/(?:webclient/api/|api/v0/(?:m/|$))'}
      omeromapr:
        {max_size_mb: 5120, keys_mb: 100, inactive: 180d, valid: 180d, path: '/mapr/'}
  # Addresses that moved, answered with 302. Targets are relative, so that a tunnel's port survives.
  redirects:
    pages:                        # this path, whatever its query
      /webclient: /webclient/userdata/?experimenter=-1
    queries:                      # this path with exactly this query
      /mito/webclient/?show=screen-1: /webclient/?show=screen-1101
      /mito/webclient/?show=screen-701: /webclient/?show=screen-1302
      /mito/webclient/?show=well-324: /webclient/?show=well-771034
      /tara/webclient/?show=screen-151: /webclient/?show=screen-1201
      /tara/webclient/?show=plate-362: /webclient/?show=plate-4751
      /pgpc/webclient/?show=screen-101: /webclient/?show=screen-1151
      /pgpc/webclient/?show=run-2: /webclient/?show=plate-4101
    below:                        # everything else at and below this path
      /mito: /webclient/?show=screen-1101
      /tara: /webclient/?show=screen-1201
      /pgpc: /webclient/?show=screen-1151
  about:
    # The static pages under /about: an archive of index.html and the rest, unpacked into a directory of this version.
    # Without a source a page of one's own stands in for them.
    version: placeholder
    source: ''
    source_hash: ''
  jupyter:
    enabled: False                # /jupyter goes to the analysis side's Docker server
    port: 8000
