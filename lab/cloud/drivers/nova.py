"""
The compute driver of the lab's Nova: a server is a host (`lab.hosts`), its ports are cables into OVN's switch.

Nothing is kept in memory. What servers there are is read from their directories, and whether one is on from its
control group, so that servers outlive this process, and the next one finds them.
"""

import dataclasses
import threading
import time
import uuid
from pathlib import Path

import nova.conf
from nova import exception
from nova.compute import power_state
from nova.virt import driver, event, fake, hardware
from oslo_log import log

from lab import firstboot, hosts, machines
from lab.cloud.drivers import ports
from lab.settings import HOSTS
from lab.shell import LabError
from lab.topology import SERIAL_LENGTH

LOG = log.getLogger("nova.virt.lab")   # below `nova`, whose messages are logged
CONSOLE_BYTES = 100 * 1024   # as much of its end as Nova's other drivers give
LETTERS = "bcdefghijklmnopqrstuvwxyz"   # /dev/vda is the disk that a server boots from


class HostsDriver(fake.FakeDriverWithoutFakeNodes):
    """
    Servers as hosts of the lab.

    Of what it inherits it uses the node and its made-up size. Whatever else the fake driver does, it only pretends to:
    all that is refused (see the end of this file).
    """

    capabilities = {name: name == "supports_image_type_raw" for name in fake.FakeDriver.capabilities}

    def init_host(self, host):
        super().init_host(host)
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self):
        """Tell Nova of each server that went off by itself, was powered off from inside or killed."""
        before = set()
        while True:
            now = {server for server in self.list_instance_uuids() if hosts.is_on(HOSTS / server)}
            for server in before - now:
                self.emit_event(event.LifecycleEvent(server, event.EVENT_LIFECYCLE_STOPPED))
            before = now
            time.sleep(1)

    # -- what there is

    def list_instance_uuids(self):
        return [path.name for path in HOSTS.glob("*-*-*-*-*") if _is_uuid(path.name)] if HOSTS.exists() else []

    def list_instances(self):
        return self.list_instance_uuids()

    def instance_on_disk(self, instance):
        return (HOSTS / instance.uuid).exists()

    def get_info(self, instance, use_cache=True):
        directory = HOSTS / instance.uuid
        if not hosts.known(directory):
            raise exception.InstanceNotFound(instance_id=instance.uuid)
        return hardware.InstanceInfo(state=power_state.RUNNING if hosts.is_on(directory) else power_state.SHUTDOWN)

    def get_console_output(self, context, instance):
        with open(HOSTS / instance.uuid / "console.log", "rb") as console:
            console.seek(max(0, console.seek(0, 2) - CONSOLE_BYTES))
            return console.read()

    def get_host_ip_addr(self):
        return nova.conf.CONF.my_ip

    # -- its life

    def spawn(self, context, instance, image_meta, injected_files, admin_password, allocations, network_info=None,
              block_device_info=None, power_on=True, accel_info=None):
        directory = HOSTS / instance.uuid
        keys = _keys(instance, injected_files, block_device_info)
        its_ports = ports.read(network_info)
        role = machines.role_of(instance.hostname, instance.metadata)
        firstboot.seed(
            directory / "upper", instance.hostname, "".join(f"{key.strip()}\n" for key in keys),
            resolvers=[address for port in its_ports for address in port.resolvers], clones=True)
        self._start(its_ports, hosts.Host(
            directory=directory, hostname=instance.hostname, netns=ports.network.namespace_of(instance.uuid),
            layers=machines.prepared(role), disks=_disks(block_device_info),
            directories=machines.directories(instance.hostname, role, directory), limits=machines.limits(role)))

    def _start(self, its_ports, host):
        ports.plug(host.directory.name, its_ports)
        firstboot.show_host_keys(host.directory / "upper", host.directory / "console.log")
        hosts.start(host)

    def power_on(self, context, instance, network_info, block_device_info=None, accel_info=None, share_info=None):
        host = hosts.known(HOSTS / instance.uuid)
        if not host:
            raise exception.InstanceNotFound(instance_id=instance.uuid)
        if not hosts.is_on(host.directory):
            self._start(ports.read(network_info), dataclasses.replace(host, disks=_disks(block_device_info)))

    def power_off(self, instance, timeout=0, retry_interval=0):
        directory = HOSTS / instance.uuid
        if timeout:
            hosts.stop(directory, timeout)
        else:
            hosts.end(directory)

    def reboot(self, context, instance, network_info, reboot_type, block_device_info=None, bad_volumes_callback=None,
               accel_info=None, share_info=None):
        directory = HOSTS / instance.uuid
        if reboot_type == "SOFT" and hosts.is_on(directory):
            try:
                hosts.reboot(directory)
                return
            except LabError as stuck:
                LOG.warning("no soft reboot, so a hard one: %s", stuck, instance=instance)
        hosts.end(directory)
        self.power_on(context, instance, network_info, block_device_info)

    def resume_state_on_host_boot(self, context, instance, network_info, share_info, block_device_info=None):
        self.power_on(context, instance, network_info, block_device_info)

    def destroy(self, context, instance, network_info, block_device_info=None, destroy_disks=True,
                destroy_secrets=True):
        directory = HOSTS / instance.uuid
        hosts.end(directory)
        ports.unplug(instance.uuid)
        if destroy_disks and directory.exists():
            hosts.remove(directory)

    def cleanup(self, context, instance, network_info, block_device_info=None, destroy_disks=True, migrate_data=None,
                destroy_vifs=True, destroy_secrets=True):
        self.destroy(context, instance, network_info, block_device_info, destroy_disks)

    # -- its ports

    def plug_vifs(self, instance, network_info):
        ports.plug(instance.uuid, ports.read(network_info))

    def unplug_vifs(self, instance, network_info):
        ports.unplug(instance.uuid)

    # -- its volumes

    def default_root_device_name(self, instance, image_meta, root_bdm):
        return "/dev/vda"

    def get_device_name_for_instance(self, instance, bdms, block_device_obj):
        taken = {bdm.device_name for bdm in bdms}
        wanted = block_device_obj.device_name
        if wanted and wanted.startswith("/dev/vd") and wanted not in taken:
            return wanted
        return next(name for letter in LETTERS if (name := f"/dev/vd{letter}") not in taken)

    def attach_volume(self, context, connection_info, instance, mountpoint, disk_bus=None, device_type=None,
                      encryption=None):
        directory, disk = HOSTS / instance.uuid, _disk(connection_info, mountpoint)
        try:
            hosts.attach(directory, disk)
        except LabError as problem:
            hosts.detach(directory, disk.serial)
            raise exception.VolumeAttachFailed(volume_id=connection_info["serial"], reason=str(problem)) from problem

    def detach_volume(self, context, connection_info, instance, mountpoint, encryption=None):
        try:
            hosts.detach(HOSTS / instance.uuid, _disk(connection_info, mountpoint).serial)
        except LabError as problem:
            raise exception.DeviceDetachFailed(device=mountpoint, reason=str(problem)) from problem


def _disks(block_device_info):
    return tuple(_disk(volume["connection_info"], volume["mount_device"])
                 for volume in driver.block_device_info_get_mapping(block_device_info))


def _disk(connection_info, mountpoint):
    return hosts.Disk(Path(connection_info["data"]["device_path"]), Path(mountpoint).name,
                      connection_info["serial"][:SERIAL_LENGTH])


def _keys(instance, injected_files, block_device_info):
    """Whom a new server lets in. Refuses what was asked for it and the lab can't give."""
    try:
        if injected_files:
            raise LabError("the lab's servers take no files to inject")
        if any(volume["boot_index"] == 0 for volume in driver.block_device_info_get_mapping(block_device_info)):
            raise LabError("the lab's servers boot from no volume")
        return [*filter(None, [instance.key_data]), *firstboot.further_keys(instance.user_data)]
    except LabError as refused:
        raise exception.BuildAbortException(instance_uuid=instance.uuid, reason=str(refused)) from refused


def _is_uuid(name):
    try:
        return str(uuid.UUID(name)) == name
    except ValueError:
        return False


def _refusal(name):
    def refuse(self, *_, **__):
        raise NotImplementedError(f"the lab's compute driver has no {name}")
    return refuse


INHERITED = {"get_available_nodes", "get_available_resource", "get_nodenames_by_uuid", "get_volume_connector",
             "update_provider_tree"}
for _name, _value in vars(fake.FakeDriver).items():
    if callable(_value) and not _name.startswith("_") and _name not in INHERITED and _name not in vars(HostsDriver):
        setattr(HostsDriver, _name, _refusal(_name))
