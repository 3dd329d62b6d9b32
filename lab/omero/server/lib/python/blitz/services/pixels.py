"""IPixels and RawPixelsStore: what is known of pixels, and their bytes."""
from ..calls import NO_OBJECT
from ..planes import Planes
from ..settings import data_dir
from .base import Service

SETTINGS = ("select r from RenderingDef r join fetch r.pixels join fetch r.model join fetch r.quantization "
            "join fetch r.details.owner left outer join fetch r.waveRendering w left outer join fetch w.family")


class Pixels(Service):
    """Pixels and their rendering definitions."""

    def retrievePixDescription(self, identity):
        found = self.objects(
            "select p from Pixels p join fetch p.image join fetch p.pixelsType join fetch p.dimensionOrder "
            "left outer join fetch p.channels c left outer join fetch c.logicalChannel "
            "left outer join fetch c.statsInfo where p.id = :id", id=identity)
        return found[0] if found else NO_OBJECT

    def retrieveRndSettings(self, identity):
        return next(iter(self.retrieveAllRndSettings(identity, -1)), NO_OBJECT)

    def retrieveRndSettingsFor(self, identity, user):
        return next(iter(self.retrieveAllRndSettings(identity, user)), NO_OBJECT)

    def retrieveAllRndSettings(self, identity, user):
        """Of one user, or of all (-1)."""
        if user < 0:
            found = self.objects(f"{SETTINGS} where r.pixels.id = :id order by r.id", id=identity)
        else:
            found = self.objects(f"{SETTINGS} where r.pixels.id = :id and r.details.owner.id = :user order by r.id",
                                 id=identity, user=user)
        for binding in (binding for settings in found for binding in settings._waveRenderingSeq):
            # there are none, and clients want that known
            binding._spatialDomainEnhancementSeq, binding._spatialDomainEnhancementLoaded = [], True
        return found


class RawPixelsStore(Service):
    """The bytes of one image's planes, big-endian."""

    planes = None

    def setPixelsId(self, identity, bypass_original_file):
        self.planes = Planes.find(self.database, data_dir(self.settings), identity, self.session.visible_groups)

    def getPlane(self, z, c, t):
        return self.planes.plane(z, c, t).tobytes()

    def getTile(self, z, c, t, x, y, width, height):
        return self.planes.plane(z, c, t)[y:y + height, x:x + width].tobytes()

    def getByteWidth(self):
        return self.planes.dtype.itemsize

    def isSigned(self):
        return self.planes.dtype.kind != "u"

    def isFloat(self):
        return self.planes.dtype.kind == "f"

    def getPlaneSize(self):
        return self.planes.size_x * self.planes.size_y * self.planes.dtype.itemsize
