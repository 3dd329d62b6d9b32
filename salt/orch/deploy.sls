# A deploy of the whole environment, in the order of its dependencies. Each step ends when what it configured is ready,
# so the next one finds it. A plain highstate of everything at once ends in the same place; this one says more on the way.
#
#   salt-run state.orchestrate orch.deploy
{%- set environment = pillar['environment'] %}
{%- macro servers() %}{{ environment.servers | dictsort | selectattr('1.role', 'in', varargs) | map(attribute=0) | list | json }}{% endmacro %}

Everything is ready for a deploy of {{ environment.name }}:
  salt.runner:
    - name: environment.check
    - env: {{ environment.name }}
    - failhard: True

{#- Of all kinds, with sync_all, each would be asked for with a login at the master. #}
{%- for kind in ['modules', 'states'] %}

Every server has this release's {{ kind }}:
  salt.function:
    - name: saltutil.sync_{{ kind }}
    - tgt: {{ environment.servers | sort | json }}
    - tgt_type: list
    - require:
      - salt: Everything is ready for a deploy of {{ environment.name }}
{%- endfor %}

Databases first, since OMERO waits for them:
  salt.state:
    - tgt: {{ servers('database') }}
    - tgt_type: list
    - highstate: True
    - require:
      - salt: Every server has this release's modules
      - salt: Every server has this release's states

OMERO of both sides, Docker for the analysis side's users, and what nothing waits for:
  salt.state:
    - tgt: {{ servers('omero', 'dockermanager', 'management') }}
    - tgt_type: list
    - highstate: True
    - require:
      - salt: Databases first, since OMERO waits for them

The proxy last, in front of what is ready:
  salt.state:
    - tgt: {{ servers('proxy') }}
    - tgt_type: list
    - highstate: True
    - require:
      - salt: OMERO of both sides, Docker for the analysis side's users, and what nothing waits for

Visitors are answered, through the cache and from the database:
  salt.function:
    - name: nginx_cache.refresh
    - tgt: {{ servers('proxy') }}
    - tgt_type: list
    - arg: [['/api/v0/m/screens/?limit=1']]
    - require:
      - salt: The proxy last, in front of what is ready
