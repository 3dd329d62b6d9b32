# The server's own firewall: one nftables table of ours, replaced in one transaction, beside Docker's tables.
# Never `flush ruleset`: it would take Docker's rules along and leave a moment with no rules at all.
# What is for inside only is kept apart by source address: behind a floating IP every packet arrives at an inside one.
include:
  - base.hosts

nftables is there:
  pkg.installed:
    - name: nftables

no other firewall is in charge:
  service.dead:
    - names: [{{ {'Debian': 'nftables', 'RedHat': 'firewalld'}[grains['os_family']] }}]
    - enable: False
    - require:
      - pkg: nftables is there

the rules are written down:
  file.managed:
    - name: /etc/idr/firewall.nft
    - source: salt://firewall/files/firewall.nft.j2
    - template: jinja
    - makedirs: True
    - dir_mode: '0700'
    - mode: '0600'
    - check_cmd: nft -c -f
    - context:
        server: {{ pillar['server'] | json }}
        environment: {{ pillar['environment'] | json }}
    - require:
      - pkg: nftables is there

the rules are loaded before the network is up:
  file.managed:
    - name: /etc/systemd/system/idr-firewall.service
    - source: salt://firewall/files/idr-firewall.service

the rules are in force:
  service.running:
    - name: idr-firewall
    - enable: True
    - reload: True
    - require:
      - service: no other firewall is in charge
      - file: the rules are loaded before the network is up
    - watch:
      - file: the rules are written down

the rules are still in the kernel:
  cmd.run:
    - name: systemctl reload idr-firewall
    - unless: nft list table inet idr
    - require:
      - service: the rules are in force
