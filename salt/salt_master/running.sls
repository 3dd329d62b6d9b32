include:
  - salt_master.configured

the master is enabled:
  service.enabled:
    - name: salt-master
    - require:
      - file: the master's unit is in place

# A master that restarts loses the orchestration that is telling it to: the restart waits until no runner is left.
the master restarts once its jobs are done:
  cmd.run:
    - name: >-
        systemctl daemon-reload; systemd-run --quiet --collect --unit=salt-master-restart /bin/sh -c
        'for second in $(seq 86400); do
        [ -n "$(ls /var/cache/salt/master/proc /var/cache/salt/minion/proc | grep -v :)" ] || break; sleep 1; done;
        systemctl restart salt-master'
    - order: last
    - unless: systemctl is-active --quiet salt-master-restart
    - onchanges:
      - file: the master has its configuration
      - file: the master's unit is in place
