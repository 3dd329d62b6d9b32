"""Search: by name, since there is no full-text index."""
from .base import Service, class_name

NAMED = ("Project", "Dataset", "Image", "Screen", "Plate", "PlateAcquisition")


class Search(Service):
    """Finds objects of one class whose name contains what is looked for."""

    kind = None
    found = ()

    def onlyType(self, kind):
        self.kind = class_name(kind)

    def setBatchSize(self, size):
        pass    # all results are one batch

    def setAllowLeadingWildcard(self, allowed):
        pass

    def setCaseSensitive(self, sensitive):
        pass

    def byFullText(self, text):
        self._find(text)

    def byLuceneQueryBuilder(self, fields, since, until, kind_of_date, text):
        self._find(text)

    def hasNext(self):
        return bool(self.found)

    def results(self):
        results, self.found = self.found, ()
        return results

    def _find(self, text):
        self.found = () if self.kind not in NAMED else self.objects(
            f"select o from {self.kind} o where lower(o.name) like :text order by o.id",
            text=f"%{text.lower().strip('*')}%")
