{%- from 'docker/map.jinja' import docker with context %}

Docker is configured before it first starts:
  file.managed:
    - name: /etc/docker/daemon.json
    - source: salt://docker/files/daemon.json.j2
    - template: jinja
    - makedirs: True
    - context: {{ {'mtu': docker.mtu} | json }}

Docker is there:
  pkg.installed:
    - name: {{ docker.package }}
    - install_recommends: False
    - require:
      - file: Docker is configured before it first starts
