"""Writes a directory as an image of one layer, in an archive that `docker load` takes. The same files give the same image."""

import hashlib
import io
import json
import os
import tarfile
from pathlib import Path

MOMENT = 1735689600   # of every file in the layer; when it was really made would make another image


def write(root, archive, name, config, architecture):
    """
    Write the directory ROOT as the image NAME into the file ARCHIVE.

    name:          repository and tag, e.g. ``idr-lab/jupyter:1``
    config:        what containers of it start with: User, Env, WorkingDir, Cmd…
    architecture:  as Debian and Docker both call it, e.g. ``amd64``

    Returns the image's id. Owners and modes are kept; times, names of owners and extended attributes aren't.
    """
    layer = Path(f"{archive}.layer")
    with open(layer, "wb") as file:
        digest = _write_layer(Path(root), file)
    described = _json({
        "architecture": architecture, "os": "linux", "created": "2025-01-01T00:00:00Z", "config": config,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        "history": [{"created": "2025-01-01T00:00:00Z", "created_by": "lab/jupyter"}],
    })
    image = hashlib.sha256(described).hexdigest()
    manifest = _json([{"Config": f"{image}.json", "RepoTags": [name], "Layers": ["layer.tar"]}])
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
        for member, content in (("manifest.json", manifest), (f"{image}.json", described)):
            tar.addfile(_plain(member, len(content)), io.BytesIO(content))
        with open(layer, "rb") as file:
            tar.addfile(_plain("layer.tar", layer.stat().st_size), file)
    layer.unlink()
    return f"sha256:{image}"


def _write_layer(root, file):
    """The tar of everything below ROOT, in an order of its own; returns the sha256 of it."""
    hashed = _Hashed(file)
    with tarfile.open(fileobj=hashed, mode="w|", format=tarfile.PAX_FORMAT, bufsize=1 << 20) as tar:
        for directory, directories, files in os.walk(root):
            directories.sort()
            for name in sorted([*directories, *files]):
                path = Path(directory, name)
                tar.inodes.clear()   # a hard link is a file like any other: which of them came first says nothing
                entry = tar.gettarinfo(path, str(path.relative_to(root)))
                entry.mtime, entry.uname, entry.gname = MOMENT, "", ""
                if entry.isreg():
                    with open(path, "rb") as content:
                        tar.addfile(entry, content)
                else:
                    tar.addfile(entry)
    return hashed.digest.hexdigest()


class _Hashed:
    """A file that is hashed while it is written."""

    def __init__(self, file):
        self.file, self.digest = file, hashlib.sha256()

    def write(self, data):
        self.digest.update(data)
        return self.file.write(data)


def _plain(name, size):
    entry = tarfile.TarInfo(name)
    entry.size, entry.mtime, entry.mode = size, MOMENT, 0o644
    return entry


def _json(thing):
    return json.dumps(thing, sort_keys=True, separators=(",", ":")).encode()
