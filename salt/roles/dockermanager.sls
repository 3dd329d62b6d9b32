# JupyterHub and its users' containers, on the analysis side. Data: /data.
include:
  - base
  - storage.mounted
  - docker.running
  - jupyterhub.running
  - firewall.running
