"""The operator's seat: a workstation outside, with an ordinary user, a checkout of this repository and an SSH key."""

import os
import subprocess

from lab import firstboot, hosts
from lab.base import Layer
from lab.settings import CHECKOUT, HOSTS, SEAT, STATE
from lab.shell import LabError, run

ROLE = SEAT
USER, UID = "operator", 1000
HOME = f"/home/{USER}"
DIRECTORY = HOSTS / SEAT
KEY = STATE / "operator" / "id_ed25519"
# What a workstation has and a server hasn't: git and make for the checkout, a compiler for what its venv builds, restic
# for copies of backups.
LAYER = Layer(
    "seat", packages=("git", "make", "gcc", "libc6-dev", "python3-dev", "python3-venv", "restic"),
    script=f"useradd --create-home --uid {UID} --gid operator --shell /bin/bash {USER}\n"
           f"install -d -o {USER} -g {USER} -m 700 {HOME}/.ssh {HOME}/.config {HOME}/.config/idr\n"
           f"echo 'PATH=$HOME/idr/.venv/bin:$PATH' >> {HOME}/.profile\n")


def public_key():
    """The operator's public key, a line of authorized_keys; the pair is made once and lives as long as the lab."""
    if not KEY.with_suffix(".pub").exists():
        KEY.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        KEY.unlink(missing_ok=True)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"{USER}@{SEAT}", "-f", KEY)
    return KEY.with_suffix(".pub").read_text()


def command(*words):
    """The command line that runs WORDS as the operator in the checkout, with its virtual environment first in PATH."""
    path = f"{HOME}/idr/.venv/bin:/usr/local/bin:/usr/bin:/bin"
    return ["runuser", "-u", USER, "--", "env", f"HOME={HOME}", f"USER={USER}", f"LOGNAME={USER}", f"PATH={path}",
            "sh", "-c", 'cd ~/idr && exec "$@"', "sh", *words]


def give_key():
    """Give the operator the SSH key."""
    _write(".ssh/id_ed25519", KEY.read_text())
    _write(".ssh/id_ed25519.pub", public_key())


def give_ssh_user():
    """Say whom servers know before anything was deployed: root, as other clouds' images know a user of their own."""
    # by its whole path: a relative one is looked for under $HOME, which tests change, and not where ssh found this file
    _write(".ssh/config", f"Include {HOME}/.ssh/*.conf\nHost *\n    User root\n")


def know(servers):
    """Have the operator know the host keys of SERVERS, directories of hosts, as if read off their consoles."""
    _write(".ssh/known_hosts", "".join(f"{hosts.known(server).hostname} {kind} {key}\n" for server in servers
                                       for kind, key in firstboot.host_keys(server / "upper")))


def give_name(name, address):
    """Have the seat know where a name leads to, as DNS says it elsewhere."""
    entry = f"{address} {name}"
    hosts.run_in(DIRECTORY, "sh", "-ec", f"grep -qxF '{entry}' /etc/hosts || echo '{entry}' >> /etc/hosts")


def give_cloud(clouds_yaml):
    """Give the operator the credentials of a cloud: the text of a clouds.yaml."""
    hosts.run_in(DIRECTORY, "install", "-d", "-o", USER, "-g", USER, "-m", "700", f"{HOME}/.config/openstack")
    _write(".config/openstack/clouds.yaml", clouds_yaml)


def give_ssh_config(environment):
    """Have the operator make the SSH configuration, as anybody does at their own workstation."""
    make = f"umask 077; salt-run environment.ssh_config {environment} user=root > ~/.ssh/{environment}.conf"
    hosts.run_in(DIRECTORY, *command("sh", "-ec", make))


def give_checkout():
    """Bring the operator's clone to this checkout's HEAD; returns that commit, and whether all here is in it."""
    git = ["git", "-c", f"safe.directory={CHECKOUT}", "-C", os.fspath(CHECKOUT)]
    bundle = subprocess.run([*git, "bundle", "create", "--quiet", "-", "HEAD"], capture_output=True, check=True).stdout
    receive = ("cat > ~/.idr.bundle && git init -q -b main ~/idr && git -C ~/idr fetch -q ~/.idr.bundle HEAD "
               "&& git -C ~/idr checkout -q -f -B main FETCH_HEAD && rm ~/.idr.bundle")
    as_operator = ["runuser", "-u", USER, "--", "env", f"HOME={HOME}", "sh", "-ec", receive]
    done = subprocess.run(hosts.inside(DIRECTORY, *as_operator), input=bundle, capture_output=True)
    if done.returncode:
        raise LabError(f"the seat's clone: {done.stderr.decode(errors='replace').strip()}")
    commit = run(*git, "rev-parse", "HEAD").strip()
    return commit, not run(*git, "status", "--porcelain").strip()


def give_venv():
    """Make the checkout's virtual environment, as its Makefile does; nothing to do when its locks are the same."""
    hosts.run_in(DIRECTORY, *command("make", "venv"))


def give_environment(environment, table):
    """Say where the servers are, as of servers that were made by hand: TABLE is the text that says it."""
    _write_site(environment, "environment.sls", table)


def give_site(environment, values):
    """Write the site's own pillar, which enrolment takes to the master: VALUES is what differs from production."""
    import yaml

    _write_site(environment, "site.sls",
                "# What the lab has otherwise than production; nothing else differs.\n" + yaml.safe_dump(values))


def give_release(environment, expected):
    """Write what a release is to ask of the site: EXPECTED is what differs from production."""
    import yaml

    _write_site(environment, "release.sls",
                "# What the lab's IDR shows otherwise than the IDR does.\n" + yaml.safe_dump(expected))


def _write_site(environment, name, text):
    hosts.run_in(DIRECTORY, "install", "-d", "-o", USER, "-g", USER, "-m", "700", f"{HOME}/.config/idr/{environment}")
    _write(f".config/idr/{environment}/{name}", text)


def _write(name, text):
    hosts.run_in(DIRECTORY, "install", "-o", USER, "-g", USER, "-m", "600", "/dev/stdin", f"{HOME}/{name}", stdin=text)
