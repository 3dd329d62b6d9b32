"""
Neutron's tables: `neutron_schema.py CONFIGURATION`, run in the services' environment.

Neutron's own migrations have a statement that only MySQL understands.
"""

import sys

import sqlalchemy
from neutron.db.migration.models import head
from oslo_config import cfg
from oslo_db import options

conf = cfg.ConfigOpts()
options.set_defaults(conf)
conf(["--config-file", sys.argv[1]])
head.get_metadata().create_all(sqlalchemy.create_engine(conf.database.connection))
