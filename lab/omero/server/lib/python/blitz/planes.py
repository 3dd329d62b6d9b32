"""Pixels as they lie under omero.data.dir: OMERO's ROMIO files, big-endian, one plane after another (XYZCT)."""
from dataclasses import dataclass
from pathlib import Path

import numpy
import omero

TYPES = {"int8": ">i1", "uint8": ">u1", "int16": ">i2", "uint16": ">u2", "int32": ">i4", "uint32": ">u4",
         "float": ">f4", "double": ">f8"}


def pixels_file(data, identity):
    """Where the pixels of this id lie: at most a thousand files in a directory."""
    directory, rest = Path(data) / "Pixels", identity
    parts = []
    while rest > 999:
        rest //= 1000
        parts.insert(0, f"Dir-{rest % 1000:03d}")
    return directory.joinpath(*parts, str(identity))


@dataclass(frozen=True)
class Planes:
    """The pixels of one image."""
    path: Path
    kind: str
    size_x: int
    size_y: int
    size_z: int
    size_c: int
    size_t: int

    @classmethod
    def find(cls, database, data, identity, groups):
        """The pixels of this id. Refuses (ValidationException) those that aren't in `groups`, None for all."""
        row = database.row(
            "select y.value, p.sizeX, p.sizeY, p.sizeZ, p.sizeC, p.sizeT from pixels p "
            "join pixelstype y on y.id = p.pixelsType where p.id = %(id)s "
            "and (%(groups)s::int8[] is null or p.group_id = any(%(groups)s))", id=identity, groups=groups)
        if row is None:
            raise omero.ValidationException("", "", f"No Pixels with the id {identity}")
        return cls(pixels_file(data, identity), *row)

    @property
    def dtype(self):
        """numpy's type of one pixel."""
        return numpy.dtype(TYPES[self.kind])

    @property
    def bounds(self):
        """The least and the greatest value of the type of pixels."""
        if self.dtype.kind == "f":
            return -32768.0, 32767.0        # as OMERO has it for floating point
        limits = numpy.iinfo(self.dtype)
        return float(limits.min), float(limits.max)

    def plane(self, z, c, t):
        """One plane as an array of rows."""
        if not (0 <= z < self.size_z and 0 <= c < self.size_c and 0 <= t < self.size_t):
            raise omero.ValidationException("", "", f"no plane z={z} c={c} t={t}")
        if not self.path.exists():
            raise omero.ResourceError("", "", f"Missing pixels: {self.path}")
        count = self.size_x * self.size_y
        offset = ((t * self.size_c + c) * self.size_z + z) * count * self.dtype.itemsize
        return numpy.fromfile(self.path, self.dtype, count, offset=offset).reshape(self.size_y, self.size_x)
