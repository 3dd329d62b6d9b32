# The front door: the caching proxy, the gateway for SSH, and this environment's Salt master. Cache: /var/cache/nginx.
include:
  - base
  - storage.mounted
  - nginx.running
  - salt_master.running
  - firewall.running
