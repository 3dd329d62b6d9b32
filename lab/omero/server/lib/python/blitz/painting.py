"""Turns planes into pictures: every active channel scaled by its window, in its colour, added up."""
import io
from dataclasses import dataclass

import numpy
from PIL import Image

DEFAULT_COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255))


@dataclass
class Channel:
    """How one channel is shown."""
    active: bool
    start: float
    end: float
    red: int
    green: int
    blue: int
    alpha: int = 255
    family: str = "linear"
    coefficient: float = 1.0
    lookup_table: str = ""
    inverted: bool = False


@dataclass
class Settings:
    """How an image is shown: a rendering definition of OMERO's, changed as a client likes."""
    id: int
    z: int
    t: int
    model: str
    channels: list

    @classmethod
    def load(cls, database, pixels, definition=None):
        """The settings stored for these pixels (their first, or the one with the id `definition`), None if none."""
        row = database.row(
            "select r.id, r.defaultZ, r.defaultT, m.value from renderingdef r join renderingmodel m on m.id = r.model "
            "where r.pixels = %(pixels)s and (%(id)s::int8 is null or r.id = %(id)s) order by r.id limit 1",
            pixels=pixels, id=definition)
        if row is None:
            return None
        channels = database.rows(
            "select b.active, b.inputStart, b.inputEnd, b.red, b.green, b.blue, b.alpha, f.value, b.coefficient, "
            "coalesce(b.lookupTable, '') from channelbinding b join family f on f.id = b.family "
            "where b.renderingDef = %(id)s order by b.renderingDef_index", id=row[0])
        return cls(*row, [Channel(*values) for values in channels])

    @classmethod
    def default(cls, planes):
        """What OMERO shows where nobody said how: the whole range, the first channels in red, green and blue."""
        channels = [Channel(c < 3, *planes.bounds, *DEFAULT_COLOURS[c % 3]) for c in range(planes.size_c)]
        if planes.size_c == 1:
            channels[0] = Channel(True, *planes.bounds, 128, 128, 128)
        return cls(-1, planes.size_z // 2, 0, "greyscale" if planes.size_c == 1 else "rgb", channels)


def paint(planes, settings, z, t, region=None, project=None):
    """The picture of one section. `region` is (x, y, width, height); `project` a numpy function over the sections
    (first, last) instead of one: (function, first, last)."""
    picture = None
    for c, channel in enumerate(settings.channels):
        if not channel.active:
            continue
        plane = _plane(planes, z, c, t, project)
        if region:
            x, y, width, height = region
            plane = plane[y:y + height, x:x + width]
        scaled = (plane.astype(numpy.float32) - channel.start) / max(channel.end - channel.start, 1e-6)
        scaled = scaled.clip(0, 1)
        if channel.inverted:
            scaled = 1 - scaled
        grey = settings.model == "greyscale"
        colour = (255, 255, 255) if grey else (channel.red, channel.green, channel.blue)
        layer = scaled[:, :, None] * numpy.array(colour, numpy.float32)
        picture = layer if picture is None else picture + layer
        if grey:
            break
    if picture is None:
        height, width = (region[3], region[2]) if region else (planes.size_y, planes.size_x)
        picture = numpy.zeros((height, width, 3), numpy.float32)
    return Image.fromarray(picture.clip(0, 255).astype(numpy.uint8))


def _plane(planes, z, c, t, project):
    if project is None:
        return planes.plane(z, c, t)
    function, first, last = project
    return function([planes.plane(each, c, t) for each in range(first, last + 1)], axis=0)


def jpeg(picture, quality=0.85):
    """The picture as the bytes of a JPEG of this quality (0 to 1)."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=round(quality * 100))
    return file.getvalue()


def thumbnail(planes, settings, width, height, z=None, t=None):
    """A small picture, `width` and `height` in pixels; a single one of them is the longest side."""
    picture = paint(planes, settings, settings.z if z is None else z, settings.t if t is None else t)
    if height is None:
        scale = width / max(picture.size)
        width, height = (max(1, round(side * scale)) for side in picture.size)
    return jpeg(picture.resize((width, height), Image.Resampling.BILINEAR))
