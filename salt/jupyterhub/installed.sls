# JupyterHub's images, which are the pinned ones, and the network of its users' containers. Nothing here touches the hub
# that runs: what can't be had leaves it as it is.
{%- from 'docker/map.jinja' import docker with context %}
{%- from 'jupyterhub/map.jinja' import jupyterhub, network with context %}
include:
  - docker.running
  - jupyterhub.given

JupyterHub's image is here:
  docker_engine.image_present:
    - image: {{ jupyterhub.hub_image | json }}
    - require:
      - sls: jupyterhub.given
      - service: Docker runs

the image of users' containers is here:
  docker_engine.image_present:
    - image: {{ jupyterhub.user_image | json }}
    - require:
      - sls: jupyterhub.given
      - service: Docker runs

users' containers have a network:
  docker_engine.network_present:
    - network: {{ network.name }}
    - bridge: {{ network.bridge }}
    - subnet: {{ network.subnet }}
    - gateway: {{ network.gateway }}
    - mtu: {{ docker.mtu }}       # Docker's own setting for it holds for its default bridge only
    - require:
      - service: Docker runs

users' containers can be limited:
  docker_engine.limits_hold:
    - require:
      - service: Docker runs
