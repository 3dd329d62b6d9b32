# Docker for the analysis side's JupyterHub. Data: /data.
include:
  - base
  - storage.mounted
  - docker.running
  - firewall.running
