every server of the environment has a name:
  file.managed:
    - name: /etc/hosts
    - source: salt://base/files/hosts.j2
    - template: jinja
    - backup: minion
    - context:
        environment: {{ pillar['environment'] | json }}
        network: {{ pillar['server']['network'] }}
