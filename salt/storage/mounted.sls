# The data volumes of this server: found by cloud id, formatted only when blank, mounted before whatever lives on them.
# Anything unexpected stops what requires this file, never the rest of the server (its firewall, its operators).
# Units of services name the mount in `RequiresMountsFor=`, so that none starts on the empty directory below it.
filesystem tools are installed:
  pkg.installed:
    - pkgs: [xfsprogs]

{%- for volume in pillar['server']['volumes'] %}

{{ volume.name }} carries a filesystem:
  data_volume.formatted:
    - name: {{ volume.name }}
    - volume: {{ volume | json }}
    - require:
      - pkg: filesystem tools are installed

systemd knows where {{ volume.name }} belongs:
  file.managed:
    # not fstab: systemd makes no mount units of its devices in a container
    - name: '/etc/systemd/system/{{ salt['data_volume.unit'](volume.mount) }}'
    - source: salt://storage/files/volume.mount.j2
    - template: jinja
    - context: {{ {'volume': volume, 'device': salt['data_volume.path'](volume)} | json }}
    - require:
      - data_volume: {{ volume.name }} carries a filesystem

{{ volume.name }} is mounted on {{ volume.mount }}:
  data_volume.mounted:
    - name: {{ volume.name }}
    - volume: {{ volume | json }}
    - require:
      - file: systemd knows where {{ volume.name }} belongs
{%- endfor %}
