"""IMetadata: annotations, and what is known of channels."""
from omero.rtypes import rlong, unwrap

from ..model import ANNOTATED, ANNOTATIONS
from .base import Service, class_name


class Metadata(Service):
    """Annotations."""

    def loadSpecifiedAnnotations(self, kind, include, exclude, options):
        kind = class_name(kind)
        where, values = [], {}
        if include:
            where.append("a.ns in (:include)")
            values["include"] = list(include)
        if exclude:
            where.append("(a.ns is null or a.ns not in (:exclude))")
            values["exclude"] = list(exclude)
        clause = f" where {' and '.join(where)}" if where else ""
        return self.objects(f"select a from {kind} a join fetch a.details.owner{clause} order by a.id", **values)

    def countSpecifiedAnnotations(self, kind, include, exclude, options):
        return rlong(len(self.loadSpecifiedAnnotations(kind, include, exclude, options)))

    def loadChannelAcquisitionData(self, ids):
        return self.objects("select c from LogicalChannel c left outer join fetch c.photometricInterpretation "
                            "left outer join fetch c.illumination left outer join fetch c.mode "
                            "left outer join fetch c.contrastMethod where c.id in (:ids) order by c.id", ids=list(ids))

    def loadAnnotations(self, kind, ids, kinds, annotators, options):
        kind = class_name(kind)
        wanted = {name.rsplit(".", 1)[-1] for name in kinds or ()} or set(ANNOTATIONS)
        found = {identity: [] for identity in ids}
        if kind in ANNOTATED:
            for link in self.objects(f"select l from {kind}AnnotationLink l join fetch l.child c "
                                     "join fetch c.details.owner where l.parent.id in (:ids)", ids=list(ids)):
                if any(ANNOTATIONS[type(link.child).__name__[:-1]].startswith(ANNOTATIONS[name]) for name in wanted):
                    found[unwrap(link.parent.id)].append(link.child)
        return found
