"""What an environment was made of by a release, as its base group's tag in the cloud says it."""

from dataclasses import dataclass

RELEASE = "idr-release~"


@dataclass(frozen=True)
class Origin:
    """OLD is the environment that NEW is to be in the place of, SET the id of the backup set of OLD's that it's of."""

    old: str | None
    set: str | None


def release_of(facts, new):
    """The ``Origin`` of an environment; None where no release made it."""
    tags = [tag for it in facts.of(new, "group") if it.name == new for tag in it.what["tags"]]
    tag = next((tag for tag in tags if tag.startswith(RELEASE)), None)
    if tag is None:
        return None
    said = dict(word.split("=", 1) for word in tag.removeprefix(RELEASE).split("~") if "=" in word)
    return Origin(said.get("from"), said.get("set"))
