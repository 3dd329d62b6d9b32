"""ThumbnailStore: small pictures, made anew from the pixels every time, so that a changed image shows at once."""
import omero
from omero.rtypes import unwrap

from ..painting import Settings, thumbnail
from ..planes import Planes
from ..settings import data_dir
from .base import Service


class ThumbnailStore(Service):
    """Thumbnails of one image, or of a set of images."""

    pixels_id = None
    definition = None

    def setPixelsId(self, identity):
        self._planes(identity)
        self.pixels_id, self.definition = identity, None
        return Settings.load(self.database, identity) is not None

    def setRenderingDefId(self, identity):
        if Settings.load(self.database, self.pixels_id, identity) is None:
            raise omero.ValidationException("", "", f"No RenderingDef with the id {identity} for these pixels")
        self.definition = identity

    def getRenderingDefId(self):
        shown = Settings.load(self.database, self.pixels_id)
        if shown is None:
            raise omero.ApiUsageException("", "", "no rendering definition")
        return shown.id

    def resetDefaults(self):
        pass    # what is shown without a stored definition is the default

    def isInProgress(self):
        return False

    def thumbnailExists(self, width, height):
        return False

    def getThumbnail(self, width, height):
        return self._thumbnail(self.pixels_id, unwrap(width), unwrap(height))

    getThumbnailDirect = getThumbnailWithoutDefault = getThumbnail

    def getThumbnailByLongestSide(self, size):
        return self._thumbnail(self.pixels_id, unwrap(size))

    getThumbnailByLongestSideDirect = getThumbnailByLongestSide

    def getThumbnailForSectionDirect(self, z, t, width, height):
        return self._thumbnail(self.pixels_id, unwrap(width), unwrap(height), z, t)

    def getThumbnailForSectionByLongestSideDirect(self, z, t, size):
        return self._thumbnail(self.pixels_id, unwrap(size), None, z, t)

    def getThumbnailSet(self, width, height, ids):
        return {identity: self._thumbnail(identity, unwrap(width), unwrap(height)) for identity in ids}

    def getThumbnailByLongestSideSet(self, size, ids):
        return {identity: self._thumbnail(identity, unwrap(size)) for identity in ids}

    def _thumbnail(self, pixels, width, height=None, z=None, t=None):
        planes = self._planes(pixels)
        shown = Settings.load(self.database, pixels, self.definition) or Settings.default(planes)
        return thumbnail(planes, shown, width, height, z, t)

    def _planes(self, pixels):
        return Planes.find(self.database, data_dir(self.settings), pixels, self.session.visible_groups)
