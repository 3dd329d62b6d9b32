# The journal outlives a reboot and is bounded: a talking service must not fill the root disk.
the journal is kept on disk:
  file.managed:
    - name: /etc/systemd/journald.conf.d/idr.conf
    - source: salt://base/files/journald.conf.j2
    - template: jinja
    - makedirs: True
    - context: {{ {'max_use': pillar['base']['journal_max_use']} | json }}

journald keeps to it:
  service.running:
    - name: systemd-journald
    - watch:
      - file: the journal is kept on disk
