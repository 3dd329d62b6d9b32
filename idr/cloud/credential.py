"""
The credential by which an environment's master asks its cloud: it sees everything, snapshots volumes and takes its own
environment's lock, and no more.

It is an application credential of Keystone, which whoever enrols makes in their own name. Snapshots take the role
`member`, which could delete all there is, so access rules say what calls it's good for. Its secret is told once, when
it's made, and goes to the master at once; nothing else keeps it.
"""

import json
from pathlib import Path

from openstack.exceptions import raise_from_response
from os_service_types import ServiceTypes

from idr.cloud import inventory, lock, mark, wanted
from idr.cloud.connection import ERRORS, MASTERS_OWN, connect, told
from idr.errors import IdrError, Refused

CA = "/etc/idr/cloud-ca.pem"
ROLES = ("member", "_member_")
SEEN = ("compute", "network", "image", "block-storage")  # not identity: a user's EC2 keys are read there
# of block storage; Keystone's `**` is any part of a path, so that a catalog may have a prefix before the version
SNAPSHOTS = (
    ("POST", "/**/snapshots"),
    ("POST", "/**/snapshots/*/metadata"),
    ("PUT", "/**/snapshots/*/metadata"),
    ("PUT", "/**/snapshots/*/metadata/*"),
)
NO_RULES = (
    "the services of this cloud don't take a credential with access rules: its administrators have to say "
    "service_type, as it is in the catalog, in [keystone_authtoken] of each"
)


def giver(environment):
    """The Giver of an environment's credential, of the cloud that it's in."""
    return Giver(connect(wanted.cloud_of(environment)), environment, wanted.cloud_in_pillar(environment))


def rules(types, record=None):
    """
    The access rules for the services of those TYPES: a set of (service, method, path).

    record:  the id of the group that is the environment's lock, whose description and claims it may write
    """
    claims = f"/tags/{lock.CLAIM}*"  # of its tags no others: one says that the environment was released
    writes = (("PUT", ""), ("PUT", claims), ("DELETE", claims)) if record else ()
    own = {
        "block-storage": SNAPSHOTS,
        "network": tuple((method, f"/**/security-groups/{record}{rest}") for method, rest in writes),
    }
    found = set()
    for service in SEEN:
        # a catalog may call one `volumev3`, and the service itself goes by the name in its own configuration
        for name in types & set(ServiceTypes().get_all_types(service)):
            found.add((name, "GET", "/**"))
            found |= {(name, method, path) for method, path in own.get(service, ())}
    return found


def rules_of(credential):
    """The access rules that an application credential has, by Keystone's own form of it; None if it may do anything."""
    there = credential["access_rules"]
    return None if there is None else {(each["service"], each["method"], each["path"]) for each in there}


def may(connection, method, what):
    """
    Whether a connection's credential may make such calls, as far as that is told: access rules name all that it may.

    what:  a part of their path that no other call's has: ``/snapshots/``
    """
    rules = connection.session.auth.get_access(connection.session).application_credential_access_rules
    if rules is None:
        return True
    paths = [rule["path"] for rule in rules if rule["method"] == method]
    return any(what in path or path == "/**" for path in paths)


def files(cloud, config, id_, secret):
    """
    The master's files, ``{path: (text, mode)}``: what says how CLOUD is reached, as an operator's own clouds.yaml does.

    config:  the operator's own entry, as the SDK read it
    """
    same = ("region_name", "interface", "verify", "api_timeout")
    entry = {key: config[key] for key in same if config.get(key) is not None}
    keys = {"application_credential_id": id_, "application_credential_secret": secret}
    entry |= {"auth_type": "v3applicationcredential", "auth": {"auth_url": config["auth"]["auth_url"], **keys}}
    found = {}
    if config.get("cacert"):
        entry["cacert"] = CA
        found[CA] = (Path(config["cacert"]).expanduser().read_text(), 0o644)
    # JSON, which is YAML too: enrolment reads it where there's no more than Python
    return found | {MASTERS_OWN: (json.dumps({"clouds": {cloud: entry}}, indent=2) + "\n", 0o600)}


def named(connection, environment):
    """This user's application credentials of the name that an environment's master has: one at most, of any project."""
    name = f"{environment}-master"
    found = connection.identity.application_credentials(connection.current_user_id, name=name)
    return [it for it in found if it.name == name]


def is_of(connection, environment, credential):
    """Whether an application credential of that name is an environment's in this project, by our mark."""
    ours = mark.of(credential["description"])[0] == environment
    return ours and credential["project_id"] == connection.session.get_project_id()


class Giver:
    """Looks at the credential of an environment's master in the cloud, and makes it."""

    def __init__(self, connection, environment, called):
        """CALLED: what the cloud's name is to the master, which has no shell to say otherwise."""
        self.connection, self.environment, self.called = connection, environment, called
        self.name = f"{environment}-master"
        self.user = connection.current_user_id
        self.access = connection.session.auth.get_access(connection.session)
        own = self.access.application_credential if self.access.application_credential_id else {}
        self.may_make = not own.get("restricted")
        types = {service["type"] for service in self.access.service_catalog.catalog}
        self.rules = rules(types, lock.record_id(connection, environment))

    def unfit(self, id_, log_in):
        """
        Why the credential with that id, None where the master has none, is to be made anew; "" where it isn't.

        log_in:  what Keystone says of it to the master itself, None if it's refused there; raises IdrError where
                 that can't be known. Asked of another operator's, which only they and it can look at.
        """
        if not id_:
            return "it has none"
        there = next((it for it in self._ours() if it["id"] == id_), None)
        if there is None:
            try:
                there = log_in()
            except IdrError:
                return ""  # the cloud is out of the master's reach: nothing that a new one would mend
        if there is None:
            return "its own isn't in the cloud any more"
        return "" if rules_of(there) == self.rules else "its own is for other calls"

    def problems(self):
        """Why it can't be made, one line each."""
        found = []
        if not self.may_make:
            found.append(
                "your own application credential may not make the master's: put a password in clouds.yaml, or an "
                "application credential made with --unrestricted"
            )
        if not self._role():
            found.append(
                f"you haven't the role {ROLES[0]} in this project, which the master's credential is to have "
                f"(you have {', '.join(self.access.role_names)})"
            )
        for it in self._named():
            if it not in self._ours():
                found.append(
                    f"you have an application credential {self.name} that isn't of {self.environment} in this project "
                    f"({it['description'] or 'without a description'}): make another of it, and delete that one"
                )
        return found

    def make(self):
        """Make it in the place of one that was there, and try it; returns what ``files`` does."""
        try:
            for it in self._ours():
                self._delete(it["id"])
            made = self._make()
            found = files(self.called, self.connection.config.config, made["id"], made["secret"])
            self._try(made)
            return found
        except ERRORS as error:
            raise IdrError(f"application credential {self.name}: {told(error)}") from error

    def _named(self):
        if not self.may_make:
            return []  # it may not look at others either, where its own rules don't say so
        try:
            return named(self.connection, self.environment)
        except ERRORS as error:
            raise IdrError(f"application credentials: {told(error)}") from error

    def _ours(self):
        return [it for it in self._named() if is_of(self.connection, self.environment, it)]

    def _role(self):
        return next((role for role in self.access.role_names if role.lower() in ROLES), None)

    def _make(self):
        asked = {
            "name": self.name,
            "description": f"{mark.description(self.environment)}; its master's, to see and to snapshot",
            "roles": [{"name": self._role()}],
            "access_rules": [
                {"service": service, "method": method, "path": path} for service, method, path in sorted(self.rules)
            ],
            "unrestricted": False,
        }
        # past the SDK's own function, which at level debug would log the answer with the secret in it
        where = f"/users/{self.user}/application_credentials"
        answer = self.connection.identity.post(where, json={"application_credential": asked}, log=False)
        raise_from_response(answer)
        return answer.json()["application_credential"]

    def _try(self, made):
        """Read by it all that is read of a project; a cloud that isn't set up for access rules refuses everything."""
        config = self.connection.config.config
        [entry] = json.loads(files(self.called, config, made["id"], made["secret"])[MASTERS_OWN][0])["clouds"].values()
        if "cacert" in entry:
            entry["cacert"] = config["cacert"]
        try:
            inventory.facts(connect(self.called, entry))
        except IdrError as error:
            self._delete(made["id"])
            raise Refused([NO_RULES, *getattr(error, "problems", [error])]) from error

    def _delete(self, id_):
        self.connection.identity.delete_application_credential(self.user, id_)
