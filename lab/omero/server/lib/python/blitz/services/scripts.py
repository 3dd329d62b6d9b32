"""IScript: there are none."""
from .base import Service


class Script(Service):
    """Scripts, of which the stand-in has none."""

    def getScripts(self):
        return []

    def getScriptsByMimetype(self, mimetype):
        return []

    def getScriptID(self, path):
        return -1

    def getUserScripts(self, acceptable):
        return []
