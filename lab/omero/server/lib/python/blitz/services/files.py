"""RawFileStore: the bytes of original files, which lie below ManagedRepository (those of a fileset) or Files."""
import omero

from ..settings import data_dir
from .base import Service


class RawFileStore(Service):
    """One original file, to be read."""

    path = None
    file_id = None

    def setFileId(self, identity):
        row = self.database.row("select path, name, repo from originalfile where id = %(id)s "
                                "and (%(groups)s::int8[] is null or group_id = any(%(groups)s))",
                                id=identity, groups=self.session.visible_groups)
        if row is None:
            raise omero.ValidationException("", "", f"No OriginalFile with the id {identity}")
        directory, name, repo = row
        data = data_dir(self.settings)
        self.path = data / "ManagedRepository" / directory / name if repo else data / "Files" / str(identity)
        self.file_id = identity

    def getFileId(self):
        return omero.rtypes.rlong(self.file_id)

    def exists(self):
        return self.path.exists()

    def size(self):
        return self.path.stat().st_size

    def read(self, position, length):
        with open(self.path, "rb") as file:
            file.seek(position)
            return file.read(length)
