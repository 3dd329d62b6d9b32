# A release from its preparation to the confirmed switch, in a checkout of an operator's. Each step is what they could type
# by itself, with the same guards; one that fails ends it, and typed again it goes on from there.
#
#   salt-run state.orchestrate orch.release pillar='{"new": "newidr", "from": "idr", "production": "198.51.100.10"}'
#
# new, from:              the environments
# production:             the public's address, as whoever types this means it
# set, commit, site:      as for release.prepare, where they are given
# limit, bake, drain:     as for release.switch, where they are given
# even_if:                by step, where it's given: {"check": "writes", "switch": "writes"}
{%- set new, old = pillar['new'], pillar['from'] %}
{%- set even_if = pillar.get('even_if', {}) %}
{%- macro given(step, keys) %}
{%- for key in keys if key in pillar %}
    - {{ key }}: {{ pillar[key] | json }}
{%- endfor %}
{%- if step in even_if %}
    - even_if: {{ even_if[step] | json }}
{%- endif %}
{%- endmacro %}

{{ new }} is made beside {{ old }} and ready:
  salt.runner:
    - name: release.prepare
    - new: {{ new }}
    - from: {{ old }}
    - apply: True
    {{- given('prepare', ['set', 'commit', 'site']) }}

{{ new }} passes every check:
  salt.runner:
    - name: release.check
    - new: {{ new }}
    - plain: True
    {{- given('check', ['production', 'site']) }}
    - require:
      - salt: {{ new }} is made beside {{ old }} and ready

{{ new }} has the public's address, and the switch is confirmed:
  salt.runner:
    - name: release.switch
    - new: {{ new }}
    - apply: True
    {{- given('switch', ['production', 'limit', 'bake', 'drain', 'site']) }}
    - require:
      - salt: {{ new }} passes every check

Nothing is left under way:
  salt.runner:
    - name: release.status
    - new: {{ new }}
    - plain: True
    - require:
      - salt: {{ new }} has the public's address, and the switch is confirmed
