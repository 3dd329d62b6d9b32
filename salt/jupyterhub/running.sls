# JupyterHub runs in a container under systemd, restarted when its image, its unit or its configuration changed. Users'
# containers go on meanwhile, and their pages find their kernels again.
{%- from 'jupyterhub/map.jinja' import jupyterhub with context %}
{%- if jupyterhub.hub_image or jupyterhub.user_image %}
include:
  - jupyterhub.configured
  - firewall.running

JupyterHub runs:
  service.running:
    - name: docker-jupyterhub
    - enable: True
    - require:
      - file: JupyterHub has a place for what it remembers
      - file: users' notebooks have a place
      - module: systemd knows JupyterHub's unit
      - service: the rules are in force       # before strangers' code runs here
    - watch:
      - file: JupyterHub is configured
      - file: JupyterHub can be drained
      - file: JupyterHub's unit is in place

JupyterHub answers:
  jupyterhub.answers:
    - wait: 120
    - require:
      - service: JupyterHub runs
{%- else %}
there is no JupyterHub, since pillar jupyterhub has no hub_image and no user_image:
  service.dead:
    - name: docker-jupyterhub
    - enable: False
{%- endif %}
