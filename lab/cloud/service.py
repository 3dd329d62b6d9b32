#!/usr/bin/env python3
"""
All of one project of OpenStack in one process: `service.py PROJECT`, run in the services' environment.

API, scheduler, conductor, compute and volume manager are threads that talk in memory (`transport_url = fake:/`), so
there is no message broker, and no second process of a project.
"""

import importlib
import os
import signal
import socket
import sys
import time
import traceback
from pathlib import Path

sys.dont_write_bytecode = True   # what comes from the cache is compiled there, and a checkout is kept clean
sys.path.append(str(Path(__file__).resolve().parents[2]))   # for the drivers; last, since it is full of common names

from lab.cloud.config import PASSWORD  # noqa: E402
from lab.cloud.settings import ADDRESS, ETC, PORTS  # noqa: E402

THREADS = 8
# Whom a service asks as soon as it starts
NEEDS = {"cinder": ["keystone"], "nova": ["keystone", "placement", "neutron", "cinder"]}


def wait_for_others(name):
    """Wait until those answer whom this service needs, and Keystone knows who it is (`bootstrap.py identity`)."""
    from keystoneauth1 import exceptions, session
    from keystoneauth1.identity import v3
    for other in NEEDS[name]:
        while True:
            try:
                socket.create_connection((ADDRESS, PORTS[other]), 5).close()
                break
            except OSError:
                time.sleep(0.1)
    user = v3.Password(f"http://{ADDRESS}:{PORTS['keystone']}/v3", username="services", password=PASSWORD,
                       project_name="services", user_domain_name="Default", project_domain_name="Default")
    while True:
        try:
            user.get_access(session.Session())
            return
        except exceptions.ClientException:
            pass   # not made yet
        time.sleep(0.2)


def keystone():
    os.environ["OS_KEYSTONE_CONFIG_DIR"] = str(ETC)
    from keystone.wsgi.api import application
    return application


def placement():
    os.environ["OS_PLACEMENT_CONFIG_DIR"] = str(ETC)
    from placement.wsgi.api import application
    return application


def glance():
    os.environ["OS_GLANCE_CONFIG_DIR"] = str(ETC)
    from glance.wsgi.api import application
    return application


def neutron():
    os.environ.update(OS_NEUTRON_CONFIG_DIR=str(ETC), OS_NEUTRON_CONFIG_FILES="neutron.conf", ASGI_WORKERS="1")
    from neutron.wsgi.api import application
    return application


def cinder():
    sys.argv = ["cinder-api", "--config-file", str(ETC / "cinder.conf")]
    from cinder import monkey_patch
    monkey_patch.patch(backend="threading")
    import os_brick
    from cinder import service
    from cinder.common import constants
    from cinder.wsgi.api import application
    from oslo_config import cfg
    os_brick.setup(cfg.CONF)
    wait_for_others("cinder")
    service.Service.create(binary=constants.SCHEDULER_BINARY).start()
    service.Service.create(binary=constants.VOLUME_BINARY, host=f"{cfg.CONF.host}@files", service_name="files",
                           coordination=True).start()
    return application


def nova():
    # the first of these files is read for the pipeline of the API
    paste = os.path.join(sys.prefix, "etc/nova/api-paste.ini")
    os.environ.update(OS_NOVA_CONFIG_DIR=str(ETC), OS_NOVA_CONFIG_FILES=f"{paste};nova.conf")
    from nova.wsgi.osapi_compute import application  # isort: skip
    import nova.conf
    import nova.virt
    import os_brick
    import os_vif
    from nova import context, objects, service
    from nova.compute import rpcapi as compute
    from nova.conductor import rpcapi as conductor
    from nova.objects import host_mapping
    from nova.scheduler import rpcapi as scheduler
    objects.register_all()
    os_brick.setup(nova.conf.CONF)
    os_vif.initialize()
    nova.virt.lab = sys.modules["nova.virt.lab"] = importlib.import_module("lab.cloud.drivers.nova")
    wait_for_others("nova")
    for binary, topic, options in (("nova-conductor", conductor.RPC_TOPIC, {}),
                                   ("nova-scheduler", scheduler.RPC_TOPIC, {}),
                                   ("nova-compute", compute.RPC_TOPIC, {"topic_alt": compute.RPC_TOPIC_ALT})):
        service.Service.create(binary=binary, topic=topic, **options).start()
    host_mapping.discover_hosts(context.get_admin_context())
    return application


def main(name):
    began = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    sys.argv = [name]
    try:
        application = globals()[name]()
        import waitress
        server = waitress.create_server(application, host=ADDRESS, port=PORTS[name], threads=THREADS,
                                        clear_untrusted_proxy_headers=False)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)   # its threads would keep a failed service alive
    print(f"{name} is ready after {time.monotonic() - began:.1f} s", flush=True)
    server.run()


if __name__ == "__main__":
    main(sys.argv[1])
