"""IRepositoryInfo: how much room there is."""
import os

from ..settings import data_dir
from .base import Service


class RepositoryInfo(Service):
    """The filesystem of the data directory."""

    def getUsedSpaceInKilobytes(self):
        room = self._room()
        return (room.f_blocks - room.f_bfree) * room.f_frsize // 1024

    def getFreeSpaceInKilobytes(self):
        room = self._room()
        return room.f_bavail * room.f_frsize // 1024

    def getUsageFraction(self):
        room = self._room()
        return 1 - room.f_bfree / room.f_blocks

    def _room(self):
        return os.statvfs(data_dir(self.settings))
