"""
Whether an environment is the one that the public sees, by three signs that don't depend on each other: the production
address, DNS, and the record of its release. One is enough.
"""

import socket
import threading

from idr.cloud.model import PRODUCTION_TAG

RELEASED = "idr-released"  # tag of an environment's base group, by the release that made it the public's
SECONDS = 5  # for DNS


def signs(facts, environment, public_name, resolve=None):
    """
    What says that an environment is live, a line each, and what couldn't be found out: ``(signs, unknown)``.

    resolve:  a name's addresses, as ``addresses_of`` finds them
    """
    held = {address.name: address for address in addresses(facts, environment)}
    found = [
        f"it holds {name}, which is tagged {PRODUCTION_TAG}"
        for name, address in held.items()
        if PRODUCTION_TAG in address.what["tags"]
    ]
    found += [
        f"{address.name}, which is tagged {PRODUCTION_TAG}, was its proxy's last, and nobody's since"
        for address in facts.of(environment, "address")
        if PRODUCTION_TAG in address.what["tags"] and not address.what["port_id"]
    ]
    unknown = []
    try:
        named = (resolve or addresses_of)(public_name)
        found += [f"{public_name} leads to {name}, which it holds" for name in sorted(named & held.keys())]
    except OSError as error:
        unknown.append(f"DNS doesn't say where {public_name} leads to ({error}); that is no sign of anything")
    if any(RELEASED in group.what["tags"] for group in facts.of(environment, "group") if group.name == environment):
        found.append(f"it was released, and no other since: its security group {environment} is tagged {RELEASED}")
    return found, unknown


def addresses(facts, environment):
    """The floating IPs that an environment holds, on whatever port: one of its own, or one of its servers'."""
    servers = {server.id for server in facts.of(environment, "server")}
    ports = {
        port.id for port in facts.all("port") if port.environment == environment or port.what["device_id"] in servers
    }
    return [address for address in facts.all("address") if address.what["port_id"] in ports]


def addresses_of(name):
    """The IPv4 addresses of a host name, as texts; OSError where DNS has none or doesn't answer in time."""
    answer = []

    def ask():
        try:
            answer.append({it[4][0] for it in socket.getaddrinfo(name, None, socket.AF_INET)})
        except OSError as error:
            answer.append(error)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(SECONDS)
    if not answer:
        raise TimeoutError(f"no answer in {SECONDS} s")
    if isinstance(answer[0], OSError):
        raise answer[0]
    return answer[0]
