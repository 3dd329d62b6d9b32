"""IContainer: what is in projects, datasets and screens, and where an image is."""
from omero.rtypes import unwrap

from ..words import NotSupported
from .base import Service, class_name

CONTENTS = {
    "Project": "select o from Project o left outer join fetch o.datasetLinks l left outer join fetch l.child",
    "Dataset": "select o from Dataset o left outer join fetch o.imageLinks l left outer join fetch l.child",
    "Screen": "select o from Screen o left outer join fetch o.plateLinks l left outer join fetch l.child",
}
IMAGES = {
    "Image": "o.id in (:ids)",
    "Dataset": "o.id in (select l.child.id from DatasetImageLink l where l.parent.id in (:ids))",
    "Plate": "o.id in (select s.image.id from WellSample s where s.well.plate.id in (:ids))",
}


class Container(Service):
    """Containers with their contents."""

    def loadContainerHierarchy(self, kind, ids, options):
        kind = class_name(kind)
        if kind not in CONTENTS:
            raise NotSupported(f"the hierarchy of {kind}")
        where = " where o.id in (:ids)" if ids else ""
        return self.objects(f"{CONTENTS[kind]}{where} order by o.id", ids=list(ids or []))

    def getImages(self, kind, ids, options):
        kind = class_name(kind)
        if kind not in IMAGES:
            raise NotSupported(f"the images of {kind}")
        return self.objects(
            "select o from Image o join fetch o.pixels p join fetch p.pixelsType join fetch p.dimensionOrder "
            "left outer join fetch p.channels c left outer join fetch c.logicalChannel "
            f"left outer join fetch c.statsInfo where {IMAGES[kind]} order by o.id", ids=list(ids))

    def getCollectionCount(self, kind, collection, ids, options):
        kind, collection = class_name(kind), collection.rsplit("_", 1)[-1]
        counts = dict.fromkeys(ids, 0)
        for made in self.objects(f"select o from {kind} o left outer join fetch o.{collection} where o.id in (:ids)",
                                 ids=list(ids)):
            counts[unwrap(made.id)] = len(getattr(made, f"_{collection}Seq"))
        return counts

    def getImagesBySplitFilesets(self, included, options):
        return {}   # a fileset is split by moving one of its images, and nothing here is moved
