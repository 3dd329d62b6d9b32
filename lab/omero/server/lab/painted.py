"""Pixels that look like something: blobs on noise, so that a JPEG of them is large and no two are alike."""
import hashlib

import numpy

SIZE, CHANNELS = 512, 2
WINDOW = (0, 4095)      # of twelve bits


def planes(picture, coat=0):
    """The channels of a picture (any number), in the coat of paint with this number: the same ones every time."""
    random = numpy.random.default_rng([picture, coat])
    y, x = numpy.mgrid[0:SIZE, 0:SIZE].astype(numpy.float32)
    made = []
    for _ in range(CHANNELS):
        plane = random.normal(500, 250, (SIZE, SIZE))
        for _ in range(12):
            at_x, at_y = random.uniform(0, SIZE, 2)
            radius, height = random.uniform(10, 50), random.uniform(1500, 3000)
            plane += height * numpy.exp(-((x - at_x) ** 2 + (y - at_y) ** 2) / (2 * radius ** 2))
        made.append(plane.clip(*WINDOW).astype(numpy.uint16))
    return made


def digest(picture, coat=0):
    """The SHA1 of a picture's planes, as they are written."""
    return hashlib.sha1(_content(picture, coat)).hexdigest()


def paint(path, picture, coat=0):
    """Write a picture's planes as a file of OMERO's, in the place of one that may be there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    being_written = path.with_name(f".{path.name}")
    being_written.write_bytes(_content(picture, coat))
    being_written.rename(path)


def _content(picture, coat):
    return b"".join(plane.astype(">u2").tobytes() for plane in planes(picture, coat))
