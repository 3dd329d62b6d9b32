# How states are assigned: a server gets the role that the environment's table gives its id (pillar/environments/),
# and a role is a list of states (roles/). Grains take no part: a minion can lie about them.
base:
  '*':
    - roles.{{ pillar['server']['role'] }}
