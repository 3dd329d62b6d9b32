"""What the lab's tests of environments share: the operator's commands, the cloud as its owner sees it, a small one."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass

from lab import network
from lab.cloud import venv
from lab.cloud.settings import API
from lab.settings import CHECKOUT

# Everything of the project, as its owner sees it, by kind and name
INVENTORY = """
import json, openstack
cloud = openstack.connect()
net, disk = cloud.network, cloud.block_storage
mine = cloud.identity.application_credentials(cloud.current_user_id)
kinds = dict(credential=mine, server=cloud.compute.servers(), key=cloud.compute.keypairs(), volume=disk.volumes(),
    snapshot=disk.snapshots(), network=net.networks(), subnet=net.subnets(), router=net.routers(), port=net.ports(),
    group=net.security_groups(), rule=net.security_group_rules(), address=net.ips())
def told(one):
    return [one.name or one.id, one.id, getattr(one, "status", None)]
print(json.dumps({kind: sorted(told(one) for one in them) for kind, them in kinds.items()}))
"""
# One server, whose volume is a clone, so that there are all kinds of calls.
ONE_SERVER = """
servers: {{ENV-omero: null, ENV-database: null, ENV-a-omero: null, ENV-a-database: null, ENV-a-dockermanager: null}}
idr_volume_proxy_nginxcache_src: {source}
"""
# What an operator supplies for a new environment: what `idr` got, but for the host keys, which are its own.
SITE_AS_IDRS = "cd ~/.config/idr; rm -rf {env}; cp -a idr {env}; rm {env}/known_hosts"
SCRIPT = """
import json, openstack
cloud = openstack.connect()
net, compute, disk = cloud.network, cloud.compute, cloud.block_storage
said = None
{given}
{text}
print(json.dumps(said))
"""

ADMINISTRATOR = """
import json, sys
sys.path.append({checkout!r})
from lab.cloud.bootstrap import administrator
cloud = administrator()
said = None
{text}
print(json.dumps(said))
"""


@dataclass(frozen=True)
class Small:
    """An environment of one server, whose volume is a clone of SOURCE: an environment's, or a volume."""

    name: str
    source: str

    @property
    def apply(self):
        return ("apply", self.name, "apply=True", "deploy=False")

    @property
    def destroy(self):
        return ("destroy", self.name, f"confirm={self.name}", "apply=True")

    @property
    def declared(self):
        """Where it's declared, in the seat's checkout."""
        return f"pillar/environments/{self.name}.sls"

    @property
    def declaration(self):
        return ONE_SERVER.format(source=self.source)

    def declare(self, lab):
        lab.outside("tee", self.declared, stdin=self.declaration)

    def forget(self, lab):
        """What the seat knows of it, once it's gone."""
        lab.outside("rm", "-rf", self.declared, f"/home/operator/.config/idr/{self.name}")

    def steps(self, lab):
        """What its plan would do, as ``verb kind name``."""
        code, plan = run(lab, "plan", self.name)
        assert code == 0, plan
        return sorted(f"{step['verb']} {step['kind']} {step['name']}" for step in plan["steps"])


BESIDE = Small("idr2", source="idr")  # whose name begins with the other's


def run(lab, function, *words):
    """`salt-run environment.FUNCTION …` at the seat: its exit code and its answer."""
    done = lab.outside(".venv/bin/salt-run", "--out=json", f"environment.{function}", *words, check=False, seconds=1800)
    assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
    return done.returncode, json.loads(done.stdout[done.stdout.index("{") :])


def inventory(lab):
    return json.loads(lab.outside(".venv/bin/python", "-c", INVENTORY).stdout)


def script(lab, text, **given):
    """Run Python with the SDK at the seat, with some names given; returns what it calls `said`."""
    names = "\n".join(f"{name} = {value!r}" for name, value in given.items())
    done = lab.outside(".venv/bin/python", "-", stdin=SCRIPT.format(given=names, text=text), seconds=1800)
    return json.loads(done.stdout)


def administered(text):
    """Run Python with the SDK as the cloud's administrator, who sees more; returns what it calls `said`."""
    words = ("nsenter", f"--net={network.NAMESPACES / API}", venv.directory() / "bin/python", "-I", "-")
    asked = ADMINISTRATOR.format(checkout=str(CHECKOUT), text=text)
    return json.loads(subprocess.run(words, input=asked, capture_output=True, text=True, check=True).stdout)
