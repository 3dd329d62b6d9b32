# The master's own configuration: the very files that enrolment writes, so a first highstate changes nothing here.
the master has its configuration:
  file.managed:
    - name: /etc/salt/master
    - source: salt://salt_master/files/master.j2
    - template: jinja
    - mode: '0640'
    - context: {{ {'environment': pillar.environment.name} | json }}

the master's unit is in place:
  file.managed:
    - name: /etc/systemd/system/salt-master.service
    - source: salt://salt_master/files/salt-master.service
    - mode: '0644'

runners can import what is behind them:
  file.managed:
    - name: /opt/salt/lib/python3.11/site-packages/idr.pth
    - contents: /srv/idr/current
    - mode: '0644'

the site's own pillar and the record of what was done are root's alone:
  file.directory:
    - names: [/etc/idr, /etc/idr/pillar, /var/log/idr]
    - mode: '0700'

the keys are root's alone:
  file.directory:
    - names: [/etc/salt/pki, /etc/salt/pki/master]
    - mode: '0700'

the record of what was done is rotated:
  pkg.installed:
    - name: logrotate
  file.managed:
    - name: /etc/logrotate.d/idr
    - source: salt://salt_master/files/salt-logrotate
    - mode: '0644'

{%- for command in ['salt', 'salt-run', 'salt-key'] %}

{{ command }} is in the path:
  file.symlink:
    - name: /usr/local/bin/{{ command }}
    - target: /opt/salt/bin/{{ command }}
{%- endfor %}
