"""A plan while it is being written: what is there of the environment, and what is put down so far."""

import collections

from idr.cloud import mark
from idr.cloud.model import Plan, Ref, Step


class Draft:
    """Steps, problems and notes are added in the order of writing; `plan` brings the steps into one that works."""

    def __init__(self, wanted, facts, run):
        self.wanted, self.facts, self.run = wanted, facts, run
        self.environment = wanted.name
        self.problems, self.notes = [], []
        self.needed = collections.Counter()  # of quotas
        self._steps, self._kept, self._found = {}, [], {}

    def description(self):
        """Whose a resource of Neutron is that this run makes."""
        return mark.description(self.environment, self.run)

    def metadata(self, **further):
        """Whose a server, volume or snapshot is that this run makes."""
        return mark.metadata(self.environment, self.run, **further)

    def own(self, kind, name, used=None):
        """
        The environment's own thing of that kind and name, None if it has to be made. A name that is taken is a problem.

        used:  tells of one whether it is in use: of two of one name (an answer was lost) the one that isn't is removed;
               without it, it's for the operator to say which
        """
        if (kind, name) not in self._found:
            self._found[kind, name] = self._look(kind, name, used)
        return self._found[kind, name]

    def _look(self, kind, name, used):
        named = [thing for thing in self.facts.all(kind) if thing.name == name]
        ours = [thing for thing in named if thing.environment == self.environment]
        retained = [thing for thing in ours if "idr_retained" in thing.what.get("metadata", {})]
        for thing in retained:
            self.problems.append(
                f"{kind} {name} ({thing.id}) was retained for its snapshots when its environment was removed, and not "
                f"renamed: openstack volume set --name {mark.retained_name(thing, self.run)} {thing.id}"
            )
        ours = [thing for thing in ours if thing not in retained]
        if not ours:
            for thing in [thing for thing in named if thing not in retained]:
                whose = f"that of the environment {thing.environment}" if thing.environment else "not an environment's"
                self.problems.append(
                    f"{kind} {name} ({thing.id}) is {whose}, by its mark: rename it, or take another environment name"
                )
            return None
        ours.sort(key=lambda thing: (not (used and used(thing)), thing.what.get("created_at") or "", thing.id))
        for younger in ours[1:]:
            if used and not used(younger):
                self.step("remove", kind, f"{name} ({younger.id})", id=younger.id)
            else:
                self.problems.append(
                    f"{kind} {name} is there twice ({ours[0].id}, {younger.id}), and both may be in use: "
                    f"look at them, and remove one"
                )
        self.keep(ours[0])
        return ours[0]

    def keep(self, thing):
        """Tell of something that is there and stays."""
        if thing not in self._kept:
            self._kept.append(thing)

    def step(self, verb, kind, name, what=None, needs=(), id=None):
        """Put a step down; needs that nothing has to be done for are left out when the plan is made. Its key."""
        step = Step(verb, kind, name, what or {}, tuple(needs), id)
        if step.key in self._steps:
            step = Step(verb, kind, f"{name} ({id})", what or {}, tuple(needs), id)
        self._steps[step.key] = step
        return step.key

    def make(self, kind, name, what, needs=(), **quotas):
        """A step that makes something, and what it takes of the quotas."""
        self.needed.update(quotas)
        return self.step("make", kind, name, what, needs)

    def id(self, kind, name, used=None):
        """The id of the environment's own thing, or a Ref to what a step makes."""
        thing = self.own(kind, name, used)
        return thing.id if thing else Ref(kind, name)

    def plan(self):
        """The Plan, its steps in an order that works one after another."""
        steps = in_order(self._with_needs(step) for step in self._steps.values())
        needed = {name: count for name, count in sorted(self.needed.items()) if count}
        quotas = {name: self.facts.quotas.get(name, (-1, 0)) for name in needed}
        return Plan(
            self.environment,
            steps,
            tuple(self._kept),
            tuple(dict.fromkeys(self.problems)),
            tuple(dict.fromkeys(self.notes)),
            needed,
            {name: max(limit - used, 0) for name, (limit, used) in quotas.items() if limit >= 0},
        )

    def _with_needs(self, step):
        """The step with everything that it needs and that is to be done: what it names, and what its Refs are of."""
        named = (*step.needs, *((ref.kind, ref.name) for ref in _refs((step.what, step.id))))
        needs = tuple(dict.fromkeys(key for key in named if key in self._steps and key != step.key))
        return Step(step.verb, step.kind, step.name, step.what, needs, step.id)


def in_order(steps):
    """Steps in an order that works one after another, and otherwise as they were."""
    left, found, done = list(steps), [], set()
    while left:
        ready = next((step for step in left if set(step.needs) <= done), None)
        if ready is None:
            raise RuntimeError(f"steps that wait for each other: {', '.join(map(str, left))}")
        left.remove(ready)
        done.add(ready.key)
        found.append(ready)
    return tuple(found)


def _refs(value):
    if isinstance(value, Ref):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _refs(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _refs(each)
