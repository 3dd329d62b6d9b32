# What a server knows about itself, worked out from its entry in the environment's table.
# `prefix` names its side: `idr` (production) or `idr-a` (analysis), so `<prefix>-database` is this side's database.
{%- set environment = opts.get('idr_environment', 'idr') %}
{%- import_yaml 'environment.sls' as here %}
{%- set id = opts.id %}
{%- set server = here.environment.servers[id] %}
{%- set prefix = id.rpartition('-' ~ server.role)[0] %}
server:
  id: {{ id }}
  role: {{ server.role }}
  prefix: {{ prefix }}
  side: {{ 'production' if prefix == environment else 'analysis' }}
  network: {{ prefix }}
  cidr: {{ here.environment.networks[prefix].cidr }}
  address: {{ server.addresses[prefix] }}
  volumes: {{ server.volumes | json }}
