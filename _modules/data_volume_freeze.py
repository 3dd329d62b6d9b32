"""
Data volumes held still for a snapshot: frozen for seconds, and thawed by systemd whatever becomes of who asked for it.

A freeze is a transient service of the server's own systemd. It freezes the filesystem before it starts, runs for so
long and no longer, and thaws when it ends: when it's stopped, when its time is over, when it's killed. Neither Salt nor
the caller's connection is needed for that. What systemd remembers of the service is all that is known of a freeze:
Linux has no way to ask a filesystem whether it is frozen, other than to try.
"""

import datetime
import os
import time

from salt.exceptions import CommandExecutionError

__virtualname__ = "data_volume"

LONGEST = 60  # seconds; a database's clients give up about then
FLUSH = 120  # seconds that a freeze may take to write out what is in memory
# What has to go on while a volume is frozen, so that somebody is left to thaw it
NEEDED = ("/", "/etc", "/usr", "/run", "/tmp", "/var/log", "/var/cache/salt")
FACTS = ("LoadState", "ActiveState", "Result", "ActiveEnterTimestampMonotonic", "ActiveExitTimestampMonotonic")
FACTS += ("RuntimeMaxUSec", "Description")


def __virtual__():
    return __virtualname__


def freeze(seconds=20, volume=None, test=None):
    """
    Hold one data volume of this server still, or all of them, so that a snapshot of it is one of a clean filesystem.

    seconds: until it is thawed by itself, 1 to 60
    volume:  its name, e.g. ``database-db``; all of this server's without it

    What writes to a frozen volume waits and isn't told: OMERO and PostgreSQL go on where they were. Returns
    ``{volume: {mount, unit, seconds, took}}``, with the seconds that the freeze itself took; with ``test=True``
    ``{would: [str]}``. Refused for a volume that isn't mounted, is frozen already, or has on it what thaws it.
    Of several volumes all are frozen, or none.

    CLI Example:

    .. code-block:: bash

        salt idr-database data_volume.freeze 20
    """
    if isinstance(seconds, bool) or not isinstance(seconds, int) or not 1 <= seconds <= LONGEST:
        raise CommandExecutionError(f"A freeze lasts 1 to {LONGEST} seconds, not {seconds!r}")
    chosen = _chosen(volume)
    refusals = [reason for reason in map(_refusal, chosen) if reason]
    if refusals:
        raise CommandExecutionError("\n".join(refusals))
    if __opts__.get("test", False) if test is None else test:
        return {"would": [f"freeze {one['mount']} ({one['name']}) for {seconds} s" for one in chosen]}
    done = {}
    for one in chosen:
        try:
            done[one["name"]] = _freeze(one, seconds)
        except CommandExecutionError:
            for name in done:
                _systemctl("stop", _unit(name))
            raise
    return done


def thaw(volume=None, test=None):
    """
    Let what writes to a frozen volume go on, and say whether it was held still until now.

    volume:  its name; all of this server's that were frozen without it

    Returns ``{volume: {seconds, quiesced, ended}}``. ``quiesced`` is False where the freeze had ended before, by its
    time (``ended: timeout``) or because somebody stopped it: a snapshot taken meanwhile isn't one of a clean
    filesystem. With ``test=True`` ``{would: [str]}``. Refused for a volume that wasn't frozen.

    CLI Example:

    .. code-block:: bash

        salt idr-database data_volume.thaw
    """
    known = {one["name"]: _freeze_of(one["name"]) for one in _chosen(volume)}
    known = {name: facts for name, facts in known.items() if facts}
    if not known:
        raise CommandExecutionError(f"{__opts__['id']}: {volume or 'no volume'} is frozen or was since a thaw")
    if __opts__.get("test", False) if test is None else test:
        return {"would": [f"thaw {name}" for name, facts in known.items() if facts["still"]]}
    return {name: _thaw(name, facts) for name, facts in known.items()}


def frozen(volume):
    """
    Since when a volume is frozen and until when at most; None if it isn't, by its name.

    CLI Example:

    .. code-block:: bash

        salt idr-database data_volume.frozen database-db
    """
    facts = _freeze_of(volume)
    if not facts or not facts["still"]:
        return None
    since = time.time() - (time.monotonic() - facts["began"])
    stamps = {"since": since, "until": since + facts["limit"]}
    return {
        word: datetime.datetime.fromtimestamp(stamp, datetime.UTC).isoformat(timespec="milliseconds")
        for word, stamp in stamps.items()
    }


def _chosen(volume):
    # a masked value is only good for showing
    here = __salt__["pillar.get"]("server:volumes", default=[], unmask=True)
    chosen = [one for one in here if volume in (None, one["name"])]
    if not chosen:
        names = ", ".join(one["name"] for one in here) or "none"
        raise CommandExecutionError(f"{__opts__['id']} has no volume {volume or 'at all'}: {names}")
    return chosen


def _refusal(volume):
    """Why a volume can't be frozen, with what to do about it; None if it can."""
    said = f"{__opts__['id']}: {volume['name']} can't be frozen: "
    occupant = __salt__["data_volume.facts"](volume)["occupant"]
    if not occupant or not occupant["is_volume"]:
        return f"{said}it isn't mounted on {volume['mount']}. See data_volume.status"
    here = os.stat(volume["mount"]).st_dev
    for path in NEEDED:
        if os.path.exists(path) and os.stat(path).st_dev == here:
            return f"{said}{path} is on it, without which nothing could thaw it"
    if frozen(volume["name"]):
        return f"{said}it is frozen already until {frozen(volume['name'])['until']}. End that with data_volume.thaw"
    return None


def _freeze(volume, seconds):
    unit, mount = _unit(volume["name"]), volume["mount"]
    refused = f"/run/{unit}.refused"  # who is refused has frozen nothing, and ends nobody else's freeze
    _systemctl("reset-failed", unit)  # what an earlier freeze left, whose time was over
    began = time.monotonic()
    asked = _run(
        "systemd-run", "--quiet", f"--unit={unit}", f"--description=Frozen: {mount}", "--service-type=exec",
        f"--property=TimeoutStartSec={FLUSH}", f"--property=RuntimeMaxSec={seconds}",
        f'--property=ExecStartPre=/bin/sh -c "rm -f {refused}; fsfreeze -f {mount} || {{ touch {refused}; exit 1; }}"',
        f'--property=ExecStopPost=/bin/sh -c "[ -e {refused} ] || exec fsfreeze -u {mount}"',
        "/bin/sleep", "infinity",
    )  # fmt: skip
    if asked["retcode"]:
        _systemctl("stop", unit)
        _systemctl("reset-failed", unit)
        raise CommandExecutionError(
            f"{__opts__['id']}: {mount} couldn't be frozen, and isn't by this. Why: journalctl -n 20 -u {unit}"
        )
    return {"mount": mount, "unit": unit, "seconds": seconds, "took": round(time.monotonic() - began, 3)}


def _thaw(name, facts):
    unit = _unit(name)
    began = time.monotonic()
    if facts["still"]:
        _systemctl("stop", unit)
        # its time may have been over while we asked
        facts = _freeze_of(name) or {**facts, "ended": time.monotonic(), "how": "thawed"}
    _systemctl("reset-failed", unit)
    return {
        "seconds": round(facts["ended"] - facts["began"], 3),
        "quiesced": facts["how"] == "thawed",
        "ended": facts["how"],
        "took": round(time.monotonic() - began, 3),
    }


def _freeze_of(name):
    """What systemd remembers of a volume's freeze; None where there was none since the last thaw."""
    shown = _systemctl("show", _unit(name), "--property=" + ",".join(FACTS))
    facts = dict(line.split("=", 1) for line in shown["stdout"].splitlines() if "=" in line)
    began = int(facts.get("ActiveEnterTimestampMonotonic") or 0) / 1e6
    if facts.get("LoadState") != "loaded" or not began:
        return None
    return {
        "began": began,
        "ended": int(facts["ActiveExitTimestampMonotonic"] or 0) / 1e6,
        "still": facts["ActiveState"] == "active",
        "limit": _seconds(facts["RuntimeMaxUSec"]),
        "how": facts["Result"],
    }


def _seconds(span):
    """Of systemd's `45s` or `1min`."""
    minutes, _, rest = span.rpartition("min")
    return 60 * int(minutes or 0) + int(rest.strip().removesuffix("s") or 0)


def _unit(name):
    return f"idr-freeze-{name}.service"


def _systemctl(*arguments):
    return _run("systemctl", *arguments)


def _run(*command):
    return __salt__["cmd.run_all"](list(command), python_shell=False, ignore_retcode=True)
