# A server for an operator's own tools: what every server gets, and nothing else. No data volume.
include:
  - base
  - storage.mounted
  - firewall.running
