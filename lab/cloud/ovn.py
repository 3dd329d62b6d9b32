"""
OVN on one machine: its three databases in one server, the switch in userspace, and the cable to the lab's outside.

The switch is in a namespace of its own, where a server's ports end, too. Its bridge `br-ex` is the provider network
`outside`, on which Neutron puts routers and floating IPs.
"""

from lab import network
from lab.cloud import processes, switch
from lab.cloud.settings import HOST, HYPERVISOR, OVN
from lab.shell import PATIENCE, run, succeeds, wait_until
from lab.topology import OUTSIDE_NETWORK

SOCKET = OVN / "db.sock"
CABLE = "outside"   # the bridge's end of the cable
SCHEMAS = {
    "north": "/usr/share/ovn/ovn-nb.ovsschema",
    "south": "/usr/share/ovn/ovn-sb.ovsschema",
}
PROCESSES = ("ovsdb-server", "ovs-vswitchd", "ovn-northd", "ovn-controller")


def up():
    """Start what isn't running and join it to the outside."""
    OVN.mkdir(parents=True, exist_ok=True)
    network.enclose(HYPERVISOR)
    port = network.cable(HYPERVISOR, CABLE, OUTSIDE_NETWORK)
    network.send_complete_packets(network.SWITCH, port)
    quiet = ("-vconsole:off", "-vsyslog:off")
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "OVS_RUNDIR": str(OVN), "OVN_RUNDIR": str(OVN),
                   "OVS_SYSCONFDIR": str(OVN)}

    def start(name, program, *words):
        if not processes.is_on(name):
            for left in OVN.glob(f"{name}.*.ctl"):   # by one that was killed
                left.unlink()
        processes.start(name, HYPERVISOR, program, *words, f"--log-file={OVN / name}.log", *quiet, env=environment)

    newer = switch.make()
    schemas = {**SCHEMAS, "switch": newer / switch.SCHEMA}
    for name, schema in schemas.items():
        database = OVN / f"{name}.db"
        if not database.exists():
            unfinished = OVN / f"{name}.new"
            unfinished.unlink(missing_ok=True)
            run("ovsdb-tool", "create", unfinished, schema)
            unfinished.rename(database)
    databases = [OVN / f"{name}.db" for name in schemas]
    start("ovsdb-server", "/usr/sbin/ovsdb-server", *databases, f"--remote=punix:{SOCKET}")
    wait_until("OVN's databases answer", lambda: succeeds("ovs-vsctl", f"--db=unix:{SOCKET}", "--timeout=5", "show"),
               PATIENCE, lambda: None if processes.is_on("ovsdb-server") else processes.last_words("ovsdb-server"))
    settings = {
        "system-id": HOST, "hostname": HOST, "rundir": OVN, "ovn-remote": f"unix:{SOCKET}", "ovn-encap-type": "geneve",
        "ovn-encap-ip": "127.0.0.1", "ovn-bridge": "br-int", "ovn-bridge-mappings": "outside:br-ex",
        "ovn-bridge-datapath-type": "netdev", "ovn-cms-options": "enable-chassis-as-gw",
    }
    vsctl("--no-wait", "set", "Open_vSwitch", ".", *(f"external_ids:{key}={value}" for key, value in settings.items()))
    start("ovs-vswitchd", *switch.command(newer), f"unix:{SOCKET}", "--monitor")
    in_userspace = "datapath_type=netdev"
    vsctl("--may-exist", "add-br", "br-int", "--", "set", "bridge", "br-int", in_userspace, "fail_mode=secure",
          "--", "--may-exist", "add-br", "br-ex", "--", "set", "bridge", "br-ex", in_userspace,
          "--", "--may-exist", "add-port", "br-ex", CABLE)
    start("ovn-northd", "/usr/bin/ovn-northd", f"--ovnnb-db=unix:{SOCKET}", f"--ovnsb-db=unix:{SOCKET}")
    start("ovn-controller", "/usr/bin/ovn-controller", f"unix:{SOCKET}")
    wait_until("OVN runs", is_up, PATIENCE)


def is_up():
    """Whether all of it runs."""
    return all(map(processes.is_on, PROCESSES))


def down():
    """End all of it; what Neutron has told it stays in its databases."""
    for name in reversed(PROCESSES):
        processes.end(name)


def vsctl(*words):
    """Change or ask the switch's configuration; what `ovs-vsctl` said."""
    return run("ovs-vsctl", f"--db=unix:{SOCKET}", f"--timeout={PATIENCE}", *words)
