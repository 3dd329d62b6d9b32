"""`up`: the whole lab in its order, what can go on at once at once, and each step said with the seconds it took."""

import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

from lab import archives, base, check, downloads, filesystem, hosts, machines, network, seat, topology
from lab.cloud import control
from lab.cloud.config import clouds_yaml
from lab.settings import PUBLIC_ADDRESS, PUBLIC_NAME
from lab.shell import LabError, run

# What the lab has otherwise than production, besides where archives are: a clock that isn't its own, and sizes for
# hosts that share one machine.
SITE = {
    "base": {"own_clock": False},
    "postgresql": {"memory_mb": 1024},
    "omero": {"web": {"workers": 2}},
}
# With images there is a JupyterHub; nobody but the lab's seat can see it, so anyone there may log in.
ANALYSIS = {
    "jupyterhub": {
        "authenticator": {"class": "shared-password", "config": {
            "Authenticator": {"allow_all": True},
            "SharedPasswordAuthenticator": {"user_password": "only-in-the-lab"},
        }},
        "limits": {"memory": "1G", "cpus": 1},
    },
    "nginx": {"jupyter": {"enabled": True}},
}
# What a release asks of it: its own pages and images, and the certificate that its proxy made itself.
RELEASE = {
    "release_ca": "self-signed",
    "release_texts": {
        "/": "<title>IDR: Image Data Resource",
        "/about/": "<title>IDR: Image Data Resource",
        "/about/experiments.html": None,
    },
    "release_images": {"/webclient/render_image/2850181/10/0/": None, "/webgateway/render_image/1/0/0/": 50001},
    "release_counts": {"/mapr/api/organism/count/?query=true&value=%20": None},
}
READY = """
The IDR of this lab is at https://{public}/ on the lab's outside network. Try:
  lab/ctl outside curl -k https://{public}/
  lab/ctl outside ssh {proxy}
  lab/ctl exec {proxy} salt '*' test.ping
  lab/ctl status
"""
_started = time.monotonic()


def say(text):
    """One line of progress, with the seconds since this command began."""
    print(f"[{time.monotonic() - _started:6.1f} s] {text}", flush=True)


def up(bare=False, by_hand=False):
    """
    Bring the lab up from whatever state it is in.

    bare:     leave the environment as it is, or not there
    by_hand:  without a cloud: its servers are as if somebody had made them by hand

    Refuses, before anything changes, with every problem of this machine at once.
    """
    problems = check.problems()
    if problems:
        raise LabError("\n".join(problems))
    here = topology.chosen(by_hand)
    filesystem.mount()
    if not by_hand:
        topology.CLOUD.mkdir(mode=0o700, exist_ok=True)
    building = archives.start()
    bring_hosts_up(here)
    with ThreadPoolExecutor(1) as pool:
        cloud = None if by_hand else pool.submit(control.up, say)
        commit = _give_seat(here)
        downloads.up(here)
        if cloud:
            cloud.result()
    make = _enrol if by_hand else _apply
    if not bare and not archives.are_built(building):
        seat.give_site(here.environment, SITE)   # enrolment needs no archive, and takes minutes the first time
        make(here, commit)
    began = time.monotonic()
    offered = archives.offer(building)
    say(f"the archives of OMERO and JupyterHub are on the downloads site ({time.monotonic() - began:.1f} s)")
    seat.give_site(here.environment, {
        **SITE, **ANALYSIS,
        "omero": {**SITE["omero"], **offered["omero"]},
        "jupyterhub": {**ANALYSIS["jupyterhub"], **offered["jupyterhub"]},
    })
    if bare:
        say("the lab is up, bare: lab/ctl status")
        return
    make(here, commit)
    _deploy(here, commit)
    seat.give_ssh_config(here.environment)
    run("/usr/bin/python3", archives.OMERO / "seed.py")
    say("OMERO has something to look at, on both sides")
    print(READY.format(public=PUBLIC_ADDRESS, proxy=f"{here.environment}-proxy"))


def bring_hosts_up(here):
    """The images, the networks and every machine that the lab itself makes, running."""
    key = seat.public_key()
    with ThreadPoolExecutor(8) as pool:
        net = pool.submit(network.up, here)
        layers = _images(here, pool)
        net.result()
        began = time.monotonic()
        list(pool.map(lambda machine: _boot(machine, here, layers.get(machine.name), key), here.machines))
        list(pool.map(lambda machine: hosts.wait(machines.directory_of(machine)), here.machines))
    servers = f"{len(here.servers)} servers and the seat are" if here.servers else "the seat is"
    say(f"{servers} up ({time.monotonic() - began:.1f} s)")
    if layers and here.servers:
        base.prune({layer for machine in here.machines for layer in machines.made_on(machines.directory_of(machine))})


def _boot(machine, here, layers, key):
    if layers:
        machines.make(machine, layers, None if machine == here.seat else key)
    network.connect(machine, here)
    hosts.start(machines.host(machine))


def _images(here, pool):
    """What the machines boot from that are still to be made; the others keep what they were made on."""
    new = [machine for machine in here.machines if not machines.directory_of(machine).exists()]
    if not new:
        return {}
    began = time.monotonic()
    image = base.base()
    recipes = {machine.name: machines.layer_of(machine.role) for machine in new}
    built = dict(zip(set(recipes.values()), pool.map(lambda recipe: base.layer(recipe, image), set(recipes.values())),
                     strict=True))
    say(f"what hosts boot from is there ({time.monotonic() - began:.1f} s)")
    return {name: built[recipe] for name, recipe in recipes.items()}


def remake(name):
    """
    Make a server anew that was made by hand: a fresh system with new SSH host keys, and its old volumes.

    Refuses one of a cloud, which the operator replaces.
    """
    if topology.CLOUD.exists():
        raise LabError(f"the lab has a cloud, where a server is made anew by the operator:\n"
                       f"  lab/ctl outside salt-run environment.replace {topology.ENVIRONMENT} server={name}")
    here = topology.read()
    machine = here.machine(name)
    directory = machines.directory_of(machine)
    if directory.exists():
        hosts.stop(directory)
        hosts.remove(directory)
    bring_hosts_up(here)
    _give_seat(here)
    say(f"a new {name}, with the old volumes. Its Salt key went with its system:\n"
        f"  lab/ctl outside salt-run environment.enrol {here.environment} apply=True replace={name}")


def _give_seat(here):
    """The seat as it is to be; returns the commit that its checkout is at."""
    began = time.monotonic()
    seat.give_key()
    seat.give_ssh_user()
    seat.give_name(PUBLIC_NAME, PUBLIC_ADDRESS)
    seat.give_release(here.environment, RELEASE)
    commit, is_all = seat.give_checkout()
    seat.give_venv()
    if here.servers:
        seat.know([machines.directory_of(server) for server in here.servers])
        seat.give_environment(here.environment, topology.BY_HAND.read_text())
        seat.give_ssh_config(here.environment)
    else:
        seat.give_cloud(clouds_yaml())
    unsaid = "" if is_all else "; what isn't committed in this checkout isn't in the lab"
    say(f"the operator's seat has commit {commit[:12]} ({time.monotonic() - began:.1f} s){unsaid}")
    return commit


def _apply(here, commit):
    environment = here.environment
    there = [name for path in control.servers() if (name := hosts.known(path).hostname).endswith("-proxy")]
    if there and f"{environment}-proxy" not in there:
        raise LabError(f"{environment} is gone, and what took over is left as it is ({', '.join(there)}). For "
                       f"a new {environment}: lab/ctl destroy, then lab/ctl up")
    _operator(f"{environment} is in the cloud",
              "salt-run", "environment.apply", environment, "apply=True", "deploy=False")
    _enrol(here, commit)


def _enrol(here, commit):
    # who develops amends commits: the one that is meant is named
    environment = here.environment
    _operator(f"Salt is on every server of {environment}",
              "salt-run", "environment.enrol", environment, "apply=True", f"commit={commit}")


def _deploy(here, commit):
    # whatever was half done on these hosts before, and fails in a rehearsal, may be what this deploy mends
    environment = here.environment
    _operator(f"{environment} is deployed", "salt-run", "environment.update", environment, "apply=True",
              f"commit={commit}", "even_if=failing")


def _operator(what, *command):
    """Run a command as an operator types it at the seat; its output is the reader's."""
    began = time.monotonic()
    say(f"the operator types: {' '.join(command)}")
    done = subprocess.run(hosts.inside(seat.DIRECTORY, *seat.command(*command)), stdin=subprocess.DEVNULL)
    if done.returncode:
        raise LabError(f"{' '.join(command)}: exit {done.returncode}")
    say(f"{what} ({time.monotonic() - began:.1f} s)")
