"""
OMERO's files on a clone against the rows that name them: all of them by their size, a sample by its bytes.

Where a file is follows from its row as OMERO has it: in its repository, or by its number in Files or Pixels. What was
imported in place is a link that leads off the volume; it's counted, since it's in no backup.
"""

import hashlib
import os
import random
import re
import stat
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from idr.verify.cluster import DATABASE, QueryFailed
from idr.verify.commands import STORAGE, below

WORKERS = os.cpu_count() or 1
AT_ONCE = 1000  # files that are remembered until they are hashed, where all are
MOUNT = "/data/"  # where the volume was
FILES = """
SELECT f.id, coalesce(f.repo, ''), f.path, f.name, coalesce(f.size::text, ''), coalesce(f.hash, ''),
       coalesce(a.value, ''), coalesce(f.mimetype, '')
FROM originalfile f LEFT JOIN checksumalgorithm a ON a.id = f.hasher ORDER BY f.id
"""
PIXELS = """
SELECT p.id, p.sha1, p.sizex::int8 * p.sizey * p.sizez * p.sizec * p.sizet, t.value, i.fileset IS NOT NULL
FROM pixels p JOIN pixelstype t ON t.id = p.pixelstype JOIN image i ON i.id = p.image ORDER BY p.id
"""
REPOSITORIES = "SELECT hash, path, name FROM originalfile WHERE mimetype = 'Repository'"
PIXEL_BYTES = {
    "int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "int32": 4, "uint32": 4, "float": 4, "double": 8, "complex": 8,
    "double-complex": 16,
}  # fmt: skip
REPOSITORY, FOLDER = "Repository", "Directory"  # mimetypes
LOG = "application/omero-log-file"  # of an import: written while it goes on and after, and read by nobody but people
SCRIPTS = "text/x-"  # how the mimetypes of scripts begin, which are in OMERO.server's own directory


def files(found, it, volume, sample, seed):
    """
    Look for every file that a row names, and read a sample of them.

    it:      the cluster, which runs
    volume:  where the data volume is mounted
    sample:  how many are read, chosen at random by the SEED; None: all
    """
    try:
        managed = [path for depth in ("", "*/", "*/*/") for path in below(volume, f"{depth}ManagedRepository")]
        named = managed and Named(found, Path(managed[0]).parent, Path(volume), it)
    except OSError as error:
        found.failed("files", f"omero-data: {error.filename}", error)
        return
    if not managed:
        found.wrong("files", "omero-data: there is no ManagedRepository on it")
        return
    found.say("looking for every file that a row names")
    chosen, hashed = Sample(sample, seed), 0
    try:
        with ThreadPoolExecutor(WORKERS) as pool:
            for each in named.all():
                chosen.offer(each)
                if sample is None and len(chosen.kept) == AT_ONCE:
                    hashed += _hash(found, pool, chosen)
            found.say(f"reading {len(chosen.kept)} of {named.counts['files']} files")
            hashed += _hash(found, pool, chosen)
    except QueryFailed as error:
        found.wrong("files", f"the rows that name files can't be read: {error}")
    if named.log:
        more = f" (and {named.odd_logs - 1} more)" if named.odd_logs > 1 else ""
        found.notes.append(f"a log of an import isn't as its row says, which disproves nothing: {named.log}{more}")
    found.figures |= named.counts | {"hashed": hashed, "seed": seed if sample is not None else None}


def _hash(found, pool, chosen):
    """Read what was chosen and forget it; returns how many that were."""
    for label, wrong in pool.map(_compared, chosen.kept):
        if isinstance(wrong, OSError):
            found.failed("files", f"{label}: it can't be read", wrong)
        elif wrong:
            found.wrong("files", f"{label}: {wrong}")
    count = len(chosen.kept)
    chosen.kept.clear()
    return count


class Sample:
    """Some of many, each as likely as any other, chosen as they come by; all of them where LIMIT is None."""

    def __init__(self, limit, seed):
        self.limit, self.kept = limit, []
        self._seen, self._random = 0, random.Random(seed)

    def offer(self, it):
        """One more."""
        self._seen += 1
        if self.limit is None or len(self.kept) < self.limit:
            self.kept.append(it)
        else:
            place = self._random.randrange(self._seen)
            if place < self.limit:
                self.kept[place] = it


class Named:
    """The files that rows name. DATA is OMERO's directory in the volume."""

    def __init__(self, found, data, volume, it):
        self.found, self.data, self.volume, self.it = found, data, volume, it
        self.repositories = self._repositories()
        self.counts = dict.fromkeys(("files", "bytes", "elsewhere", "without_hash"), 0)
        self.log, self.odd_logs = None, 0  # the first that isn't as its row says, and how many aren't

    def all(self):
        """
        Look for each of them; yields those that can be compared by a hash: ``(label, path, algorithm, hash)``.
        """
        for row in self.it.copied(FILES, DATABASE):
            yield from self._each(f"original file {row[0]}", self._original(*row))
        for row in self.it.copied(PIXELS, DATABASE):
            yield from self._each(f"pixels {row[0]}", self._pixels(*row))

    def _each(self, label, found):
        try:
            yield from found
        except OSError as error:
            self.found.failed("files", f"{label}: {error.filename} can't be looked at", error)

    def _repositories(self):
        """Where each repository's files are, by its id; None where that isn't on the volume."""
        found = {}
        for row in self.it.rows(REPOSITORIES, DATABASE):
            found[row["hash"]] = on_volume(f"{row['path'].rstrip('/')}/{row['name']}", self.volume)
        for depth in ("", "*/"):
            for told in below(self.data, f"{depth}.omero/repository/*/repo_uuid"):
                found[Path(told).read_text().strip()] = Path(told).parents[3]
        return found

    def _original(self, id_, repository, folder, name, size, hash_, algorithm, mimetype):
        if mimetype == REPOSITORY:  # `_repositories` knows it
            return
        if not repository:
            path = numbered(self.data / "Files", int(id_))
        else:
            is_script = mimetype.startswith(SCRIPTS)
            place = self.repositories.get(repository, None if is_script else self.data / "ManagedRepository")
            path = place and place / folder.lstrip("/") / name.lstrip("/")
        if path is None:
            self.counts["elsewhere"] += 1
            return
        label = f"original file {id_} ({path.relative_to(self.volume)})"
        if mimetype == FOLDER:
            real = resolved(path, self.volume)
            if real and not stat.S_ISDIR(_mode(real)):
                self.found.wrong("files", f"{label}: the directory isn't there")
        elif mimetype == LOG:
            self._log(label, path, int(size) if size else None)
        elif hash_ or size not in ("", "0"):
            yield from self._comparable(label, path, int(size) if size else None, algorithm, hash_)
        elif _mode(path):  # an upload that goes on or never ended: what its size is isn't told yet
            yield from self._comparable(label, path, None, algorithm, hash_)

    def _pixels(self, id_, sha1, count, kind, is_imported):
        path = numbered(self.data / "Pixels", int(id_))
        if not _mode(path) and (is_imported == "t" or _mode(path.with_name(f"{id_}_pyramid"))):
            return  # read from what was imported, or kept in another form
        size = int(count) * PIXEL_BYTES[kind] if kind in PIXEL_BYTES else None
        algorithm = "SHA1-160" if re.fullmatch("[0-9a-f]{40}", sha1) else ""
        yield from self._comparable(f"pixels {id_} ({path.relative_to(self.volume)})", path, size, algorithm, sha1)

    def _log(self, label, path, size):
        self.counts["files"] += 1
        real = resolved(path, self.volume)
        why = real and _why_not(real, size)
        if why:
            self.log, self.odd_logs = self.log or f"{label}: {why}", self.odd_logs + 1

    def _comparable(self, label, path, size, algorithm, hash_):
        self.counts["files"] += 1
        real = resolved(path, self.volume)
        if real is None:
            self.counts["elsewhere"] += 1
            return
        why = _why_not(real, size)
        if why:
            self.found.wrong("files", f"{label}: {why}")
            return
        self.counts["bytes"] += os.stat(real).st_size
        if algorithm in ALGORITHMS and hash_:
            yield label, real, algorithm, hash_
        else:
            self.counts["without_hash"] += 1


def _why_not(path, size):
    """What is wrong with a file by a look at it from outside, None if nothing is."""
    try:
        about = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return "it isn't there"
    except OSError as error:
        if error.errno in STORAGE:
            raise
        return f"it can't be looked at: {error.strerror}"
    if not stat.S_ISREG(about.st_mode):
        return "it's no file"
    if size is not None and about.st_size != size:
        return f"it has {about.st_size} bytes, and its row says {size}"
    return None


def _mode(path):
    """What kind of a thing is there, 0 if nothing is, or nothing that the filesystem knows of."""
    try:
        return os.stat(path).st_mode
    except OSError as error:
        if error.errno in STORAGE:
            raise
        return 0


def on_volume(path, volume):
    """Where an absolute path of the server that the volume was on is now; None where it leads to another place."""
    return volume / path[len(MOUNT) :].lstrip("/") if path.startswith(MOUNT) else None


def resolved(path, volume):
    """Where a path leads, through links as they were on the server that the volume was on; None: off the volume."""
    place, left, links = volume, list(path.relative_to(volume).parts), 0
    while left:
        place = place.parent if left[0] == ".." else place / left[0]
        left = left[1:]
        if place != volume and volume not in place.parents:
            return None
        if links < 40 and os.path.islink(place):  # Path.is_symlink() raises where a name is too long to be one
            links += 1
            target = os.readlink(place)
            if target.startswith("/"):
                place = on_volume(target, volume)
                if place is None:
                    return None
                left, place = [*place.relative_to(volume).parts, *left], volume
            else:
                left, place = [*Path(target).parts, *left], place.parent
    return place


def numbered(folder, id_):
    """Where OMERO keeps what has that number: at most a thousand files in a directory."""
    parts, rest = [], id_
    while rest > 999:
        rest //= 1000
        parts.insert(0, f"Dir-{rest % 1000:03d}")
    return folder.joinpath(*parts, str(id_))


def _compared(chosen):
    """What is wrong with a file's bytes: ``(label, line or None)``, or the OSError with which they can't be read."""
    label, path, algorithm, wanted = chosen
    try:
        there = ALGORITHMS[algorithm](path)
    except OSError as error:
        return label, error
    return label, None if wanted.lower() in there else f"its {algorithm} is {there[0]}, and its row says {wanted}"


def _chunks(path):
    with open(path, "rb") as file:
        while True:
            chunk = file.read(1 << 20)
            if not chunk:
                return
            yield chunk


def _of_hashlib(name):
    def digest(path):
        made = hashlib.new(name)
        for chunk in _chunks(path):
            made.update(chunk)
        return [made.hexdigest()]

    return digest


def _of_zlib(function, start):
    def digest(path):
        made = start
        for chunk in _chunks(path):
            made = function(chunk, made)
        text = f"{made:08x}"
        return [text, bytes.fromhex(text)[::-1].hex()]  # of its bytes in either order, as libraries differ

    return digest


ALGORITHMS = {  # by the names that OMERO has for them; of Murmur3 there's none in the standard library
    "SHA1-160": _of_hashlib("sha1"),
    "MD5-128": _of_hashlib("md5"),
    "Adler-32": _of_zlib(zlib.adler32, 1),
    "CRC-32": _of_zlib(zlib.crc32, 0),
    "File-Size-64": lambda path: [f"{os.stat(path).st_size:016x}"],
}
