# What every server has: names, a journal that outlives a reboot, the time, its operators and its Salt minion.
include:
  - salt_minion.modules
  - base.hosts
  - base.journald
  - base.time
  - base.operators
  - salt_minion.running
