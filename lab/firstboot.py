"""What a cloud puts into a server before its first boot: name, resolvers, SSH host keys and the operator's key."""

from lab import egress
from lab.shell import run


def seed(upper, hostname, authorized_key):
    """
    Fill the directory UPPER, the upper layer of a host that has never booted.

    authorized_key:  the line of root's authorized_keys, or None
    """
    etc = upper / "etc"
    (etc / "ssh").mkdir(parents=True, exist_ok=True)
    (etc / "hostname").write_text(f"{hostname}\n")
    (etc / "hosts").write_text(f"127.0.0.1 localhost\n127.0.1.1 {hostname}\n")
    # A lost answer costs a second, not five: six hosts that install packages ask a lot at once.
    (etc / "resolv.conf").write_text(egress.resolv_conf().read_text().rstrip() + "\noptions timeout:1 attempts:5\n")
    run("ssh-keygen", "-q", "-A", "-f", upper)
    for key in (etc / "ssh").glob("*.pub"):
        key.write_text(" ".join(key.read_text().split()[:2]) + f" root@{hostname}\n")
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
