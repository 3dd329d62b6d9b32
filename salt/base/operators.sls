# The people who look after this environment: accounts, keys and sudo, from pillar. Who leaves is listed under
# `former_operators`: the account is locked and its keys are gone, its home stays.
sudo is there:
  pkg.installed:
    - name: sudo

{%- for name, operator in pillar['base']['operators'] | dictsort %}

{{ name }} has an account:
  user.present:
    - name: {{ name }}
    - fullname: {{ operator.fullname }}
    - uid: {{ operator.uid }}
    - shell: /bin/bash

{{ name }} logs in with these keys and no others:
  ssh_auth.manage:
    - user: {{ name }}
    - ssh_keys: {{ operator.ssh_keys | json }}
    - require:
      - user: {{ name }} has an account
{%- endfor %}

{%- for name in pillar['base']['former_operators'] %}

{{ name }} can no longer log in:
  user.present:
    - name: {{ name }}
    - shell: /usr/sbin/nologin
    - password: '!'
    - onlyif:             # a function, since a command would be run by the shell above, which runs none
      - fun: user.info
        name: {{ name }}

{{ name }} has no keys:
  file.absent:
    - name: /home/{{ name }}/.ssh/authorized_keys
{%- endfor %}

operators may act as root:
  file.managed:
    - name: /etc/sudoers.d/idr-operators
    - mode: '0440'
    - contents: |
        # Managed by Salt (salt/base/operators.sls).
        {%- for name in pillar['base']['operators'] | sort %}
        {{ name }} ALL=(ALL) NOPASSWD: ALL
        {%- endfor %}
    - check_cmd: visudo -c -f
    - require:
      - pkg: sudo is there
