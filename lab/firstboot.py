"""What a cloud puts into a server before its first boot: name, resolvers, SSH host keys and the operators' keys."""

import base64
import binascii

from lab import egress
from lab.shell import LabError, run

# As cloud-init writes them; who reads a console log for them knows these two lines.
KEYS_BEGIN, KEYS_END = "-----BEGIN SSH HOST KEY KEYS-----", "-----END SSH HOST KEY KEYS-----"
# All hosts share one kernel, which doesn't mount two xfs filesystems of the same UUID; on servers elsewhere a volume
# and its clone never meet. `mount` calls this for each xfs filesystem.
MOUNT_XFS = """#!/bin/sh
exec mount -i -t xfs "$@" -o nouuid
"""


def seed(upper, hostname, authorized_key, resolvers=(), clones=False):
    """
    Fill the directory UPPER, the upper layer of a host that has never booted.

    authorized_key:  the lines of root's authorized_keys, or None
    resolvers:       addresses of name servers, instead of this machine's
    clones:          its volumes may be clones of each other's and of other hosts'
    """
    etc = upper / "etc"
    (etc / "ssh").mkdir(parents=True, exist_ok=True)
    (etc / "hostname").write_text(f"{hostname}\n")
    (etc / "hosts").write_text(f"127.0.0.1 localhost\n127.0.1.1 {hostname}\n")
    # A lost answer costs a second, not five: six hosts that install packages ask a lot at once.
    named = "".join(f"nameserver {address}\n" for address in resolvers) or egress.resolv_conf().read_text()
    (etc / "resolv.conf").write_text(named.rstrip() + "\noptions timeout:1 attempts:5\n")
    if clones:
        helper = upper / "usr/sbin/mount.xfs"
        helper.parent.mkdir(parents=True)
        helper.write_text(MOUNT_XFS)
        helper.chmod(0o755)
    for kind in ("ecdsa", "ed25519"):   # the third that others have, RSA's, costs each server a second
        run("ssh-keygen", "-q", "-t", kind, "-N", "", "-C", f"root@{hostname}", "-f", etc / f"ssh/ssh_host_{kind}_key")
    if authorized_key:
        ssh = upper / "root/.ssh"
        ssh.mkdir(parents=True)
        (upper / "root").chmod(0o700)
        ssh.chmod(0o700)
        (ssh / "authorized_keys").write_text(authorized_key)
        (ssh / "authorized_keys").chmod(0o600)


def host_keys(upper):
    """The public SSH keys of the host with that upper layer as (type, key), as its console would show them."""
    return sorted(tuple(path.read_text().split()[:2]) for path in (upper / "etc/ssh").glob("ssh_host_*_key.pub"))


def show_host_keys(upper, console):
    """Append the public SSH keys of the host with that upper layer to its console, as cloud-init prints them."""
    lines = [path.read_text().strip() for path in sorted((upper / "etc/ssh").glob("ssh_host_*_key.pub"))]
    with open(console, "a") as output:
        output.write("\n".join([KEYS_BEGIN, *lines, KEYS_END, ""]))


def further_keys(user_data):
    """
    The public keys that a server's user data names beside its key pair: a cloud-config of `ssh_authorized_keys`.

    user_data:  base64, or None

    Refuses everything else that cloud-init would do with it, and the lab doesn't.
    """
    if not user_data:
        return []
    import yaml  # only here: hosts without a cloud need none

    try:
        text = base64.b64decode(user_data).decode()
        wanted = yaml.safe_load(text)
    except (binascii.Error, UnicodeDecodeError, yaml.YAMLError):
        text, wanted = "", None
    known = {"ssh_authorized_keys", "disable_root"}   # root is never disabled here
    if not text.startswith("#cloud-config\n") or not isinstance(wanted, dict) or not set(wanted) <= known:
        raise LabError("of user data the lab's servers take a cloud-config of ssh_authorized_keys, and nothing else")
    return wanted.get("ssh_authorized_keys") or []
