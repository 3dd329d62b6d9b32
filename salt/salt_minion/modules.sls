# Modules and states of this minion are the release's, whenever its states run: enrolment and a deploy bring them, and
# this finds out if some other way led to another release.
this release's modules are in use:
  own_modules.current:
    - order: 1
    - reload_modules: True
