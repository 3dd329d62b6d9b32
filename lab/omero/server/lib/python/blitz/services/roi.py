"""IRoi: regions of interest."""
import omero

from .base import Service


class Roi(Service):
    """Regions of interest, without their shapes."""

    def findByImage(self, image, options):
        return omero.api.RoiResult(rois=self.objects("select r from Roi r where r.image.id = :id order by r.id",
                                                     id=image))
