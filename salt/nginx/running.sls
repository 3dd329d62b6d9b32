# The caching proxy serves the site. A changed configuration is taken over by a reload: no request is cut off.
include:
  - nginx.configured

nginx waits for its cache volume:
  file.managed:
    - name: /etc/systemd/system/nginx.service.d/cache-volume.conf
    - source: salt://nginx/files/cache-volume.conf
    - makedirs: True
    - mode: '0644'
    - require:
      - sls: nginx.configured

systemd knows that nginx waits:
  cmd.run:
    - name: systemctl daemon-reload
    - onchanges:
      - file: nginx waits for its cache volume

nginx serves the site:
  service.running:
    - name: nginx
    - enable: True
    - reload: True
    - require:
      - cmd: systemd knows that nginx waits
    - watch:
      - file: the proxy's configuration is in place
      - sls: nginx.certificate
