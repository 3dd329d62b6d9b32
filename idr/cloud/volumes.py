"""
Data volumes, and the temporary snapshots that they are cloned by.

A volume that is there keeps its content: where it came from is never looked at again. All snapshots of one environment
are taken side by side before anything is made of them, so that a database and its files are of nearly one moment.
"""

from idr.cloud import mark, sources
from idr.cloud.model import Ref

UNDER_WAY = (
    "creating", "downloading", "detaching", "extending", "retyping", "backing-up", "restoring-backup", "maintenance",
)  # fmt: skip
BEING_ATTACHED = ("attaching", "reserved")  # the attachment is looked for and waited for


def plan(draft):
    """Put down what the volumes need."""
    _look_at_those_aside(draft)
    for volume in draft.wanted.volumes:
        there = draft.own("volume", volume.name)
        if there:
            _look_at(draft, volume, there)
    missing = [volume for volume in draft.wanted.volumes if draft.own("volume", volume.name) is None]
    if not missing:
        _sweep(draft, keep=())
        return
    zone = sources.zone(draft)
    found = {volume.use: sources.find(draft, volume, zone) for volume in missing}
    originals = {source.id: source for source in found.values() if source and source.kind == "volume"}
    snapshots = _snapshots(draft, originals)
    for volume in missing:
        _make(draft, volume, found[volume.use], snapshots)
    _remove(draft, snapshots, {volume.name: found[volume.use] for volume in missing})
    _estimate(draft, [source for source in found.values() if source])


def _look_at(draft, volume, there):
    status = there.what["status"]
    if status in UNDER_WAY:
        draft.step("wait", "volume", volume.name, id=there.id)
    elif status == "error" and not there.what["attachments"]:
        draft.problems.append(
            f"volume {volume.name} is in error: if it never was in use, openstack volume delete {there.id}, and it's "
            f"made anew; otherwise ask the cloud's administrators"
        )
    elif status not in (*sources.READY, *BEING_ATTACHED):
        draft.problems.append(f"volume {volume.name} ({there.id}) is {status}: ask the cloud's administrators")
    if there.what["size"] != volume.size_gb:
        draft.notes.append(
            f"volume {volume.name} has {there.what['size']} GB, not {volume.size_gb}: "
            f"a volume that is there isn't made larger or smaller"
        )


def is_on_a_server(facts, volume):
    """Whether a server has a volume; one that is gone lets go of it a moment later."""
    servers = {server.id for server in facts.all("server")}
    return any(each["server_id"] in servers for each in volume.what["attachments"])


def _look_at_those_aside(draft):
    """
    Tell of what restores put aside, or cloned. Where one was cut off, another volume than the set's would get in its
    place.
    """
    own = draft.facts.of(draft.environment, "volume")
    draft.notes += [
        f"volume {it.name} ({it.id}) is a clone that single files are brought back from. Where no run is at that any "
        f"more, it goes with the next: salt-run backup.restore … into={draft.environment} file=…"
        for it in own
        if "idr_temporary" in it.what["metadata"]
    ]
    names = {volume.use: volume.name for volume in draft.wanted.volumes}
    for it in own:
        backup, name = mark.put_aside_for(it), names.get(it.what["use"])
        if not backup:
            continue
        draft.keep(it)
        there = [each.name for each in own if mark.is_current(each)]
        if name and (name not in there or is_on_a_server(draft.facts, it)):
            draft.problems.append(
                f"volume {it.name} ({it.id}) was put aside for {backup}, and that restore was cut off: "
                f"salt-run {mark.put_aside_by(it)}"
            )
        else:
            draft.notes.append(
                f"volume {it.name} was put aside for {backup}, and is kept. Once nobody needs it any more: "
                f"openstack volume delete {it.id}"
            )


def _snapshots(draft, originals):
    """What the originals are cloned by: their ids -> the snapshot's id or a Ref to one that is made."""
    names = _names(draft, originals)
    left = _reusable(draft, originals)
    _sweep(draft, keep=[snapshot.id for snapshot in left.values()])
    found = {}
    for id_, original in originals.items():
        name, there = names[id_], left.get(id_)
        if there:
            draft.keep(there)
            if there.what["status"] == "creating":
                draft.step("wait", "snapshot", name, id=there.id)
            found[id_] = name, there.id
            continue
        what = {
            "name": name,
            "volume_id": original.id,
            "is_forced": True,  # it's in use
            "metadata": draft.metadata(temporary="clone"),
        }
        before = [("remove snapshot", f"{each.name} ({each.id})") for each in _leftovers(draft) if each.name == name]
        if _environment(draft, id_) == draft.environment:  # it may be in the making; a stranger's of that name isn't
            before.append(("volume", original.name))
        quotas = {"snapshots": 1, "gigabytes": original.size_gb}
        draft.make("snapshot", name, what, before, **quotas)
        found[id_] = name, Ref("snapshot", name)
    return found


def _names(draft, originals):
    found = {}
    for id_, original in originals.items():
        name = f"{draft.environment}-clone-of-{original.name}"
        found[id_] = f"{name}-{id_[:8]}" if name in found.values() else name
    return found


def _leftovers(draft):
    return [each for each in draft.facts.of(draft.environment, "snapshot") if each.what["temporary"]]


def _reusable(draft, originals):
    """
    The snapshots of an earlier run that this one goes on with, by their volume's id: where a volume was already made of
    that run's, the others have to be of the same moment. A run that made none yet begins anew, from what is there now.
    """
    begun = {volume.run for volume in draft.facts.of(draft.environment, "volume")}
    left = {
        each.what["volume_id"]: each
        for each in _leftovers(draft)
        if each.run in begun and each.what["status"] in ("available", "creating")
    }
    return {id_: left[id_] for id_ in originals if id_ in left}


def _sweep(draft, keep):
    """Remove the temporary snapshots that earlier runs left, but those; first what is still made of them is ready."""
    for each in _leftovers(draft):
        if each.id not in keep:
            users = [v for v in draft.facts.all("volume") if v.what["snapshot_id"] == each.id]
            needs = [("volume", volume.name) for volume in users]
            if each.what["status"] == "creating":
                needs.append(draft.step("wait", "snapshot", f"{each.name} ({each.id})", id=each.id))
            draft.step("remove", "snapshot", f"{each.name} ({each.id})", needs=needs, id=each.id)


def _make(draft, volume, source, snapshots):
    wanted = draft.wanted
    further = {"source": source.id} if source else {}
    if source and source.set:
        further["set"] = source.set
    what = {
        "name": volume.name,
        "size": volume.size_gb,
        "metadata": draft.metadata(volume=volume.use, **further),
    }
    if wanted.volume_type:
        what["volume_type"] = wanted.volume_type
    if wanted.zone:
        what["availability_zone"] = wanted.zone
    needs = []
    if source and source.kind == "snapshot":
        what["snapshot_id"] = source.id
    elif source:
        what["snapshot_id"] = snapshots[source.id][1]
        together = _environment(draft, source.id)
        needs = [("snapshot", name) for id_, (name, _) in snapshots.items() if _environment(draft, id_) == together]
    draft.make("volume", volume.name, what, needs, volumes=1, gigabytes=volume.size_gb)


def _environment(draft, id_):
    """Whose an original is: two that are nobody's are of one moment, too."""
    return next((volume.environment for volume in draft.facts.all("volume") if volume.id == id_), None)


def _remove(draft, snapshots, made):
    """Temporary is temporary: each goes when all that is made of it is ready. MADE: volumes' names -> their Source."""
    for original, (name, id_) in snapshots.items():
        users = [volume for volume, source in made.items() if source and source.id == original]
        users += [volume.name for volume in draft.facts.all("volume") if volume.what["snapshot_id"] == id_]
        needs = [("snapshot", name), *(("volume", user) for user in users)]
        draft.step("remove", "snapshot", name, needs=needs, id=id_)


def _estimate(draft, cloned):
    """A note on how long the clones will take, as far as earlier ones tell (metadata idr_clone_seconds)."""
    size = sum(source.size_gb for source in cloned)
    if not size:
        return
    known = [
        (volume.what["size"], int(seconds))
        for volume in draft.facts.all("volume")
        if (seconds := volume.what["metadata"].get("idr_clone_seconds", "")).isdigit()
    ]
    if known:
        longest = max(seconds / max(gigabytes, 1) for gigabytes, seconds in known)
        largest = max(source.size_gb for source in cloned)
        time = f"at most about {max(round(longest * largest / 60), 1)} min, as earlier ones took"
    else:
        time = "how long that takes is unknown, as none was made here yet"
    draft.notes.append(f"{len(cloned)} volumes are cloned, {size} GB together, side by side: {time}")
