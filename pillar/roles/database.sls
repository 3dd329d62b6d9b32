# PostgreSQL for one side of an environment. A site gives the secrets; the rest are defaults.
{%- import_yaml 'environment.sls' as here %}
{%- import_yaml 'roles/omero.sls' as omero %}
{%- set prefix = opts.id.rpartition('-database')[0] %}
{%- set clients = [] %}
{%- for server in here.environment.servers.values() if server.role == 'omero' and prefix in server.addresses %}
{%- do clients.append(server) %}
{%- endfor %}
postgresql:
  major: 15                       # Debian 12's own
  repository: {}                  # where the packages come from, as pkgrepo.managed takes it; {}: the system's own
  # Pinned, since a cloned volume brings numbers, not names. The RHEL packages' 26 won't do: Debian's group 26 is `tape`.
  uid: 526
  gid: 526
  # Text is sorted by code point, which no glibc ever changes: a volume can move to another system with its indexes
  # intact. The IDR's volumes so far are en_US.UTF-8, whose order depends on glibc; that locale is there to open them.
  locale: C.UTF-8
  locales: [en_US.UTF-8]
  # OMERO's Blitz, Indexer and PixelData have a pool each. The reserve is for operators, monitoring and readers.
  pools: {{ (clients | length) * 3 * omero.omero.database.poolsize }}
  reserve: 25
  settings: {}                    # further lines of postgresql.conf, by name; they win
