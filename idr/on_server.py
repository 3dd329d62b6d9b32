"""
What is looked at and done on a server over SSH, run there by the server's own python3 (3.9 or newer, only the standard
library).

This file isn't installed: it's sent over SSH with each call (idr/ssh.py), followed by one line of JSON and, for some
deeds, a tar stream. Facts change nothing. Every deed can be done again.
"""

import hashlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from pathlib import Path

SALT = Path("/opt/salt")  # a link to the installed version
PKI = Path("/etc/salt/pki")
# A minion's is Salt's own default: each of its processes proves four times or more that the key is one, which takes
# 0.04 s. With 3072 bits it takes 0.11 s, and was a third of an update's processor time.
KEY_BITS = {"minion": 2048, "master": 3072}
RELEASES = Path("/srv/idr/releases")
CURRENT = Path("/srv/idr/current")
NEXT = Path("/srv/idr/next")  # the candidate: the master's Salt environment `next`
KEPT = 5  # releases besides those two
PILLAR = Path("/etc/idr/pillar")
NEXT_PILLAR = Path("/etc/idr/next")  # what the candidate has otherwise than PILLAR, and only that
CLOUDS = Path("/etc/idr/clouds.yaml")
FILE_LISTS = Path("/var/cache/salt/master/file_lists/roots")
RAN_STATES = Path("/var/cache/salt/minion/highstate.cache.p")  # a minion writes it with each highstate
REPORTS = Path("/var/log/idr")
DEPLOY = "idr-deploy.service"
EVENTS = Path("/var/log/idr/events.jsonl")
PATIENCE = 10  # seconds that a question about progress waits for something to tell
STATES_OF_KEYS = {
    "accepted": "minions",
    "pending": "minions_pre",
    "rejected": "minions_rejected",
    "denied": "minions_denied",
}


# ---- facts


def facts(asked, _stream):
    """Everything that enrolment decides on, as it is now."""
    return {
        "os": _os(),
        "python": _works("/usr/bin/python3.11", "-c", "import venv"),
        "salt": _text(SALT / "made-from"),
        "files": {path: _file(Path(path)) for path in asked["files"]},
        "key": _text(PKI / "minion/minion.pub"),
        "knows_master": _text(PKI / "minion/minion_master.pub"),
        "units": {unit: _unit(unit, watched) for unit, watched in asked["units"].items()},
        "master_key": _text(PKI / "master/master.pub"),
        "keys": {state: _keys(PKI / "master" / folder) for state, folder in STATES_OF_KEYS.items()},
        "release": _release(),
        "secrets": {name: sorted(_secrets(name)) for name in asked["secrets"]},
        "credential": _credential(),
        "ran_states": RAN_STATES.exists(),
        "deploy": _going_on(DEPLOY),
    }


def shown(asked, _stream):
    """What a person wants to know of this server at a glance."""
    units = subprocess.run(
        ["systemctl", "show", "--property=Id,LoadState,ActiveState", *asked["units"]], capture_output=True, text=True
    ).stdout
    found = [dict(line.split("=", 1) for line in unit.splitlines()) for unit in units.split("\n\n") if unit.strip()]
    return {
        "os": _os(),
        "services": {unit["Id"]: unit["ActiveState"] for unit in found if unit["LoadState"] == "loaded"},
        "versions": {name: _first_line(script) for name, script in asked["versions"].items()},
        "release": _release(),
        "deploy": _going_on(DEPLOY),
    }


def _first_line(script):
    """What a script says, or None if it fails."""
    done = subprocess.run(["sh", "-c", script], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    lines = done.stdout.split("\n")
    return lines[0].strip() or None if done.returncode == 0 else None


def _release():
    return os.path.basename(os.readlink(CURRENT)) if CURRENT.is_symlink() else None


def _os():
    lines = Path("/etc/os-release").read_text().splitlines()
    about = {key: value.strip('"') for key, _, value in (line.partition("=") for line in lines)}
    return f"{about.get('ID')} {about.get('VERSION_ID', '').split('.')[0]}"


def _works(*command):
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False


def _text(path):
    try:
        return path.read_text()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _file(path):
    """What tells one file from another: its content's hash and its mode; of a link, where it leads."""
    if path.is_symlink():
        return os.readlink(path)
    if path.is_dir():
        return f"directory {path.stat().st_mode & 0o7777:04o}"
    if not path.exists():
        return None
    return f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.stat().st_mode & 0o7777:04o}"


def _unit(unit, watched):
    asked = ["systemctl", "show", "--property=UnitFileState,ActiveState,MainPID", unit]
    said = subprocess.run(asked, capture_output=True, text=True).stdout
    shown = dict(line.split("=", 1) for line in said.splitlines())
    active = shown.get("ActiveState") == "active"
    return {
        "enabled": shown.get("UnitFileState") == "enabled",
        "active": active,
        "current": active and all(_changed(Path(path)) < _began(shown["MainPID"]) for path in watched),
    }


def _changed(path):
    try:
        return path.lstat().st_mtime
    except FileNotFoundError:
        return 0


def _began(pid):
    """When a process began, in seconds since the epoch."""
    ticks = int(Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[19])
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / os.sysconf("SC_CLK_TCK")


def _keys(folder):
    there = folder.iterdir() if folder.is_dir() else ()
    return {path.name: path.read_text() for path in there if path.is_file() and not path.name.startswith(".")}


def _secrets(name):
    text = _text(PILLAR / "secrets" / f"{name}.sls")
    return json.loads(text)["secrets"][name.split("/")[1]] if text else {}


def _credential():
    """The id of the credential by which this master asks its cloud, or None; never its secret."""
    try:
        [cloud] = json.loads(CLOUDS.read_text())["clouds"].values()
        return cloud["auth"]["application_credential_id"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # whatever it is, it isn't what enrolment wrote


# ---- deeds


def put(asked, _stream):
    """Write files whole or not at all, make links and directories, and take away what isn't to be there."""
    for path, mode in asked.get("directories", {}).items():
        os.makedirs(path, mode=mode, exist_ok=True)
        os.chmod(path, mode)
    for path, (text, mode) in asked.get("files", {}).items():
        _write(Path(path), text, mode)
    for path, target in asked.get("links", {}).items():
        _link(Path(path), target)
    for path in asked.get("absent", ()):
        if os.path.lexists(path):
            os.unlink(path)


def install_salt(asked, stream):
    """Make a virtual environment of the wheels in the stream beside the present one, try it, and flip the link."""
    place = Path(f"{SALT}-{asked['hash'][:12]}")
    wheels = Path(f"{place}.wheels")
    for left_over in (place, wheels):
        shutil.rmtree(left_over, ignore_errors=True)
    wheels.mkdir(parents=True)
    _untar(stream, wheels)
    _run("/usr/bin/python3.11", "-m", "venv", "--without-pip", str(place))
    uv = _uv(wheels)
    # the lock that came with the wheels has their own hashes: what a build machine made is what is installed here
    _run(
        str(uv), "pip", "install", "--quiet", "--offline", "--no-config", "--no-cache", "--no-index", "--no-deps",
        "--require-hashes", "--find-links", str(wheels), "--requirement", str(wheels / "wheels.lock"),
        "--python", str(place / "bin/python"),
    )  # fmt: skip
    uv.rename(place / "bin/uv")  # for what else is to be installed there
    shutil.rmtree(wheels)
    _run(str(place / "bin/salt-call"), "--local", "--version")
    (place / "made-from").write_text(asked["hash"])
    before = os.path.realpath(SALT)
    _link(SALT, str(place))
    for old in SALT.parent.glob(f"{SALT.name}-*"):
        if str(old) not in (str(place), before):
            shutil.rmtree(old)


def _uv(wheels):
    """The program in the wheel of uv: it installs in a second what takes pip sixteen."""
    [wheel] = wheels.glob("uv-*.whl")
    _run("/usr/bin/python3.11", "-m", "zipfile", "-e", str(wheel), str(wheels / "uv"))
    [program] = (wheels / "uv").glob("uv-*.data/scripts/uv")
    program.chmod(0o755)
    return program


def install_release(asked, stream):
    """Unpack one commit of the project beside the present one, flip the link, and forget the oldest releases."""
    _link(CURRENT, str(_unpacked(asked["commit"], stream)))
    _forget_file_list("base")
    in_use = {os.path.realpath(link) for link in (CURRENT, NEXT)}
    others = [place for place in RELEASES.iterdir() if str(place) not in in_use]
    for place in sorted(others, key=lambda place: place.stat().st_mtime)[:-KEPT]:
        shutil.rmtree(place)


def bring_candidate(asked, stream):
    """Make one commit, and what a site and the passwords will have otherwise, the master's environment `next`."""
    place = _unpacked(asked["commit"], stream)
    shutil.rmtree(NEXT_PILLAR, ignore_errors=True)
    NEXT_PILLAR.mkdir(mode=0o700, parents=True)
    for path, text in asked["site"].items():
        _write(NEXT_PILLAR / Path(path).relative_to(PILLAR), text, 0o600)
    _make_secrets(asked["secrets"], NEXT_PILLAR / "secrets")
    _link(NEXT, str(place))
    _forget_file_list("next")


def candidate(_asked, _stream):
    """The commit that is `next` now."""
    return os.path.basename(os.readlink(NEXT))


def _unpacked(commit, stream):
    """The directory of a release, which is there whole or not at all."""
    place = RELEASES / commit
    if not place.exists():
        unpacked = RELEASES / f"{commit}.unpacked"
        shutil.rmtree(unpacked, ignore_errors=True)
        unpacked.mkdir(parents=True)
        # times are those of now: the master's file server takes equal times for equal content
        _untar(stream, unpacked, "--touch")
        unpacked.rename(place)
    return place


def _forget_file_list(saltenv):
    """The master remembers for 20 s which files an environment has; it would miss those of another release."""
    for form in FILE_LISTS.glob(f"{saltenv}.*"):
        form.unlink(missing_ok=True)


def make_key(asked, _stream):
    """Make the key pair of this server's minion or master, if there is none."""
    kind = asked["kind"]
    folder = PKI / kind
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for private in (PKI, folder):
        private.chmod(0o700)
    if not (folder / f"{kind}.pub").exists():
        (folder / f"{kind}.pem").unlink(missing_ok=True)  # of a making that was cut off
        # `salt-key --gen-keys` of 3008.3 ends with a traceback
        make = "import sys, salt.crypt; salt.crypt.write_keys(sys.argv[1], sys.argv[2], int(sys.argv[3]))"
        _run(str(SALT / "bin/python"), "-c", make, str(folder), kind, str(KEY_BITS[kind]))


def set_keys(asked, _stream):
    """Make the master accept exactly these keys of these minions, whatever it had under their names."""
    for minion, key in asked["accept"].items():
        for folder in STATES_OF_KEYS.values():
            (PKI / "master" / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
            if folder != "minions":
                (PKI / "master" / folder / minion).unlink(missing_ok=True)
        _write(PKI / "master/minions" / minion, key, 0o600)


def make_secrets(asked, _stream):
    """Make what passwords there aren't yet. They are made here and never leave but as pillar; none is made anew."""
    _make_secrets(asked["secrets"], PILLAR / "secrets")


def _make_secrets(wanted_by_name, folder):
    for name, wanted in wanted_by_name.items():
        there = _secrets(name)
        made = {key: fixed or secrets.token_hex(20) for key, fixed in wanted.items() if key not in there}
        if made:
            for private in (folder, folder / name.split("/")[0]):
                private.mkdir(mode=0o700, parents=True, exist_ok=True)
            text = json.dumps({"secrets": {name.split("/")[1]: {**made, **there}}}, indent=2)
            _write(folder / f"{name}.sls", text + "\n", 0o600)


def start(asked, _stream):
    """Enable units and start them, or again if they run with what was there before."""
    _run("systemctl", "daemon-reload")
    for unit in asked["units"]:
        _run("systemctl", "enable", "--quiet", unit)
        _run("systemctl", "restart", unit)


def begin(asked, _stream):
    """
    Begin a runner of this master in a unit of its own, which nothing of who asked can end; returns what `progress` is
    to be asked. Of two at once the second fails, as the unit is there already.

    unit:    the unit's name
    folder:  of its reports, in /var/log/idr
    of:      what its report is named after
    words:   the runner and its arguments
    action:  whose milestones are its progress, as idr/door.py has it; None: highstates
    """
    reports = REPORTS / asked["folder"]
    reports.mkdir(mode=0o700, parents=True, exist_ok=True)
    report = reports / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{asked['of']}.json"
    began = {"unit": asked["unit"], "action": asked["action"], "report": str(report), "offset": _now()}
    who = [f"--setenv=SUDO_USER={os.environ['SUDO_USER']}"] if "SUDO_USER" in os.environ else []  # for the record
    _run(
        "systemd-run", "--quiet", "--collect", f"--unit={asked['unit']}", f"--description={report}",
        "--property=UMask=0077", f"--property=StandardOutput=file:{report}", *who, *_salt_run(asked["words"]),
    )  # fmt: skip
    for old in sorted(reports.iterdir())[:-20]:
        old.unlink()
    return began


def _salt_run(words):
    return [str(SALT / "bin/salt-run"), "--out=json", *words]


def answer(asked, _stream):
    """What a runner of this master prints that only looks and is soon done."""
    command = _salt_run(asked["words"])
    both = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.run(command, stdin=subprocess.DEVNULL, text=True, **both).stdout


def going_on(asked, _stream):
    """The report of the runner that goes on in that unit, or None."""
    return _going_on(asked["unit"])


def _going_on(unit):
    asked = ["systemctl", "show", "--property=ActiveState,Description", unit]
    said = subprocess.run(asked, capture_output=True, text=True).stdout
    shown = dict(line.split("=", 1) for line in said.splitlines())
    return shown["Description"] if shown.get("ActiveState") in ("active", "activating", "deactivating") else None


def progress(asked, _stream):
    """
    What a runner in its unit did since an offset in the record of events (None: from now on), as soon as there is
    something to tell, and the report once it has ended.
    """
    offset = _now() if asked["offset"] is None else asked["offset"]
    until = time.monotonic() + PATIENCE
    while True:
        at_work = _going_on(asked["unit"]) == asked["report"]  # asked first, so that no event comes after the last look
        events, offset = _events(offset, asked["action"])
        if events or not at_work or time.monotonic() > until:
            break
        time.sleep(0.5)
    return {"events": events, "offset": offset, "report": None if at_work else Path(asked["report"]).read_text()}


def _now():
    """Where the record of events ends."""
    return EVENTS.stat().st_size if EVENTS.exists() else 0


def _events(offset, action):
    """An action's milestones, or highstates that began or ended, from an offset on; and the offset of the next look."""
    size = _now()
    if size < offset:  # rotated
        offset = 0
    if size == offset:
        return [], offset
    with open(EVENTS, "rb") as record:
        record.seek(offset)
        whole = record.read().rpartition(b"\n")[0]
    events = [_milestone(json.loads(line), action) for line in whole.splitlines()]
    return [event for event in events if event], offset + len(whole) + bool(whole)


def _milestone(event, action):
    """What an event tells of the progress, None if it doesn't."""
    data = event["data"]
    if action and event["tag"] == f"idr/{action}":  # a module's, which has its minion's word in it
        return {"said": data["data"]["message"]}
    if action:
        return {"said": data["message"]} if event["tag"] == f"idr/{action}/progress" else None
    if data.get("fun") != "state.highstate":
        return None
    if event["tag"].endswith("/new"):
        return {"began": data["minions"]}
    if not isinstance(data.get("return"), dict):
        return None
    states = data["return"].values()
    return {
        "ended": data["id"],
        "states": len(states),
        "changed": sum(bool(state["changes"]) for state in states),
        "failed": sum(state["result"] is False for state in states),
    }


def _run(*command):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
        sys.exit(f"{' '.join(command[:4])}: exit {done.returncode}: {last}")


def _untar(stream, folder, *options):
    tar = subprocess.Popen(["tar", "-x", "--no-same-owner", *options, "-C", str(folder)], stdin=subprocess.PIPE)
    shutil.copyfileobj(stream, tar.stdin)
    tar.stdin.close()
    if tar.wait():
        sys.exit(f"tar: exit {tar.returncode}: {folder} is incomplete")


def _write(path, text, mode):
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        os.fchmod(file.fileno(), mode)
    beside.rename(path)


def _link(path, target):
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    if beside.is_symlink():
        beside.unlink()
    beside.symlink_to(target)
    beside.rename(path)


if __name__ == "__main__":
    DOINGS = (
        facts, shown, put, install_salt, install_release, bring_candidate, candidate, make_key, set_keys, make_secrets,
        start, begin, answer, going_on, progress,
    )  # fmt: skip
    doing = {function.__name__: function for function in DOINGS}[sys.argv[2]]
    print(json.dumps(doing(json.loads(sys.stdin.buffer.readline()), sys.stdin.buffer)))
