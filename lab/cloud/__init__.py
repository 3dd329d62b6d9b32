"""
The lab's cloud: the real services of OpenStack on one machine, with the lab's hosts as their servers.

`control` is its door. `venv` is what the services run from, `postgres` the database server and its schemas, `ovn` the
data plane, `config` the services' configuration from the templates in `etc`, `services` the processes, `service` what
one such process runs, `bootstrap` what an administrator would make before anybody uses the cloud, `faults` what stands
between clients and the API and can go wrong on request, and `drivers` how Nova gets servers and Cinder volumes.
"""
