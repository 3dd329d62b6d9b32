# The servers of the lab without a cloud, as an operator describes servers that were made by hand: where they are, and
# which volumes carry their data. Elsewhere such a file is ~/.config/idr/<env>/environment.sls (docs/enrolment.md); an
# environment in a cloud needs none. A server's name is its minion id; its role decides what it does (salt/roles/).
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
        - {name: proxy-nginxcache, mount: /var/cache/nginx, size_gb: 100, id: 0f3c9a11-5b7e-4d20-9c41-8a6de2b0f701}
    idr-omero:
      role: omero
      addresses: {idr: 192.168.1.11}
      volumes:
        - {name: omero-data, mount: /data, size_gb: 500, id: 27d81e64-9a03-4c6f-b1d2-35c07fe4a902}
    idr-database:
      role: database
      addresses: {idr: 192.168.1.12}
      volumes:
        - {name: database-db, mount: /var/lib/pgsql, size_gb: 250, id: 3a95c7f0-1e6d-48b2-8f57-d90b12c6e403}
    idr-a-omero:
      role: omero
      addresses: {idr-a: 192.168.2.11}
      volumes:
        - {name: a-omero-data, mount: /data, size_gb: 500, id: 5e40b2d8-c713-4fa9-a2e6-61f8d35b7c04}
    idr-a-database:
      role: database
      addresses: {idr-a: 192.168.2.12}
      volumes:
        - {name: a-database-db, mount: /var/lib/pgsql, size_gb: 250, id: 71b6f9ac-24e8-4035-9d1b-0ce7482a5f05}
    idr-a-dockermanager:
      role: dockermanager
      addresses: {idr-a: 192.168.2.13}
      volumes:
        - {name: a-dockermanager-data, mount: /data, size_gb: 10, id: 94d2083e-6fb1-47ca-b350-f7a1c9e64d06}
