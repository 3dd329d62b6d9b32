"""What the study is made of: the rows of its images, and their files."""
import hashlib
import io

from blitz.planes import pixels_file
from painted import CHANNELS, SIZE, WINDOW, digest, paint, planes
from PIL import Image

ROWS, WELL_COLUMNS, FIELDS = 2, 3, 2
DATASET_IMAGES = 3
GENES = ("ASH2L", "CDC42", "KIF11", "PLK1", "TUBB", "WDR5")
COLOURS = ((0, 255, 0), (255, 0, 0))
IMPORTED_TO = "demo-importer_0/2020-06/01/12-00-00.000/"
MAPR = "openmicroscopy.org/mapr/"


def fill(rows, data, screen, plate, project, dataset):
    """Make all of it, `rows` being where rows go and `data` the data directory."""
    maker = Images(rows, data)
    screen_id = rows.add("screen", name=screen, description="A small screen, made up for the lab.")
    rows.annotate("screen", screen_id, "idr.openmicroscopy.org/study/info",
                  [("Study Title", "A study made up for the lab"), ("Study Type", "high content screen")])
    plate_id = rows.add("plate", name=plate, rows=ROWS, columns=WELL_COLUMNS, rowNamingConvention="letter",
                        columnNamingConvention="number", defaultSample=0)
    rows.add("screenplatelink", parent=screen_id, child=plate_id)
    run = rows.add("plateacquisition", name="run 1", plate=plate_id, maximumFieldCount=FIELDS)
    fileset = rows.add("fileset", templatePrefix=IMPORTED_TO)
    for number, gene in enumerate(GENES[:ROWS * WELL_COLUMNS]):
        row, column = divmod(number, WELL_COLUMNS)
        well = rows.add("well", plate=plate_id, row=row, column=column)
        rows.annotate("well", well, f"{MAPR}organism", [("Organism", "Homo sapiens")])
        rows.annotate("well", well, f"{MAPR}gene", [("Gene Symbol", gene)])
        for field in range(FIELDS):
            name = f"{plate} [Well {'ABC'[row]}{column + 1}, Field {field + 1}]"
            image = maker.make(name, fileset)
            rows.add("wellsample", well=well, well_index=field, image=image, plateAcquisition=run)
            rows.annotate("image", image, f"{MAPR}organism", [("Organism", "Homo sapiens")])
            rows.annotate("image", image, f"{MAPR}gene", [("Gene Symbol", gene)])
    project_id = rows.add("project", name=project, description="A small experiment, made up for the lab.")
    dataset_id = rows.add("dataset", name=dataset)
    rows.add("projectdatasetlink", parent=project_id, child=dataset_id)
    fileset = rows.add("fileset", templatePrefix=IMPORTED_TO)
    for number in range(DATASET_IMAGES):
        image = maker.make(f"cell {number + 1}.tif", fileset)
        rows.add("datasetimagelink", parent=dataset_id, child=image)


class Images:
    """Makes images: their rows, the file that was imported, and the pixels that OMERO made of it."""

    def __init__(self, rows, data):
        self._rows = rows
        self._data = data
        self._sha1 = rows.value("checksumalgorithm", "SHA1-160")
        self._type = rows.value("pixelstype", "uint16")
        self._order = rows.value("dimensionorder", "XYZCT")
        self._model = rows.value("renderingmodel", "rgb")
        self._linear = rows.value("family", "linear")

    def make(self, name, fileset):
        """One image of a fileset; its id is returned."""
        rows = self._rows
        image = rows.add("image", name=name, fileset=fileset, series=0, partial=False, archived=False,
                         acquisitionDate="2020-05-01 09:00:00")
        self._imported(image, fileset)
        pixels = rows.add(
            "pixels", image=image, image_index=0, sizeX=SIZE, sizeY=SIZE, sizeZ=1, sizeC=CHANNELS, sizeT=1,
            significantBits=12, sha1=digest(image), dimensionOrder=self._order, pixelsType=self._type,
            physicalSizeX=0.325, physicalSizeXUnit="MICROMETER", physicalSizeY=0.325, physicalSizeYUnit="MICROMETER")
        paint(pixels_file(self._data, pixels), image)
        self._channels(pixels)
        return image

    def _imported(self, image, fileset):
        first, *others = (Image.fromarray(plane) for plane in planes(image))
        file = io.BytesIO()
        first.save(file, "TIFF", save_all=True, append_images=others)
        content, name = file.getvalue(), f"{image}.tif"
        path = self._data / "ManagedRepository" / IMPORTED_TO / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        original = self._rows.add(
            "originalfile", name=name, path=IMPORTED_TO, repo="ManagedRepository", size=len(content),
            mimetype="image/tiff", hasher=self._sha1, hash=hashlib.sha1(content).hexdigest())
        self._rows.add("filesetentry", fileset=fileset, fileset_index=image, originalFile=original,
                       clientPath=f"home/importer/{name}")

    def _channels(self, pixels):
        rows = self._rows
        shown = rows.add("renderingdef", pixels=pixels, defaultT=0, defaultZ=0, compression=0.85, model=self._model,
                         quantization=rows.add("quantumdef", bitResolution=255, cdStart=0, cdEnd=255))
        for number, (name, colour) in enumerate(zip(("GFP", "Cy3"), COLOURS, strict=True)):
            colours = dict(zip(("red", "green", "blue", "alpha"), (*colour, 255), strict=True))
            rows.add("channel", pixels=pixels, pixels_index=number,
                     logicalChannel=rows.add("logicalchannel", name=name),
                     statsInfo=rows.add("statsinfo", globalMin=WINDOW[0], globalMax=WINDOW[1]), **colours)
            rows.add("channelbinding", renderingDef=shown, renderingDef_index=number, active=True, family=self._linear,
                     inputStart=WINDOW[0], inputEnd=WINDOW[1], **colours)
