"""ITypes: the values of enumerations."""
from ..calls import NO_OBJECT
from ..model import ENUMERATIONS
from ..words import NotSupported
from .base import Service, class_name


class Types(Service):
    """Enumerations."""

    def allEnumerations(self, kind):
        return self.objects(f"select e from {self._kind(kind)} e order by e.id")

    def getEnumeration(self, kind, value):
        return next(iter(self.objects(f"select e from {self._kind(kind)} e where e.value = :value", value=value)),
                    NO_OBJECT)

    @staticmethod
    def _kind(kind):
        kind = class_name(kind)
        if kind not in ENUMERATIONS:
            raise NotSupported(f"the enumeration {kind}")
        return kind
