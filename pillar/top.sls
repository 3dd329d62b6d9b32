# How pillar is assigned: by minion id, through the environment's own table of servers, because a minion can lie
# about its grains but not about the id that its key was accepted for.
# Two roots: this one (in git), and the site's own on the master (/etc/idr/pillar, 0700, never in git), which holds
# environment.sls (that table), site.sls (values of this site) and secrets/. A later sls wins, so the site can change
# any default.
{%- set environment = opts.get('idr_environment', 'idr') %}
{%- import_yaml 'environment.sls' as here %}
{{ saltenv }}:
  '{{ environment }}-proxy_master':     # the master itself, while it orchestrates
    - environment
{%- for id, server in here.environment.servers.items() %}
{%- set prefix = id.rpartition('-' ~ server.role)[0] %}
  '{{ id }}':
    - environment
    - server
    - common
    - roles.{{ server.role }}
    - ignore_missing: True
    - site
    {%- if server.role in ('database', 'omero') %}
    - secrets.{{ prefix }}.database
    {%- endif %}
    {%- if server.role == 'omero' %}
    - secrets.{{ prefix }}.omero
    {%- endif %}
    {%- if server.role == 'dockermanager' %}
    - secrets.{{ prefix }}.jupyterhub
    - secrets.{{ prefix }}.oauth
    {%- endif %}
    {%- if server.role == 'proxy' %}
    - secrets.{{ prefix }}.tls
    {%- endif %}
{%- endfor %}
