"""
The data volumes of a server: which device each one is, what that device carries, and where it is mounted.

A volume is an entry of pillar ``server:volumes``: ``{name, mount, size_gb}`` with the ``id`` that the cloud gave it,
or, on a server made by hand, the ``uuid`` of its filesystem. Devices are never found by name, label or order: a clone
carries its source's label and UUID, and /dev/vdb is whatever was attached second.

Facts (`facts`, `status`), their judgement (`refusal`, `problems`) and deeds (`make_filesystem`) are kept apart. A
device is formatted only when nothing at all can be found on it.
"""

import glob
import json
import os
import stat
import string

from salt.exceptions import CommandExecutionError

FILESYSTEM = "xfs"
# virtio hands the guest this much of a volume's id as the disk's serial number
SERIAL_LENGTH = 20
MIB = 1024 * 1024
# in it is what a restore from a copy has brought until now (idr/copies/deeds.py)
RESTORING = ".idr-restoring"
UNFINISHED = "a restore from a copy hasn't ended, and what it brings isn't all there. Type the restore once more"


def unit(mount):
    """
    The name of the systemd unit that mounts a path.

    CLI Example:

    .. code-block:: bash

        salt-call data_volume.unit /var/lib/pgsql
    """
    kept = string.ascii_letters + string.digits + ":_."
    parts = mount.strip("/").replace("/", "\0")
    return "".join("-" if c == "\0" else c if c in kept else f"\\x{ord(c):02x}" for c in parts) + ".mount"


def path(volume):
    """
    The stable path of a volume's device, as a mount unit names it.

    volume:  its entry in pillar ``server:volumes``

    CLI Example:

    .. code-block:: bash

        salt-call data_volume.path '{id: 6c1f0a52-0b57-4bd0-8f6e-3f4f1f0b9a03}'
    """
    if "id" in volume:
        return f"/dev/disk/by-id/virtio-{volume['id'][:SERIAL_LENGTH]}"
    return f"/dev/disk/by-uuid/{volume['uuid']}"


def devices(volume):
    """
    Every block device that answers to a volume's id or UUID; more than one means that it isn't known which it is.

    By id, the kernel's serial numbers are asked as well as /dev/disk: a link there names only the last of two.
    Arguments as for `path`.

    CLI Example:

    .. code-block:: bash

        salt-call data_volume.devices '{uuid: 79af0260-18f4-4e6f-976e-84aa21e2b5b5}'
    """
    if "id" in volume:
        named = [os.path.realpath(path(volume))]
        for serial in glob.glob("/sys/block/*/serial"):
            with open(serial) as file:
                if file.read().strip() == volume["id"][:SERIAL_LENGTH]:
                    named.append(f"/dev/{serial.split('/')[3]}")
    else:
        # without blkid's cache, which remembers devices that are gone
        named = _run("blkid", "-c", "/dev/null", "-t", f"UUID={volume['uuid']}", "-o", "device", silent=True).split()
    return sorted({device for device in named if os.path.exists(device) and _is_block(device)})


def facts(volume):
    """
    What is true of one volume now: its devices, what they carry, and what is at its mount point.

    Returns ``devices``, ``mounted_on`` (paths), ``occupant`` (what is mounted at the volume's mount point), ``files``
    (some names in the mount point while nothing is mounted there), and of a single device ``bytes``, ``signatures``,
    ``written`` (offset of a byte that isn't zero, None if there's none where looked) and ``held_by``. Arguments as for
    `path`.

    CLI Example:

    .. code-block:: bash

        salt-call data_volume.facts '{name: db, mount: /var/lib/pgsql, id: 6c1f0a52-0b57-4bd0-8f6e-3f4f1f0b9a03}'
    """
    known = {"devices": devices(volume), "mounted_on": [], "occupant": None, "files": []}
    mounts = _mounts()
    if len(known["devices"]) == 1:
        device = known["devices"][0]
        known["bytes"] = _size(device)
        number = _number(device)
        known["mounted_on"] = sorted({m["path"] for m in mounts if m["number"] == number})
        known["signatures"] = _signatures(device)
        known["written"] = None if known["signatures"] else _written(device, known["bytes"])
        known["held_by"] = sorted(os.listdir(f"/sys/dev/block/{number}/holders"))
    there = [m for m in mounts if m["path"] == volume["mount"]]
    if there:
        known["occupant"] = {key: there[-1][key] for key in ("source", "type", "options")}
        known["occupant"]["is_volume"] = len(known["devices"]) == 1 and there[-1]["number"] == number
    elif os.path.isdir(volume["mount"]):
        known["files"] = sorted(os.listdir(volume["mount"]))[:5]
    return known


def refusal(volume, known=None):
    """
    Why a volume can't be used as it is, in one line that says what to do; None if it can.

    volume:  as for `path`
    known:   its facts, where the caller has them already

    CLI Example:

    .. code-block:: bash

        salt-call data_volume.refusal '{name: db, mount: /var/lib/pgsql, id: 6c1f0a52-0b57-4bd0-8f6e-3f4f1f0b9a03}'
    """
    why = _why_not(volume, known or facts(volume))
    return f"{__opts__['id']}: volume {volume['name']} for {volume['mount']}: {why}" if why else None


def status():
    """
    The facts of every volume of this server, by name, with its size and what is used of it in bytes when mounted.

    ``frozen`` says since when it is held still for a snapshot, and until when at most; None if it isn't.

    CLI Example:

    .. code-block:: bash

        salt idr-database data_volume.status
    """
    found = {}
    for volume in _volumes():
        found[volume["name"]] = known = {"mount": volume["mount"], **facts(volume)}
        known["frozen"] = __salt__["data_volume.frozen"](volume["name"])
        if known["occupant"]:
            room = os.statvfs(volume["mount"])
            known["size"] = room.f_blocks * room.f_frsize
            known["used"] = (room.f_blocks - room.f_bfree) * room.f_frsize
    return found


def problems():
    """
    One line for each volume of this server that can't be used as it is, or as yet; empty when all can.

    CLI Example:

    .. code-block:: bash

        salt idr-database data_volume.problems
    """
    found = []
    for volume in _volumes():
        known = facts(volume)
        unfinished = known["occupant"] and os.path.lexists(os.path.join(volume["mount"], RESTORING))
        why = refusal(volume, known)
        found += [why] if why else []
        found += [f"{__opts__['id']}: volume {volume['name']} for {volume['mount']}: {UNFINISHED}"] * bool(unfinished)
    return found


def make_filesystem(device):
    """
    Put an xfs filesystem on a blank device. Refuses a device that carries anything at all.

    CLI Example:

    .. code-block:: bash

        salt-call data_volume.make_filesystem /dev/vdb
    """
    found = _signatures(device)
    if found or _written(device, _size(device)) is not None:
        raise CommandExecutionError(f"{device} isn't blank ({', '.join(found) or 'it has been written to'})")
    # never -f: mkfs looks for signatures of its own, and opens the device exclusively
    _run(f"mkfs.{FILESYSTEM}", "-q", device)


def _why_not(volume, known):
    """The judgement on facts alone."""
    found = known["devices"]
    what = path(volume)
    if not found:
        return f"there is no device {what}. Attach the volume, or correct its entry in the environment's pillar"
    if len(found) > 1:
        return f"{' and '.join(found)} both answer to {what}. Detach the one that doesn't belong to this server"
    occupant = known["occupant"]
    if occupant and not occupant["is_volume"]:
        return f"{occupant['source']} is mounted there instead of {found[0]}. Unmount it: umount {volume['mount']}"
    elsewhere = [place for place in known["mounted_on"] if place != volume["mount"]]
    if elsewhere and not occupant:
        return f"{found[0]} is mounted on {elsewhere[0]}. Unmount it: umount {elsewhere[0]}"
    if known["held_by"]:
        return f"{found[0]} is part of {', '.join(known['held_by'])}. Is it the right volume? Nothing was changed"
    if known["signatures"] and known["signatures"] != [FILESYSTEM]:
        return (
            f"{found[0]} carries {' and '.join(known['signatures'])} where only {FILESYSTEM} is expected. Nothing was "
            f"changed. If its content may be lost: wipefs --all {found[0]}; otherwise attach the right volume"
        )
    if known["written"] is not None:
        return (
            f"{found[0]} carries no known signature, but isn't blank at byte {known['written']}. Nothing was changed. "
            f"If its content may be lost: blkdiscard --zeroout {found[0]}; otherwise attach the right volume"
        )
    if known["files"]:
        return (
            f"the directory holds {', '.join(known['files'])} though nothing is mounted there, and mounting would hide "
            f"it. Move it away: mv {volume['mount']} {volume['mount']}.before"
        )
    return None


def _volumes():
    # a masked value is only good for showing
    return __salt__["pillar.get"]("server:volumes", default=[], unmask=True)


def _run(*command, silent=False):
    """Standard output of a command; with `silent` its failure means that there's nothing to tell."""
    done = __salt__["cmd.run_all"](list(command), python_shell=False, ignore_retcode=silent)
    if done["retcode"] and not silent:
        raise CommandExecutionError(f"{' '.join(command)}: {done['stderr'] or done['stdout']}")
    return done["stdout"]


def _is_block(device):
    return stat.S_ISBLK(os.stat(device).st_mode)


def _number(device):
    rdev = os.stat(device).st_rdev
    return f"{os.major(rdev)}:{os.minor(rdev)}"


def _size(device):
    with open(device, "rb") as file:
        return file.seek(0, os.SEEK_END)


def _mounts():
    """What is mounted in this mount namespace, oldest first; `number` is the device's major:minor."""
    found = []
    with open("/proc/self/mountinfo") as file:
        for line in file:
            before, _, after = line.partition(" - ")
            number, _root, where, options = before.split()[2:6]
            kind, source = after.split()[:2]
            # the kernel writes blanks and backslashes in octal
            where = where.encode().decode("unicode_escape")
            found.append({"number": number, "path": where, "options": options, "type": kind, "source": source})
    return found


def _signatures(device):
    """
    Everything that blkid or wipefs recognise on a device: filesystems, RAID, LVM and LUKS, partition tables.

    Both are asked, since wipefs lists all signatures where blkid stops at the first, and blkid tells when they
    contradict one another.
    """
    listed = json.loads(_run("wipefs", "--no-act", "--json", device) or "{}").get("signatures", [])
    found = {signature["type"] for signature in listed}
    probed = __salt__["cmd.run_all"](["blkid", "-p", "-o", "export", device], python_shell=False, ignore_retcode=True)
    if probed["retcode"] == 8:
        found.add("contradicting signatures")
    elif probed["retcode"] not in (0, 2):
        raise CommandExecutionError(f"blkid can't read {device}: {probed['stderr'] or probed['stdout']}")
    for line in probed["stdout"].splitlines():
        key, _, value = line.partition("=")
        if key in ("TYPE", "PTTYPE"):
            found.add(value)
    return sorted(found)


def _written(device, size):
    """
    Offset of the first byte other than zero in a device's first and last MiB and at places between, None if all are.

    A new volume reads as zeros. Remains of a filesystem whose superblock is gone don't, and aren't ours to format.
    """
    between = [size // 256 * part for part in range(1, 256)]
    places = [(0, MIB), *((place, 4096) for place in between), (max(size - MIB, 0), MIB)]
    with open(device, "rb") as file:
        for place, length in places:
            file.seek(place)
            block = file.read(length)
            if block.count(0) != len(block):
                return place + len(block) - len(block.lstrip(b"\0"))
    return None
