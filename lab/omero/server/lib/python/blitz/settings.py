"""OMERO's configuration as the real server reads it: etc/omero.properties, overruled by `omero config`'s config.xml."""
from pathlib import Path

from omero.config import ConfigXml


def load(home):
    """All keys and values of the server unpacked at the directory `home`."""
    lines = (home / "etc/omero.properties").read_text().splitlines()
    settings = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    stored = home / "etc/grid/config.xml"
    if stored.exists():
        config = ConfigXml(str(stored), read_only=True)
        try:
            settings.update(config.as_map())
        finally:
            config.close()
    return settings


def data_dir(settings):
    """The directory below which pixels and files lie."""
    return Path(settings["omero.data.dir"])
