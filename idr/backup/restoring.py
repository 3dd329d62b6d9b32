"""
A backup set restored into an environment: what is in its place is put aside and kept, clones of its snapshots take it,
and the servers that held the old ones are made anew, since a clean server takes existing data into account.

It's an apply of that environment with the set as the source of its volumes, planned as if what is put aside were gone.
A run that was cut off is gone on with by what the volumes themselves say: for which set they were put aside, and of
which one they are. Servers stay up until the clones are there.
"""

from dataclasses import dataclass, replace
from functools import partial

from idr.backup import listing, manifest
from idr.backup.model import PRODUCTION
from idr.cloud import anew, applying, live, mark, planning, servers, volumes
from idr.cloud.draft import in_order
from idr.cloud.model import Step
from idr.errors import Refused

MISMATCH, LIVE, AGAIN, DISPROVED = "mismatch", "live", "again", "disproved"
MAY_BE_SAID = (MISMATCH, LIVE, AGAIN, DISPROVED)
OAUTH = "client_id"  # of an authenticator's configuration that comes with a client secret


@dataclass(frozen=True)
class Restore:
    """
    What is asked for: the id of a SET; the uses of VOLUMES whose place it's to take where they're there, None for all
    that can't be made again; what it's to be done in spite of; and whether the analysis side is made of what the set
    has OF PRODUCTION, though it has that side's own.
    """

    set: str
    volumes: tuple[str, ...] | None = None
    even_if: frozenset[str] = frozenset()
    of_production: bool = False


def plan(asked, name, given):
    """
    What has to be done until an environment has what a backup set has: a ``Plan`` with its problems.

    asked:  the ``Restore``
    name:   the environment's, which needn't be there
    given:  what else was typed of the environment, by the parameters' names: ``{"address": …}``
    """
    return applying.plan(name, _given(asked, given), partial(restoration, asked))


def restore(asked, name, given, broken, deploy, folder, tell):
    """Restore a set into an environment, as `plan` says; arguments and answer are those of ``applying.apply``."""
    about, typed = partial(restoration, asked), f"backup.restore {asked.set} into={name}"
    return applying.apply(name, _given(asked, given), broken, deploy, folder, tell, about, "restore", typed)


def not_supplied(plan, folder):
    """
    What is missing in an operator's site directory for the servers that a plan makes, and what stands in, a line each.

    folder:  that directory; no set has what is in it
    """
    proxy = ("make", "server", f"{plan.environment}-proxy")
    if proxy not in [(step.verb, step.kind, step.name) for step in plan.steps]:  # the master has them from before
        return []
    site, lines = folder / "site.sls", []
    if not (folder / "tls").exists():
        lines.append(f"there is no {folder}/tls: the new proxy makes a certificate of its own, which no browser trusts")
    if not site.exists():
        lines.append(f"there is no {site}: defaults stand in, and what only a site can give isn't set up without it")
    elif OAUTH in site.read_text() and not (folder / "oauth_client_secret").exists():
        lines.append(f"there is no {folder}/oauth_client_secret: nothing stands in, and nobody logs in to JupyterHub")
    return lines


def _given(asked, given):
    problems = [] if manifest.environment_of(asked.set) else [f"{asked.set}: no id of a backup set"]
    known = ", ".join(MAY_BE_SAID)
    problems += [f"even_if: only {known} can be said, not {it}" for it in sorted(asked.even_if - set(MAY_BE_SAID))]
    sources = [key for key in given if key == "sources" or key.endswith("_src")]
    problems += [f"{key}=: what is restored comes from {asked.set}" for key in sources]
    if problems:
        raise Refused(problems)
    return {**given, "sources": asked.set}


def restoration(asked, seen):
    """
    What was ``Seen`` of an environment, with the plan that restores a set into it; it asks DNS for who is live, and
    nothing else. Refused where there's no such set, and where it can't be restored.
    """
    return _Restoration(asked, seen).seen()


class _Restoration:
    def __init__(self, asked, seen):
        self.asked, self.before = asked, seen
        self.name, self.facts, self.run = seen.wanted.name, seen.facts, seen.run
        self.backup = _usable(asked.set, seen.facts)
        self.volumes = {volume.use: volume for volume in seen.wanted.volumes}
        self.required = [use for use in self.volumes if PRODUCTION.match(use)]
        self.chosen = self.required if asked.volumes is None else asked.volumes
        self.problems, self.notes = [], []

    def seen(self):
        """What was seen, with the plan of it all."""
        self._look_at_the_set()
        aside = self._aside()
        old = self._servers(aside)
        wanted = replace(self.before.wanted, volumes=tuple(map(self._from_the_set, self.volumes.values())))
        plan = planning.plan(wanted, self._facts_without(aside, old), self.run)
        made = [use for use, volume in self.volumes.items() if ("make", volume.name) in _volume_steps(plan)]
        renamed = [step for step in map(self._renaming, aside) if step]
        steps = in_order((*renamed, *(self._after(step, renamed, made) for step in plan.steps)))
        up = [step.key for step in steps if step.kind == "volume"]
        plan = anew.removing(replace(plan, steps=steps), old, up)
        self._tell(aside, old, made)
        problems, notes = (*self.problems, *plan.problems), (*self.notes, *plan.notes)
        return replace(self.before, plan=replace(plan, problems=problems, notes=notes))

    def _look_at_the_set(self):
        it, has = self.backup, [piece.use for piece in self.backup.pieces]
        about = [
            f"{it.taken:%Y-%m-%d %H:%M} UTC",
            listing.consistency(it),
            "verified" if it.verified else "never verified",
        ]
        about += [f"OMERO {it.facts['omero_version']}"] if "omero_version" in it.facts else []
        self.notes.append(f"{it.id} is of {', '.join(about)}")
        if it.disproved and DISPROVED in self.asked.even_if:
            self.notes.append(f"{it.id} was disproved, {it.disproved}")
        elif it.disproved:
            best = f"If it's the best there is: even_if={DISPROVED}"
            self.problems.append(f"{it.id} was disproved, {it.disproved}. {best}")
        for use in self.chosen:
            if use not in self.volumes:
                self.problems.append(f"volumes: {self.name} has no {use}; it has {', '.join(self.volumes)}")
            elif not self._piece(self.volumes[use]):
                self.problems.append(f"volumes: {self.backup.id} has no {use}; it has {', '.join(has)}")
        for use in has:
            if PRODUCTION.match(use) and use not in self.volumes:
                self.notes.append(f"{use} is in {self.backup.id}, and {self.name} has no server for it: it's left out")

    def _piece(self, volume):
        """What of the set such a volume is made of; of production's, where the set has none of the analysis side."""
        production = volume.source.removeprefix("use:")
        uses = (production,) if self.asked.of_production else (volume.use, production)
        return next((piece for use in uses for piece in self.backup.pieces if piece.use == use), None)

    def _from_the_set(self, volume):
        piece = self._piece(volume)
        return replace(volume, source=piece.snapshot) if piece and volume.use in self.chosen else volume

    def _own(self, use):
        """The environment's volume of that use; None where there's none, or more, which planning tells of."""
        of = [it for it in self.facts.of(self.name, "volume") if it.name == self.volumes[use].name]
        current = [it for it in of if mark.is_current(it)]
        return current[0] if len(current) == 1 else None

    def _is_restored(self, use, volume):
        """
        Whether a volume is a clone of what it's to be of, the analysis side's own or production's; where it's to be
        made again, by this run or one that was cut off.
        """
        piece, again = self._piece(self.volumes[use]), AGAIN in self.asked.even_if
        is_of_it = piece is not None and volume.what["metadata"].get("idr_source") == piece.snapshot
        return is_of_it and (not again or volume.run == self.run)

    def _aside(self):
        """The volumes that are put aside, and those that a run that was cut off hasn't renamed or got off a server."""
        found = [
            it
            for it in self.facts.of(self.name, "volume")
            if mark.put_aside_for(it) and (volumes.is_on_a_server(self.facts, it) or it.name != self._name_aside(it))
        ]
        for use in [use for use in self.chosen if use in self.volumes and self._piece(self.volumes[use])]:
            own = self._own(use)
            if own and self._is_restored(use, own):
                once_more = f"To have it made once more: even_if={AGAIN}"
                self.notes.append(f"volume {own.name} is of {self.backup.id} already, and stays. {once_more}")
            elif own:
                found.append(own)
        return found

    def _run_aside(self, volume):
        return volume.what["metadata"].get("idr_aside", self.run)

    def _name_aside(self, volume):
        return f"{self.name}-{volume.what['use']}-before-{self._run_aside(volume)}"

    def _renaming(self, volume):
        """The step that puts a volume aside, None where that's done. It's attached still: a name is only a name."""
        if volume.name == self._name_aside(volume):
            return None
        said = {"idr_aside": self._run_aside(volume), "idr_aside_for": self.backup.id, "idr_aside_by": self._typed()}
        what = {"name": self._name_aside(volume), "metadata": said}
        return Step("change", "volume", f"{volume.name} ({volume.id})", what, id=volume.id)

    def _typed(self):
        """The command that goes on with this; without the volumes where those are more than metadata can say."""
        if self.asked.of_production:
            return f"analysis.refresh {self.name} set={self.backup.id}"
        whole = f"backup.restore {self.backup.id} into={self.name}"
        named = f"{whole} volumes={','.join(self.asked.volumes)}" if self.asked.volumes else whole
        return named if len(named) <= manifest.LONGEST else whole

    def _servers(self, aside):
        """The servers that hold what is put aside: they're made anew."""
        names = [server.name for server in self.before.wanted.servers]
        own = {it.id: it for it in self.facts.of(self.name, "server") if it.name in names}
        by_id = {volume.id: volume for volume in aside}
        on = [it for it in self.facts.all("attachment") if it.what["volume_id"] in by_id]
        for it in on:
            if it.what["server_id"] not in own:
                volume = by_id[it.what["volume_id"]]
                holder = servers.holder(self.facts, it, volume)
                self.problems.append(f"volume {volume.name} isn't on a server that is made anew, but on {holder}")
        return [server for id_, server in own.items() if id_ in [it.what["server_id"] for it in on]]

    def _facts_without(self, aside, old):
        """The facts without those servers, and with what is put aside as nobody's: it tells its snapshots' type."""
        facts = anew.without(self.facts, old)
        ids = [it.id for it in self.facts.of(self.name, "volume") if it in aside or mark.put_aside_for(it)]
        disowned = tuple(
            replace(it, environment=None, name=self._name_aside(it)) if it.id in ids else it
            for it in facts.all("volume")
        )
        return replace(facts, things={**facts.things, "volume": disowned})

    def _after(self, step, renamed, made):
        """A step of the plan; a volume is only made when the one in its place is renamed, and says what it's beside."""
        if step.kind != "volume":
            return step
        what = step.what
        if step.verb == "make" and what["metadata"]["idr_volume"] in self.required and self._others(made):
            what = {**what, "metadata": {**what["metadata"], "idr_mismatch": ",".join(self._others(made))}}
        return replace(step, what=what, needs=(*step.needs, *(it.key for it in renamed)))

    def _others(self, made):
        """What can't be made again and isn't of this set, where something of the set will be beside it."""
        if not set(made) & set(self.required):
            return []
        left = [(use, self._own(use)) for use in self.required if use not in made]
        return [use for use, own in left if own and not self._is_restored(use, own)]

    def _tell(self, aside, old, made):
        others = self._others(made)
        if others and MISMATCH not in self.asked.even_if:
            ours = ", ".join(use for use in made if use in self.required)
            self.problems.append(
                f"{ours} of {self.backup.id} beside {', '.join(others)} as it is: rows would name files that aren't "
                f"there, or the other way round. Restore them together; or even_if={MISMATCH}"
            )
        self.notes += [
            f"volume {it.name} is put aside as {self._name_aside(it)}: detached, kept, and removed by nobody but you"
            for it in aside
        ]
        self.notes += [
            f"volume {volume.name} stays as it is, a clone of what {volume.source.removeprefix('use:')} was: to have "
            f"it made of the set, name it in volumes=, too"
            for use, volume in self.volumes.items()
            if volume.source.removeprefix("use:") in made and use not in made
        ]
        if old:
            self.notes.append(f"made anew as soon as the clones are there: {', '.join(it.name for it in old)}")
        production = [it.name for it in self.before.wanted.servers if self.name in it.networks]
        public = [it.name for it in old if it.name in production]  # what visitors would miss
        if public:
            self._tell_of_live(", ".join(public))

    def _tell_of_live(self, names):
        signs, unknown = live.signs(self.facts, self.name, self.before.wanted.public_name)
        self.notes += unknown
        if signs:
            self.notes.append(
                f"{self.name} is live ({signs[0]}): the site is down from then until they are deployed, but for what "
                f"the proxy has in its cache"
            )
        if signs and LIVE not in self.asked.even_if:
            self.problems.append(
                f"{self.name} is live, and {names} would be made anew. If that's meant: even_if={LIVE}"
            )


def _usable(id_, facts):
    """The set with that id. Refused where there's none, and where it can't be restored, with all reasons."""
    backup = next((it for it in manifest.sets(facts) if it.id == id_), None)
    if backup is None:
        raise Refused([f"{id_}: no backup set of this project; salt-run backup.list tells which there are"])
    if not backup.is_usable:
        raise Refused([f"{id_}: can't be restored: {why}" for why in backup.why_not])
    return backup


def _volume_steps(plan):
    return {(step.verb, step.name) for step in plan.steps if step.kind == "volume"}
