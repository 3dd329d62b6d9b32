# The minion's own configuration: the very files that enrolment writes, so a first highstate changes nothing here.
{%- set environment = pillar.environment %}
{%- set server = pillar.server %}
{%- set master = environment.servers[environment.name ~ '-proxy'].addresses[server.network] %}

the minion knows its master:
  file.managed:
    - name: /etc/salt/minion
    - source: salt://salt_minion/files/minion.j2
    - template: jinja
    - mode: '0640'
    # the pinned key is enrolment's finding, over SSH: no pillar says it, and a minion never learns it from the network
    - context: {{ {'id': server.id, 'master': master, 'master_finger': opts.get('master_finger', '')} | json }}

the minion's unit is in place:
  file.managed:
    - name: /etc/systemd/system/salt-minion.service
    - source: salt://salt_minion/files/salt-minion.service
    - mode: '0644'

salt-call is in the path:
  file.symlink:
    - name: /usr/local/bin/salt-call
    - target: /opt/salt/bin/salt-call
