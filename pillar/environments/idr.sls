# The environment `idr`: which servers it has, where they are, and which volumes carry their data.
# A server's name is its minion id; its role decides what it does (salt/roles/, pillar/roles/).
environment:
  name: idr
  public:
    name: idr.example.org          # what visitors type; the proxy's own server_name and the Host of every refresh
    address: 198.51.100.10         # the production address, translated by the cloud to the proxy's address in `idr`
  networks:
    idr: {cidr: 192.168.1.0/24, gateway: 192.168.1.1}
    idr-a: {cidr: 192.168.2.0/24, gateway: 192.168.2.1}
  servers:
    idr-proxy:
      role: proxy
      addresses: {idr: 192.168.1.10, idr-a: 192.168.2.10}
      volumes:
        - {name: proxy-nginxcache, mount: /var/cache/nginx, size_gb: 100, id: 6c1f0a52-0b57-4bd0-8f6e-3f4f1f0b9a01}
    idr-omero:
      role: omero
      addresses: {idr: 192.168.1.11}
      volumes:
        - {name: omero-data, mount: /data, size_gb: 500, id: 6c1f0a52-0b57-4bd0-8f6e-3f4f1f0b9a02}
    idr-database:
      role: database
      addresses: {idr: 192.168.1.12}
      volumes:
        - {name: database-db, mount: /var/lib/pgsql, size_gb: 250, id: 6c1f0a52-0b57-4bd0-8f6e-3f4f1f0b9a03}
    idr-a-omero:
      role: omero
      addresses: {idr-a: 192.168.2.11}
      volumes:
        - {name: a-omero-data, mount: /data, size_gb: 500, id: 6c1f0a52-0b57-4bd0-8f6e-3f4f1f0b9a04}
    idr-a-database:
      role: database
      addresses: {idr-a: 192.168.2.12}
      volumes:
        - {name: a-database-db, mount: /var/lib/pgsql, size_gb: 250, id: 6c1f0a52-0b57-4bd0-8f6e-3f4f1f0b9a05}
    idr-a-dockermanager:
      role: dockermanager
      addresses: {idr-a: 192.168.2.13}
      volumes:
        - {name: a-dockermanager-data, mount: /data, size_gb: 10, id: 6c1f0a52-0b57-4bd0-8f6e-3f4f1f0b9a06}
