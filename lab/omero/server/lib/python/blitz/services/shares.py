"""IShare: there are none."""
from .base import Service


class Share(Service):
    """Shares, of which the stand-in has none."""

    def getOwnShares(self, active):
        return []

    def getMemberShares(self, active):
        return []

    def deactivate(self):
        pass
