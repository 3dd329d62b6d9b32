include:
  - salt_minion.configured

the minion is enabled:
  service.enabled:
    - name: salt-minion
    - require:
      - file: the minion's unit is in place

# A minion that restarts while it runs states cuts its own run: the restart waits until no job is left, a day at most.
the minion restarts once its jobs are done:
  cmd.run:
    - name: >-
        systemctl daemon-reload; systemd-run --quiet --collect --unit=salt-minion-restart /bin/sh -c
        'for second in $(seq 86400); do [ -n "$(ls /var/cache/salt/minion/proc)" ] || break; sleep 1; done;
        systemctl restart salt-minion'
    - order: last
    - unless: systemctl is-active --quiet salt-minion-restart
    - onchanges:
      - file: the minion knows its master
      - file: the minion's unit is in place
