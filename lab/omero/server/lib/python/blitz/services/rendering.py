"""RenderingEngine: pictures of an image, and the settings that they are made with."""
import numpy
import omero
from omero.rtypes import rint, rstring

from ..painting import Settings, jpeg, paint
from ..planes import Planes
from ..settings import data_dir
from .base import Service

PROJECTIONS = {
    omero.constants.projection.ProjectionType.MAXIMUMINTENSITY: numpy.max,
    omero.constants.projection.ProjectionType.MEANINTENSITY: numpy.mean,
    omero.constants.projection.ProjectionType.SUMINTENSITY: numpy.sum,
}


class RenderingEngine(Service):
    """One image. Changed settings last as long as the client uses the engine; they are not stored."""

    planes = None
    shown = None
    pixels_id = None
    quality = 0.85

    def lookupPixels(self, identity):
        self.planes = Planes.find(self.database, data_dir(self.settings), identity, self.session.visible_groups)
        self.pixels_id = identity

    def lookupRenderingDef(self, identity):
        self.shown = Settings.load(self.database, identity)
        return self.shown is not None

    def loadRenderingDef(self, identity):
        self.shown = Settings.load(self.database, self.pixels_id, identity)
        if self.shown is None:
            raise omero.ValidationException("", "", f"No RenderingDef with the id {identity} for these pixels")

    def resetDefaultSettings(self, save):
        self.shown = Settings.default(self.planes)
        return self.shown.id

    def load(self):
        if self.shown is None:
            raise omero.ValidationException("", "", "no rendering definition was looked up")

    def getRenderingDefId(self):
        return self.shown.id

    def getPixels(self):
        (pixels,) = self.objects(
            "select p from Pixels p join fetch p.pixelsType join fetch p.dimensionOrder left outer join fetch "
            "p.channels c left outer join fetch c.logicalChannel left outer join fetch c.statsInfo where p.id = :id",
            id=self.pixels_id)
        return pixels

    # The image

    def getDefaultZ(self):
        return self.shown.z

    def setDefaultZ(self, z):
        self.shown.z = z

    def getDefaultT(self):
        return self.shown.t

    def setDefaultT(self, t):
        self.shown.t = t

    def getModel(self):
        return self._value(omero.model.RenderingModelI, self.shown.model)

    def setModel(self, model):
        self.shown.model = model.value.val

    def getAvailableModels(self):
        return self.objects("select m from RenderingModel m order by m.id")

    def getAvailableFamilies(self):
        return self.objects("select f from Family f order by f.id")

    def getQuantumDef(self):
        made = omero.model.QuantumDefI()
        made.bitResolution, made.cdStart, made.cdEnd = rint(255), rint(0), rint(255)
        return made

    def isPixelsTypeSigned(self):
        return self.planes.dtype.kind != "u"

    def getPixelsTypeLowerBound(self, c):
        return self.planes.bounds[0]

    def getPixelsTypeUpperBound(self, c):
        return self.planes.bounds[1]

    # One resolution, in one piece

    def requiresPixelsPyramid(self):
        return False

    def getResolutionLevels(self):
        return 1

    def getResolutionLevel(self):
        return 0

    def setResolutionLevel(self, level):
        pass

    def getResolutionDescriptions(self):
        return [omero.api.ResolutionDescription(self.planes.size_x, self.planes.size_y)]

    def getTileSize(self):
        return [min(1024, self.planes.size_x), min(1024, self.planes.size_y)]

    # Channels

    def isActive(self, c):
        return self.shown.channels[c].active

    def setActive(self, c, active):
        self.shown.channels[c].active = active

    def getChannelWindowStart(self, c):
        return self.shown.channels[c].start

    def getChannelWindowEnd(self, c):
        return self.shown.channels[c].end

    def setChannelWindow(self, c, start, end):
        self.shown.channels[c].start, self.shown.channels[c].end = start, end

    def getRGBA(self, c):
        channel = self.shown.channels[c]
        return [channel.red, channel.green, channel.blue, channel.alpha]

    def setRGBA(self, c, red, green, blue, alpha):
        channel = self.shown.channels[c]
        channel.red, channel.green, channel.blue, channel.alpha = red, green, blue, alpha

    def getChannelLookupTable(self, c):
        return self.shown.channels[c].lookup_table

    def setChannelLookupTable(self, c, table):
        self.shown.channels[c].lookup_table = table

    def getChannelFamily(self, c):
        return self._value(omero.model.FamilyI, self.shown.channels[c].family)

    def getChannelCurveCoefficient(self, c):
        return self.shown.channels[c].coefficient

    def getChannelNoiseReduction(self, c):
        return False

    def setQuantizationMap(self, c, family, coefficient, noise_reduction):
        self.shown.channels[c].family, self.shown.channels[c].coefficient = family.value.val, coefficient

    def getCodomainMapContext(self, c):
        return [omero.model.ReverseIntensityContextI()] if self.shown.channels[c].inverted else []

    def addCodomainMapToChannel(self, context, c):
        self._invert(context, c, True)

    def removeCodomainMapFromChannel(self, context, c):
        self._invert(context, c, False)

    def _invert(self, context, c, inverted):
        if isinstance(context, omero.romio.ReverseIntensityMapContext):
            self.shown.channels[c].inverted = inverted

    # Pictures

    def getCompressionLevel(self):
        return self.quality

    def setCompressionLevel(self, quality):
        self.quality = quality

    def renderCompressed(self, plane):
        return jpeg(self._picture(plane), self.quality)

    def renderAsPackedInt(self, plane):
        pixels = numpy.asarray(self._picture(plane)).astype(numpy.uint32)
        packed = 0xFF000000 | pixels[:, :, 0] << 16 | pixels[:, :, 1] << 8 | pixels[:, :, 2]
        return packed.astype(numpy.int32).ravel().tolist()

    def renderProjectedCompressed(self, algorithm, t, stepping, first, last):
        project = (PROJECTIONS[algorithm], first, last)
        return jpeg(paint(self.planes, self.shown, first, t, project=project), self.quality)

    def _picture(self, plane):
        region = plane.region
        where = (region.x, region.y, region.width, region.height) if region else None
        return paint(self.planes, self.shown, plane.z, plane.t, where)

    @staticmethod
    def _value(kind, value):
        made = kind()
        made.value = rstring(value)
        return made
