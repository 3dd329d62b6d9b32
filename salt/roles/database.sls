# PostgreSQL for one side of an environment. Data: /var/lib/pgsql.
include:
  - base
  - storage.mounted
  - postgresql.running
  - firewall.running
