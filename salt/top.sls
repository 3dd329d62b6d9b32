# How states are assigned: a server gets the role that the environment's table gives its id (environment.sls),
# and a role is a list of states (roles/). Grains take no part: a minion can lie about them.
# The Salt environment is `base`, or `next` while a commit is rehearsed that isn't current yet (etc/master.j2).
{{ saltenv }}:
  '*':
    - roles.{{ pillar['server']['role'] }}
