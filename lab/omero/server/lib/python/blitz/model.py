"""Which tables OMERO's classes are stored in, and how they are associated.

The plain properties of a class are its columns, in lower case, so only associations need to be told.
"""
from dataclasses import dataclass, field

import omero.all  # noqa: F401  (registers every class in omero.model)
import omero.model

DETAILS = {
    "owner": ("owner_id", "Experimenter"),
    "group": ("group_id", "ExperimenterGroup"),
    "creationEvent": ("creation_id", "Event"),
    "updateEvent": ("update_id", "Event"),
    "externalInfo": ("external_id", "ExternalInfo"),
}
LENGTHS = {
    "Length": ("physicalSizeX", "physicalSizeY", "physicalSizeZ", "emissionWave", "excitationWave", "pinHoleSize",
               "posX", "posY", "positionX", "positionY", "positionZ", "wellOriginX", "wellOriginY"),
    "Time": ("deltaT", "exposureTime", "timeIncrement"),
}
UNITS = {name: kind for kind, names in LENGTHS.items() for name in names}

# One annotation table holds all kinds; its discriminator tells them apart. A kind includes those below it.
ANNOTATIONS = {
    "Annotation": "/",
    "ListAnnotation": "/list/",
    "MapAnnotation": "/map/",
    "TypeAnnotation": "/type/",
    "FileAnnotation": "/type/OriginalFile/",
    "BasicAnnotation": "/basic/",
    "BooleanAnnotation": "/basic/bool/",
    "TimestampAnnotation": "/basic/time/",
    "TermAnnotation": "/basic/term/",
    "NumericAnnotation": "/basic/num/",
    "LongAnnotation": "/basic/num/long/",
    "DoubleAnnotation": "/basic/num/double/",
    "TextAnnotation": "/basic/text/",
    "CommentAnnotation": "/basic/text/comment/",
    "TagAnnotation": "/basic/text/tag/",
    "XmlAnnotation": "/basic/text/xml/",
}
ANNOTATION_OF = {discriminator: name for name, discriminator in ANNOTATIONS.items()}

ENUMERATIONS = ("AdminPrivilege", "EventType", "ChecksumAlgorithm", "PixelsType", "DimensionOrder", "RenderingModel",
                "Family", "PhotometricInterpretation", "AcquisitionMode", "Illumination", "ContrastMethod", "Medium",
                "Immersion", "Correction", "MicroscopeType", "FilterType", "DetectorType", "Binning", "LaserType",
                "LaserMedium", "Pulse", "ArcType", "FilamentType")
ANNOTATED = ("Project", "Dataset", "Image", "Screen", "Plate", "PlateAcquisition", "Well", "Fileset", "OriginalFile",
             "Roi", "Channel", "PlaneInfo", "Experimenter", "ExperimenterGroup", "Session", "Node")
UNOWNED = (*ENUMERATIONS, "DBPatch", "Experimenter", "ExperimenterGroup", "GroupExperimenterMap", "Session", "Node",
           "Event", "NamedValue")


@dataclass(frozen=True)
class Entity:
    """One class: its table, its associations to one (property: class) and to many (property: class and its way back).
    `index` is the column that orders it in its parent's list, `kind` the discriminator that picks its rows."""
    name: str
    table: str
    one: dict = field(default_factory=dict)
    many: dict = field(default_factory=dict)
    index: str = ""
    kind: str = ""
    properties: tuple = ()      # where omero.model has no class to look them up in

    @property
    def owned(self):
        return self.name not in UNOWNED

    @property
    def python(self):
        """The class of omero.model that its objects are made of."""
        return getattr(omero.model, f"{self.name}I")

    @property
    def fields(self):
        """The names of all its properties. Those of a kind of annotation are those of any kind."""
        if self.table == "annotation":
            kinds = (getattr(omero.model, f"{kind}I", None) for kind in ANNOTATIONS)
            return {name for kind in kinds if kind for name in kind._field_info._fields}
        return {*(self.properties or self.python._field_info._fields), self.index}

    def foreign_key(self, name):
        """The column and the class of the association `name`, which may begin with `details.`"""
        if name.startswith("details."):
            return DETAILS[name[8:]]
        return name.lower(), self.one[name]


ENTITIES = {}


def _entity(name, one=None, many=None, index="", table=None, kind="", properties=()):
    many = dict(many or {})
    if name in ANNOTATED:
        many["annotationLinks"] = (f"{name}AnnotationLink", "parent")
    ENTITIES[name] = Entity(name, table or name.lower(), dict(one or {}), many, index, kind, properties)


for _name in (*ENUMERATIONS, "DBPatch", "ExternalInfo", "Node", "StatsInfo", "QuantumDef"):
    _entity(_name)
for _name in ANNOTATED:
    _entity(f"{_name}AnnotationLink", {"parent": _name, "child": "Annotation"})
for _name, _discriminator in ANNOTATIONS.items():
    _entity(_name, {"file": "OriginalFile"} if _name in ("Annotation", "FileAnnotation") else None,
            {"annotationLinks": ("AnnotationAnnotationLink", "parent"), "mapValue": ("NamedValue", "annotation_id"),
             **{f"{at[0].lower()}{at[1:]}Links": (f"{at}AnnotationLink", "child") for at in ANNOTATED}},
            table="annotation", kind=_discriminator)
_entity("AnnotationAnnotationLink", {"parent": "Annotation", "child": "Annotation"})
_entity("NamedValue", table="annotation_mapvalue", index="index", properties=("name", "value"))

_entity("Experimenter", many={"groupExperimenterMap": ("GroupExperimenterMap", "child")})
_entity("ExperimenterGroup", many={"groupExperimenterMap": ("GroupExperimenterMap", "parent")})
_entity("GroupExperimenterMap", {"parent": "ExperimenterGroup", "child": "Experimenter"}, index="child_index")
_entity("Session", {"owner": "Experimenter", "node": "Node"}, {"events": ("Event", "session")})
_entity("Event", {"experimenter": "Experimenter", "experimenterGroup": "ExperimenterGroup", "session": "Session",
                  "type": "EventType"})

_entity("OriginalFile", {"hasher": "ChecksumAlgorithm"},
        {"filesetEntries": ("FilesetEntry", "originalFile"), "pixelsFileMaps": ("PixelsOriginalFileMap", "parent")})
_entity("Fileset", many={"usedFiles": ("FilesetEntry", "fileset"), "images": ("Image", "fileset")})
_entity("FilesetEntry", {"fileset": "Fileset", "originalFile": "OriginalFile"}, index="fileset_index")

_entity("Project", many={"datasetLinks": ("ProjectDatasetLink", "parent")})
_entity("Dataset", many={"projectLinks": ("ProjectDatasetLink", "child"), "imageLinks": ("DatasetImageLink", "parent")})
_entity("ProjectDatasetLink", {"parent": "Project", "child": "Dataset"})
_entity("DatasetImageLink", {"parent": "Dataset", "child": "Image"})
_entity("Screen", many={"plateLinks": ("ScreenPlateLink", "parent")})
_entity("ScreenPlateLink", {"parent": "Screen", "child": "Plate"})
_entity("Plate", many={"screenLinks": ("ScreenPlateLink", "child"), "wells": ("Well", "plate"),
                       "plateAcquisitions": ("PlateAcquisition", "plate")})
_entity("PlateAcquisition", {"plate": "Plate"}, {"wellSample": ("WellSample", "plateAcquisition")})
_entity("Well", {"plate": "Plate"}, {"wellSamples": ("WellSample", "well")})
_entity("WellSample", {"well": "Well", "image": "Image", "plateAcquisition": "PlateAcquisition"}, index="well_index")

_entity("Image", {"fileset": "Fileset"},
        {"pixels": ("Pixels", "image"), "datasetLinks": ("DatasetImageLink", "child"),
         "wellSamples": ("WellSample", "image"), "rois": ("Roi", "image")})
_entity("Pixels", {"image": "Image", "pixelsType": "PixelsType", "dimensionOrder": "DimensionOrder"},
        {"channels": ("Channel", "pixels"), "settings": ("RenderingDef", "pixels"),
         "thumbnails": ("Thumbnail", "pixels"), "planeInfo": ("PlaneInfo", "pixels"),
         "pixelsFileMaps": ("PixelsOriginalFileMap", "child")}, index="image_index")
_entity("PixelsOriginalFileMap", {"parent": "OriginalFile", "child": "Pixels"})
_entity("Channel", {"pixels": "Pixels", "logicalChannel": "LogicalChannel", "statsInfo": "StatsInfo"},
        index="pixels_index")
_entity("LogicalChannel", {"photometricInterpretation": "PhotometricInterpretation", "mode": "AcquisitionMode",
                           "illumination": "Illumination", "contrastMethod": "ContrastMethod"})
_entity("PlaneInfo", {"pixels": "Pixels"})
_entity("Thumbnail", {"pixels": "Pixels"})
_entity("Roi", {"image": "Image"}, {"shapes": ("Shape", "roi")})
_entity("Shape", {"roi": "Roi"}, index="roi_index", properties=("textValue", "theZ", "theC", "theT"))
_entity("RenderingDef", {"pixels": "Pixels", "model": "RenderingModel", "quantization": "QuantumDef"},
        {"waveRendering": ("ChannelBinding", "renderingDef")})
_entity("ChannelBinding", {"renderingDef": "RenderingDef", "family": "Family"}, index="renderingDef_index")
