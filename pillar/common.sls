# Every server, whatever its role. A site's own values (operators, for one) go to site.sls.
base:
  journal_max_use: 1G
  own_clock: True           # False in a container, whose clock is its machine's
  operators: {}             # name: {fullname, uid, ssh_keys: [...]}
  former_operators: []      # names that may no longer log in
