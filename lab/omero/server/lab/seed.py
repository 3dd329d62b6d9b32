"""Puts a small study into the server that it lies in, straight into its database and its data directory; a second
time it changes nothing. Prints as JSON what is there.

    lab/seed                          the study: a screen with a plate, and a project with a dataset
    lab/seed --rename-image ID NAME   that image has another name
    lab/seed --repaint ID             that image has other pixels, so its thumbnail and renderings differ
"""
import argparse
import json
import sys
from pathlib import Path

import psycopg2
from blitz.database import Database
from blitz.planes import pixels_file
from blitz.settings import data_dir, load
from content import fill
from painted import digest, paint
from rows import Rows

SCREEN, PLATE, PROJECT, DATASET = "idr0001-lab/screenA", "plate1", "idr0002-lab/experimentA", "Images of experimentA"
GROUP = "demo"


class Refused(Exception):
    """What is missing before the study can be made."""


def seed(database, data):
    """Make the study unless it is there. Returns its ids by name: screen, plate, project, dataset and images."""
    if not found(database)["screen"]:
        row = database.row("select id, permissions from experimentergroup where name = %(name)s", name=GROUP)
        if row is None:
            raise Refused(f"there is no group {GROUP}: deploy first (state omero_server.running makes it)")
        with database.cursor() as cursor:
            fill(Rows(cursor, *row), data, SCREEN, PLATE, PROJECT, DATASET)
    return found(database)


def found(database):
    """The study's ids."""
    def one(table, name):
        row = database.row(f"select id from {table} where name = %(name)s", name=name)
        return row and row[0]
    images = database.rows("select i.id from image i join wellsample s on s.image = i.id join well w on w.id = s.well "
                           "join plate p on p.id = w.plate where p.name = %(plate)s order by i.id", plate=PLATE)
    return {"screen": one("screen", SCREEN), "plate": one("plate", PLATE), "project": one("project", PROJECT),
            "dataset": one("dataset", DATASET), "images": [row[0] for row in images]}


def rename(database, image, name):
    """Give an image another name."""
    if not database.rows("update image set name = %(name)s where id = %(image)s returning id", image=image, name=name):
        raise Refused(f"there is no image {image}")


def repaint(database, data, image):
    """Give an image pixels that it never had."""
    row = database.row("select id, waveStart from pixels where image = %(image)s", image=image)
    if row is None:
        raise Refused(f"there is no image {image}")
    pixels, coat = row[0], (row[1] or 0) + 1    # how often it was painted is remembered where nobody looks
    paint(pixels_file(data, pixels), image, coat)
    database.rows("update pixels set sha1 = %(sha1)s, waveStart = %(coat)s where id = %(pixels)s returning id",
                  pixels=pixels, sha1=digest(image, coat), coat=coat)


def main():
    """The command line; 1 with one line where something is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rename-image", nargs=2, metavar=("ID", "NAME"))
    parser.add_argument("--repaint", type=int, metavar="ID")
    arguments = parser.parse_args()
    settings = load(Path.cwd())
    database, data = Database(settings), data_dir(settings)
    try:
        if arguments.rename_image:
            rename(database, int(arguments.rename_image[0]), arguments.rename_image[1])
        elif arguments.repaint is not None:
            repaint(database, data, arguments.repaint)
        else:
            seed(database, data)
        print(json.dumps(found(database)))
    except (Refused, psycopg2.Error) as problem:
        sys.exit(f"seed: {problem}".strip())


if __name__ == "__main__":
    main()
