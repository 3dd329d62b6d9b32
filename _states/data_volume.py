"""
A server's data volumes: a filesystem on each, made only where there's nothing, and mounted by systemd.

Both states refuse, with one line that says what to do, whatever isn't exactly as expected (`data_volume.refusal`).
"""

from salt.exceptions import CommandExecutionError


def formatted(name, volume):
    """
    A volume's device is there, alone, and carries an xfs filesystem; one is made if the device is blank.

    name:    the volume's name
    volume:  its entry of pillar ``server:volumes``

    Refuses a missing or ambiguous device, any signature other than xfs, bytes other than zero on a device without
    signature, a device in use elsewhere, and a mount point that something else occupies.
    """
    ret = {"name": name, "changes": {}, "result": False, "comment": ""}
    known, ret["comment"] = _usable(volume)
    if ret["comment"]:
        return ret
    device = known["devices"][0]
    if known["signatures"]:
        ret["result"] = True
        ret["comment"] = f"{device} carries xfs"
        return ret
    ret["changes"] = {device: {"old": "blank", "new": "xfs"}}
    if __opts__["test"]:
        ret["result"] = None
        ret["comment"] = f"{device} is blank and would be formatted"
        return ret
    try:
        __salt__["data_volume.make_filesystem"](device)
    except CommandExecutionError as exc:
        ret.update(changes={}, comment=f"{name}: {exc}")
        return ret
    ret["result"] = True
    ret["comment"] = f"{device} was blank and has been formatted"
    return ret


def mounted(name, volume):
    """
    A volume is mounted at its place without access times, now and after a reboot, by its systemd unit.

    name:    the volume's name
    volume:  its entry of pillar ``server:volumes``

    The unit's file must be there already. What is mounted afterwards is compared with the volume's own device.
    """
    ret = {"name": name, "changes": {}, "result": False, "comment": ""}
    mount = volume["mount"]
    unit = __salt__["data_volume.unit"](mount)
    known, ret["comment"] = _usable(volume)
    if ret["comment"]:
        return ret
    wanted = {
        "enabled": ["systemctl", "enable", unit],
        "mounted": ["systemctl", "start", unit],
        "noatime": ["mount", "-o", "remount,noatime", mount],
    }
    here = known["occupant"]
    if here:
        del wanted["mounted"]
    if not here or "noatime" in here["options"].split(","):
        del wanted["noatime"]
    shown = _systemctl("show", unit, "--property=UnitFileState,NeedDaemonReload,LoadState")
    unit_facts = dict(line.split("=", 1) for line in shown["stdout"].splitlines() if "=" in line)
    if unit_facts.get("UnitFileState") == "enabled":
        del wanted["enabled"]
    if not wanted:
        ret["result"] = True
        ret["comment"] = f"{known['devices'][0]} is mounted on {mount}"
        return ret
    ret["changes"] = {unit: {"old": "", "new": ", ".join(wanted)}}
    if __opts__["test"]:
        ret["result"] = None
        ret["comment"] = f"{known['devices'][0]} would be {', '.join(wanted)} on {mount}"
        return ret
    if unit_facts.get("NeedDaemonReload") == "yes" or unit_facts.get("LoadState") == "not-found":
        _systemctl("daemon-reload")
    for command in wanted.values():
        done = __salt__["cmd.run_all"](command, python_shell=False, ignore_retcode=True)
        if done["retcode"]:
            ret.update(changes={}, comment=f"{name}: {' '.join(command)}: {done['stderr'] or done['stdout']}")
            return ret
    there = __salt__["data_volume.facts"](volume)["occupant"]
    if not (there and there["is_volume"] and there["type"] == "xfs"):
        ret.update(changes={}, comment=f"{name}: {unit} started, but {mount} is {there or 'still not mounted'}")
        return ret
    ret["result"] = True
    ret["comment"] = f"{known['devices'][0]} is {', '.join(wanted)} on {mount}"
    return ret


def _usable(volume):
    """A volume's facts, and why it can't be used, which is also said of a device that can't be read."""
    try:
        known = __salt__["data_volume.facts"](volume)
    except (CommandExecutionError, OSError) as exc:
        return None, f"{__opts__['id']}: volume {volume['name']} for {volume['mount']}: {exc}"
    return known, __salt__["data_volume.refusal"](volume, known)


def _systemctl(*arguments):
    return __salt__["cmd.run_all"](["systemctl", *arguments], python_shell=False, ignore_retcode=True)
