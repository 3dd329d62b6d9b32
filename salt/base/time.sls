# One clock everywhere: logs of six servers are read side by side, and snapshots are named after it.
{%- set daemon = {'Debian': 'systemd-timesyncd', 'RedHat': 'chrony'}[grains['os_family']] %}
{%- set service = {'Debian': 'systemd-timesyncd', 'RedHat': 'chronyd'}[grains['os_family']] %}

the time can be kept:
  pkg.installed:
    - pkgs: [tzdata, {{ daemon }}]

the server's clock shows UTC:
  file.symlink:
    - name: /etc/localtime
    - target: /usr/share/zoneinfo/UTC
    - force: True
    - require:
      - pkg: the time can be kept

the time is synchronised:
{%- if pillar['base']['own_clock'] %}
  service.running:
    - name: {{ service }}
    - enable: True
{%- else %}  {# a container has its machine's clock and may not set it #}
  service.enabled:
    - name: {{ service }}
{%- endif %}
    - require:
      - pkg: the time can be kept
