"""
What the Docker engine has: images that are exactly the pinned ones, and networks. Salt's core has nothing for it.

An image's id is the hash of its own description, which has the hashes of its layers, and Docker checks them: whoever
has the id has the image.
"""

import hashlib
import json
import os
import subprocess
import tarfile
import tempfile

from salt.exceptions import CommandExecutionError, MinionError

LONGEST = 3600  # seconds; gigabytes over a slow line
LIMITS = {"MemoryLimit": "memory", "CpuCfsQuota": "processors", "PidsLimit": "processes"}  # as `docker info` has them
OPTIONS = {
    "bridge": "com.docker.network.bridge.name",
    "mtu": "com.docker.network.driver.mtu",
    "icc": "com.docker.network.bridge.enable_icc",
}


def __virtual__():
    return "docker_engine"


def image_present(name, image):
    """
    An image is here, and it is the pinned one.

    image: ``{name, digest}``, pulled from its registry; or ``{name, id, source, source_hash}``, an archive made by
           ``docker save``, of which nothing is left once it is loaded

    What can't be had, or is another image than the pinned one, fails with one line and changes nothing.

    .. code-block:: yaml

        JupyterHub's image is here:
          docker_engine.image_present:
            - image: {name: registry.example.org/hub, digest: 'sha256:...'}
    """
    reference = image.get("id") or f"{image['name']}@{image['digest']}"
    try:
        if _inspect("image", reference):
            return _state(name, True, f"{image['name']} is here: {reference}", {})
    except CommandExecutionError as failure:
        return _state(name, None if __opts__["test"] else False, str(failure), {})
    changes = {image["name"]: {"old": None, "new": reference}}
    if __opts__["test"]:
        whence = image.get("source", "its registry")
        return _state(name, None, f"{image['name']} would be got from {whence}: {reference}", changes)
    try:
        if "id" in image:
            _load(image)
        else:
            _docker("pull", "--quiet", reference)
        if not _inspect("image", reference):
            raise CommandExecutionError(f"Docker has no {reference} although it was got without an error")
    except (CommandExecutionError, MinionError, OSError) as failure:
        return _state(name, False, f"{image['name']} can't be had: {failure}", {})
    return _state(name, True, f"{image['name']} was got: {reference}", changes)


def network_present(name, network, bridge, subnet, gateway, mtu):
    """
    A bridge network is here, with these settings, on which no container reaches another.

    network: its name
    bridge:  name of its interface on this server
    mtu:     of its containers' interfaces, in bytes

    One with other settings is made anew; refused while containers are on it.

    .. code-block:: yaml

        users' containers have a network:
          docker_engine.network_present:
            - network: jupyter
            - bridge: jupyter0
            - subnet: 172.30.0.0/16
            - gateway: 172.30.0.1
            - mtu: 1450
    """
    wanted = {"bridge": bridge, "subnet": subnet, "gateway": gateway, "mtu": str(mtu), "icc": "false"}
    try:
        found = _inspect("network", network)
    except CommandExecutionError as failure:
        return _state(name, None if __opts__["test"] else False, str(failure), {})
    there = _settings(found) if found else {}
    if there == wanted:
        return _state(name, True, f"Network {network} is as it should be", {})
    changes = {network: {"old": there or None, "new": wanted}}
    if found and found["Containers"]:
        count = len(found["Containers"])
        told = (
            f"Network {network} has other settings ({_difference(there, wanted)}) and {count} containers on it, "
            f"so it can't be made anew: jupyterhub.drain minutes=0 ends them"
        )
        return _state(name, False, told, {})
    if __opts__["test"]:
        return _state(name, None, f"Network {network} would be made{' anew' if found else ''}", changes)
    options = [f"--opt={OPTIONS[key]}={wanted[key]}" for key in OPTIONS]
    try:
        if found:
            _docker("network", "rm", network)
        _docker(
            "network", "create", "--driver=bridge", f"--subnet={subnet}", f"--gateway={gateway}", *options, network
        )
    except CommandExecutionError as failure:
        return _state(name, False, str(failure), {})
    return _state(name, True, f"Network {network} was made{' anew' if found else ''}", changes)


def limits_hold(name):
    """
    This server's kernel limits what containers take; where it can't, Docker starts them without a limit and only warns.

    .. code-block:: yaml

        users' containers can be limited:
          docker_engine.limits_hold: []
    """
    try:
        told = json.loads(_docker("info", "--format", "{{json .}}"))
    except CommandExecutionError as failure:
        return _state(name, None if __opts__["test"] else False, str(failure), {})
    missing = [what for key, what in LIMITS.items() if not told.get(key)]
    if missing:
        return _state(name, False, f"This server's kernel can't limit {', '.join(missing)} (see `docker info`)", {})
    return _state(name, True, "Memory, processors and processes of containers can be limited", {})


def _settings(found):
    [addresses] = found["IPAM"]["Config"] or [{}]
    options = {key: found["Options"].get(option) for key, option in OPTIONS.items()}
    return {**options, "subnet": addresses.get("Subnet"), "gateway": addresses.get("Gateway")}


def _difference(there, wanted):
    return ", ".join(f"{key} {there[key]} instead of {wanted[key]}" for key in wanted if there[key] != wanted[key])


def _load(image):
    """Fetch an archive, look into it before Docker does, and let Docker load it."""
    with tempfile.TemporaryDirectory(prefix="docker-image-", dir=__opts__["cachedir"]) as directory:
        # of a file:// it is the file itself
        archive = __salt__["cp.get_url"](image["source"], os.path.join(directory, "image.tar"))
        if not archive:
            raise CommandExecutionError(f"{image['source']} can't be fetched")
        _check(archive, image)
        _docker("load", "--quiet", "--input", archive)


def _check(archive, image):
    kind, _, wanted = image["source_hash"].partition("=")
    with open(archive, "rb") as file:
        found = hashlib.file_digest(file, kind).hexdigest()
    if found != wanted:
        raise CommandExecutionError(f"{image['source']} has {kind} {found} instead of {wanted} (source_hash)")
    try:
        with tarfile.open(archive) as tar:
            entries = json.load(tar.extractfile("manifest.json"))
            described = [tar.extractfile(entry["Config"]).read() for entry in entries]
    except (tarfile.TarError, KeyError, ValueError) as failure:
        raise CommandExecutionError(f"{image['source']} is no archive of `docker save`: {failure}") from None
    ids = ["sha256:" + hashlib.sha256(text).hexdigest() for text in described]
    if image["id"] not in ids:
        raise CommandExecutionError(f"{image['source']} holds {', '.join(ids)} instead of {image['id']}")


def _inspect(kind, reference):
    """What Docker says of an image or a network, or None; raises when Docker doesn't answer."""
    try:
        [found] = json.loads(_docker(kind, "inspect", reference))
    except CommandExecutionError as failure:
        if "No such" in str(failure):
            return None
        raise
    return found


def _docker(*arguments):
    try:
        done = subprocess.run(
            ["docker", *arguments],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LONGEST, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        raise CommandExecutionError("Docker isn't installed here yet") from None
    except subprocess.TimeoutExpired:
        raise CommandExecutionError(f"docker {arguments[0]} isn't done after {LONGEST} s") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise CommandExecutionError(f"docker {arguments[0]}: {lines[-1]}")
    return done.stdout


def _state(name, result, comment, changes):
    return {"name": name, "result": result, "comment": comment, "changes": changes}
