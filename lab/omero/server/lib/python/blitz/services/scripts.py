"""IScript: there are none."""
from .base import Service


class Script(Service):
    """Scripts, of which the stand-in has none."""

    def getScripts(self):
        return []

    def getUserScripts(self, acceptable):
        return []
