# What JupyterHub's container is started with.
include:
  - jupyterhub.installed
  - storage.mounted

JupyterHub has a place for what it remembers:
  file.directory:
    - name: /data/jupyterhub
    - mode: '0700'
    - require:
      - sls: storage.mounted

users' notebooks have a place:
  file.directory:
    - name: /data/notebooks
    - mode: '0711'
    - require:
      - sls: storage.mounted

JupyterHub's configuration is its own to read:
  file.directory:
    - name: /srv/jupyterhub
    - mode: '0700'
    - makedirs: True

JupyterHub can be drained:
  file.managed:
    - name: /srv/jupyterhub/draining.py
    - source: salt://jupyterhub/files/draining.py
    - mode: '0600'
    - require:
      - sls: jupyterhub.given
      - file: JupyterHub's configuration is its own to read

JupyterHub is configured:
  file.managed:
    - name: /srv/jupyterhub/jupyterhub_config.py
    - source: salt://jupyterhub/files/jupyterhub_config.py.j2
    - template: jinja
    - mode: '0600'
    - show_changes: False         # it has secrets
    - require:
      - docker_engine: JupyterHub's image is here
      - docker_engine: the image of users' containers is here
      - docker_engine: users' containers have a network
      - docker_engine: users' containers can be limited
      - file: JupyterHub can be drained

JupyterHub's unit is in place:
  file.managed:
    - name: /etc/systemd/system/docker-jupyterhub.service
    - source: salt://jupyterhub/files/docker-jupyterhub.service.j2
    - template: jinja
    - require:
      - file: JupyterHub is configured

systemd knows JupyterHub's unit:
  module.run:
    - name: service.systemctl_reload
    - onchanges:
      - file: JupyterHub's unit is in place
