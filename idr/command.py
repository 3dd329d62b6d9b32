"""A command of ours as it's typed in a shell: what a plan says would do it, and what a refusal says to type."""

import shlex


def typed(*words, **named):
    """
    What is typed after ``salt-run``.

    words:  the function, and what it's given by place
    named:  what it's given by name, None what isn't typed
    """
    return shlex.join([*map(str, words), *(f"{key}={value}" for key, value in named.items() if value is not None)])


def deed(*words, **named):
    """The whole command, with what has it done; as for `typed`."""
    return f"salt-run {typed(*words, **named)} apply=True"
