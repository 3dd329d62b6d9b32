"""IConfig: what of the configuration a client may know."""
import datetime
import re

import omero
from omero.rtypes import rtime

from ..graph import milliseconds
from .base import Service


class Config(Service):
    """The configuration. Passwords stay here, and what isn't for clients is for administrators only."""

    def getVersion(self):
        return self.settings["omero.version"].split("-")[0]

    def getConfigValue(self, key):
        if not self._readable(key):
            raise omero.SecurityViolation("", "", f"{self.session.name} may not read {key}")
        return self.settings.get(key, "")

    def getConfigValues(self, pattern):
        return {key: value for key, value in self.settings.items() if re.search(pattern, key) and self._readable(key)}

    def getClientConfigDefaults(self):
        return self.getClientConfigValues()

    def getClientConfigValues(self):
        return {key: value for key, value in self.settings.items() if key.startswith("omero.client.")}

    def getConfigDefaults(self):
        return self.getConfigValues("")

    def getDatabaseUuid(self):
        return self.database.row("select value from configuration where name = 'omero.db.uuid'")[0]

    def getDatabaseTime(self):
        return rtime(milliseconds(self.database.row("select timezone('utc', now())")[0]))

    def getServerTime(self):
        return rtime(milliseconds(datetime.datetime.utcnow()))

    def _readable(self, key):
        if key.endswith(("pass", "password")):
            return False
        return self.session.is_admin or not key.startswith(("omero.db.", "omero.data.", "omero.ldap."))
