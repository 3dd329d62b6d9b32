# What an environment is made of, unless `environments/<env>.sls` or the command line says otherwise: servers, networks,
# volumes, and where their first content comes from. What is (addresses, ids) is never here: the cloud knows.
# ENV stands for the environment's name. Of an environment's own file the mappings are laid over these by key, null takes
# an entry away, and anything else, lists too, is there instead of what is here.

idr_deployment_cloud: idr               # the cloud's name in clouds.yaml
idr_environment_idr: ENV                # the production side; the analysis side is ENV-a
idr_keypair_keys: []                    # public SSH keys that get into its servers; []: yours, ~/.ssh/id_*.pub

# What visitors type. The same for every environment: a release takes it over with the production address.
public_name: idr.example.org

vm_image: Debian 12                     # the image's name
vm_flavour: m1.large                    # a server below names one of these three by its key
vm_flavour_large: m1.xlarge
vm_flavour_medium: m1.medium

idr_volume_type: ''                     # of its volumes; '': the cloud's default
idr_availability_zone: ''               # '': the only one, or where the environment is already
idr_network_external: ''                # where floating IPs come from; '': the only external network
address: ''                             # one of them by name; '': one that is free, or a new one
idr_environment_idr_subnet: 192.168.1.0/24
idr_environment_analysis_subnet: 192.168.2.0/24
dns_nameservers: []                     # of both subnets; []: the cloud's own

# Where a volume's first content comes from: a volume or a snapshot by its name or id, another environment, a backup set,
# or `blank`. `sources` says it of every volume that nothing else is said of, e.g. sources=idr. Blank, where nothing is
# said at all.
sources: ''
idr_volume_database_db_src: ''
idr_volume_omero_data_src: ''
idr_volume_proxy_nginxcache_src: ''
idr_volume_dockermanager_data_src: ''   # of a-dockermanager-data

# The hours of the day (UTC) at which its master takes a backup set of it by itself, while it's the live one.
backup_hours: [3]

# Volumes that can be made again and that no set is to have, e.g. [proxy-nginxcache].
backup_leave_out: []

# Which backup sets `backup.prune` keeps: the newest of each of the last so many hours, days, … that have one, and of the
# verified ones. What stays whatever these say (pins, the newest good, …) is in docs/backups.md.
backup_keep: {hourly: 0, daily: 7, weekly: 4, monthly: 6, yearly: 2, verified: 3}

# What `release.check` asks of an environment before it may be the public's, through its own address under public_name. A
# site's `release.sls`, in its directory beside site.sls, is laid over these as an environment's own file is.
release_set_hours: 28                   # how old the newest quiesced backup set of the live one may be
release_certificate_days: 14            # for which the certificate has to be valid yet
release_ca: ''                          # what it's checked against: '' what your machine trusts; ca.pem, of the site's
                                        # directory; self-signed, the one that the proxy made itself
release_redirects:                      # a path, and where it leads
  /about: /about/
release_texts:                          # a page, and what is in it
  /: The Image Data Resource (IDR) is a public repository
  /about/: The IDR makes datasets that have never previously been
  /about/experiments.html: When submitting data to the IDR, you
release_images:                         # a JPEG that is rendered for the check, and its least bytes
  /webclient/render_image/2850181/10/0/: 50001
release_hits:                           # pages that are stored by the first request: the second is a HIT
  /api/v0/: true
release_counts:                         # numbers of a page's JSON, also not to be lower than the live one's
  # organisms whose names are of two words: without wildcards, OMERO.mapr counts only what is asked for
  /mapr/api/organism/count/?query=true&value=%20: {at: experimenter.childCount, least: 6}
  /api/v0/m/screens/?limit=1: {at: meta.totalCount, least: 1}
  /api/v0/m/projects/?limit=1: {at: meta.totalCount, least: 1}

# Of a new release's cache, which is a clone of the old one's: what another version of OMERO.web may answer otherwise, by
# expressions that find it in the cache's keys (path and query). `release.prepare` has it fetched anew.
release_warm: [^/static/, ^/mapr/api/config/, ^/webclient/api/containers/, '^/api/v0/(m/(projects|screens)/)?(\?|$)']

# Days after a confirmed switch for which `release.finish` leaves the old environment where it is.
release_keep_days: 14

# A server is <side>-<role>, or <side>-<role><number> where there are more. Roles: proxy (one, for both sides), omero,
# database, dockermanager (analysis side), management (production side; gets what every server gets, and no volume).
# A volume's name is that of its server without the environment, and its use: a second OMERO is
#   ENV-omero2: {role: omero, flavour: vm_flavour_large, volumes: [{name: omero2-data, size_gb: 500}]}
# A volume with `source` is a clone of that other volume of this environment; on the analysis side that is how it is
# separate from production, with the same rows and files.
servers:
  ENV-proxy:
    role: proxy
    flavour: vm_flavour
    volumes:
      - {name: proxy-nginxcache, size_gb: 100}
  ENV-omero:
    role: omero
    flavour: vm_flavour_large
    volumes:
      - {name: omero-data, size_gb: 500}
  ENV-database:
    role: database
    flavour: vm_flavour
    volumes:
      - {name: database-db, size_gb: 250}
  ENV-a-omero:
    role: omero
    flavour: vm_flavour_large
    volumes:
      - {name: a-omero-data, size_gb: 500, source: omero-data}
  ENV-a-database:
    role: database
    flavour: vm_flavour
    volumes:
      - {name: a-database-db, size_gb: 250, source: database-db}
  ENV-a-dockermanager:
    role: dockermanager
    flavour: vm_flavour_large
    volumes:
      - {name: a-dockermanager-data, size_gb: 10}
