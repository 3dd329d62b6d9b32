"""`up`: the whole lab in its order, what can go on at once at once, and each step said with the seconds it took."""

import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lab import base, check, downloads, hosts, machines, network, seat
from lab.settings import CACHE, PUBLIC_ADDRESS, STATE
from lab.shell import LabError, run

OMERO = Path(__file__).with_name("omero")
_started = time.monotonic()


def say(text):
    """One line of progress, with the seconds since this command began."""
    print(f"[{time.monotonic() - _started:6.1f} s] {text}", flush=True)


def up(topology, bare=False):
    """
    Bring the lab up from whatever state it is in, or with `bare` everything but the environment on its hosts.

    Refuses, before anything changes, with every problem of this machine at once.
    """
    problems = check.problems()
    if problems:
        raise LabError("\n".join(problems))
    STATE.mkdir(mode=0o700, parents=True, exist_ok=True)
    omero = _start_building_omero()
    bring_hosts_up(topology)
    _give_seat(topology)
    downloads.up(topology)
    seat.give_site(topology.environment, _site(omero))
    if bare:
        say("the hosts are up, bare: lab/ctl status")
        return
    deploy(topology)


def bring_hosts_up(topology):
    """The image, the networks and every machine, running."""
    with ThreadPoolExecutor(8) as pool:
        net = pool.submit(network.up, topology)
        layers = _images(topology)
        net.result()
        key = seat.public_key()
        began = time.monotonic()
        list(pool.map(lambda machine: _boot(machine, topology, layers[machine.name], key), topology.machines))
        list(pool.map(lambda machine: hosts.wait(machines.directory_of(machine)), topology.machines))
    say(f"{len(topology.servers)} servers and the seat are up ({time.monotonic() - began:.1f} s)")
    base.prune({layer for machine in topology.machines for layer in machines.made_on(machines.directory_of(machine))})


def _boot(machine, topology, layers, key):
    machines.make(machine, layers, None if machine == topology.seat else key)
    network.connect(machine, topology)
    hosts.start(machines.host(machine))


def _images(topology):
    began = time.monotonic()
    image = base.base()
    layers = {machine.name: machines.layers_of(machine, image) for machine in topology.machines}
    say(f"the hosts' images are there ({time.monotonic() - began:.1f} s)")
    return layers


def remake(topology, name):
    """Make one machine anew, as a cloud rebuilds it: a fresh system with new SSH host keys, and its old volumes."""
    machine = topology.machine(name)
    directory = machines.directory_of(machine)
    if directory.exists():
        hosts.stop(directory)
        hosts.remove(directory)
    bring_hosts_up(topology)
    _give_seat(topology)


def _give_seat(topology):
    began = time.monotonic()
    seat.give_ssh(topology)
    commit, is_all = seat.give_checkout()
    seat.give_venv()
    unsaid = "" if is_all else "; what isn't committed in this checkout isn't in the lab"
    say(f"the operator's seat has commit {commit} ({time.monotonic() - began:.1f} s){unsaid}")


def _start_building_omero():
    """Start making what the downloads site offers; slow when the cache is cold, so beside everything else."""
    destination = CACHE / "omero"
    destination.mkdir(parents=True, exist_ok=True)
    log = open(CACHE / "omero.log", "w")   # noqa: SIM115 (the processes write to it after this function)
    return {
        name: subprocess.Popen(["nice", "-n", "10", "/usr/bin/python3", "-B", OMERO / script, verb, destination],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True)
        for name, script, verb in (("server", "archive.py", "build"), ("ice_wheel", "ice.py", "wheel"))
    }


def _site(omero):
    """The site's pillar: where OMERO comes from, and sizes for hosts that share one small machine."""
    built = {}
    for name, process in omero.items():
        began = time.monotonic()
        said, _ = process.communicate(timeout=1200)
        if process.returncode:
            raise LabError(f"building OMERO's {name} failed: see {CACHE / 'omero.log'}")
        built[name] = downloads.offer(Path(said.split()[-1]))
        if time.monotonic() - began > 1:
            say(f"waited {time.monotonic() - began:.0f} s for OMERO's {name.replace('_', ' ')} to be built")
    built["server"]["version"] = "5.6.13-ice36"
    return {
        "base": {"own_clock": False},
        "omero": {**built, "web": {"workers": 2}},
    }


def deploy(topology):
    """The environment on the hosts, by the product's own commands, as an operator types them."""
    environment = topology.environment
    _operator(f"Salt is on every server of {environment}", "salt-run", "environment.enrol", environment, "apply=True")
    _operator("everything is deployed", "ssh", topology.proxy.name, "salt-run", "state.orchestrate", "orch.deploy")
    run("/usr/bin/python3", OMERO / "seed.py", log=None)
    print(f"""
The IDR of this lab is at https://{PUBLIC_ADDRESS}/ on the lab's outside network. Try:
  lab/ctl outside curl -k https://{PUBLIC_ADDRESS}/
  lab/ctl outside ssh {topology.proxy.name}
  lab/ctl exec {topology.proxy.name} salt '*' test.ping
  lab/ctl status
""")


def _operator(what, *command):
    began = time.monotonic()
    done = subprocess.run(hosts.inside(seat.DIRECTORY, *seat.command(*command)), stdin=subprocess.DEVNULL)
    if done.returncode:
        raise LabError(f"{' '.join(command)}: exit {done.returncode}")
    say(f"{what} ({time.monotonic() - began:.1f} s)")
