# The Docker engine of the analysis side. Its own nftables and iptables rules are left alone: ours are one table beside them.
include:
  - docker.installed
  - storage.mounted

Docker runs:
  service.running:
    - name: docker
    - enable: True
    - require:
      - sls: storage.mounted
      - pkg: Docker is there
    - watch:
      - file: Docker is configured before it first starts
