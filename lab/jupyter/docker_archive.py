"""Writes a directory as an image of one layer, in an archive that `docker load` takes. Same files, same image."""

import hashlib
import io
import json
import os
import tarfile
from pathlib import Path

MOMENT, CREATED = 1735689600, "2025-01-01T00:00:00Z"   # of all in it: the real one would make another image each time
LAYER = "layer.tar"


def write(root, archive, name, config, architecture):
    """
    Write the directory ROOT as the image NAME into the file ARCHIVE.

    name:          repository and tag, e.g. ``idr-lab/jupyter:1``
    config:        what containers of it start with: User, Env, WorkingDir, Cmd…
    architecture:  as Debian and Docker both call it, e.g. ``amd64``

    Returns the image's id. Owners and modes are kept; times, names of owners and extended attributes aren't.
    """
    with open(archive, "wb") as file:
        file.seek(tarfile.BLOCKSIZE)   # the layer's entry comes here, once its size is known
        digest = _write_layer(Path(root), file)
        end = file.tell()
        described = _json({
            "architecture": architecture, "os": "linux", "created": CREATED, "config": config,
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
            "history": [{"created": CREATED, "created_by": "lab/jupyter"}],
        })
        image = hashlib.sha256(described).hexdigest()
        manifest = _json([{"Config": f"{image}.json", "RepoTags": [name], "Layers": [LAYER]}])
        file.seek(0)
        file.write(_plain(LAYER, end - tarfile.BLOCKSIZE).tobuf(tarfile.USTAR_FORMAT))
        file.seek(end)   # a tar's length is a multiple of a tar's blocks
        with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for member, content in ((f"{image}.json", described), ("manifest.json", manifest)):
                tar.addfile(_plain(member, len(content)), io.BytesIO(content))
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
