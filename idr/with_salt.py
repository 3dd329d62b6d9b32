"""
What is asked of Salt itself on a server, run there by Salt's own Python.

Like idr/on_server.py this file isn't installed but sent over SSH with each call, followed by one line of JSON.
"""

import fcntl
import json
import logging
import os
import sys

REHEARSALS = "/var/cache/salt/rehearsal"
FILE_ROOT = "/srv/idr/current/salt"
SYNC = 60  # seconds
LOGIN = 15  # seconds
SHORTEST = 7  # characters of a secret; the analysis side's password `public` is a word of every OMERO setting
CONSEQUENCE = "One or more requisite failed"  # of a state that fails because another one does


def rehearse(asked):
    """
    What a highstate would do here: ``[{"id", "name", "would": text, "fails": text}]`` of every state that would
    change something or fail, in their order.

    saltenv:  ``base``, what is deployed, or ``next``, the commit that is to be

    Modules and states are those of that commit, in a cache of its own: the minion and its modules don't notice.
    """
    import salt.client
    import salt.config

    place = f"{REHEARSALS}/{asked['saltenv']}"
    os.makedirs(place, mode=0o700, exist_ok=True)
    with open(f"{place}/lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        opts = salt.config.minion_config("/etc/salt/minion", cache_minion_id=False)
        own = {"cachedir": place, "extension_modules": f"{place}/extmods", "utils_dirs": [f"{place}/extmods/utils"]}
        # Salt's own way of loading modules asks for 18 kinds of them: half of the time of it all
        opts.update(own, saltenv=asked["saltenv"], pillarenv=asked["saltenv"], autoload_dynamic_modules=False)
        minion = salt.client.Caller(mopts=opts)
        files = minion.cmd("cp.list_master", saltenv=asked["saltenv"], prefix="_")
        for kind in sorted({path.split("/")[0] for path in files}):
            minion.cmd(f"saltutil.sync{kind}", saltenv=asked["saltenv"], refresh=False)
        said = minion.cmd("state.highstate", test=True)
        secrets = sorted(words(minion.sminion.opts["pillar"].get("secrets", {})), key=len, reverse=True)
    return masked(told(said), secrets)


def told(said):
    """What a rehearsed highstate said, without what stays as it is."""
    if not isinstance(said, dict):  # it didn't come to its states: a list of what is wrong with them
        lines = said if isinstance(said, list) else [said]
        return [{"id": "highstate", "name": "", "would": "", "fails": "\n".join(map(str, lines))}]
    found = []
    for state in sorted(said.values(), key=lambda state: state["__run_num__"]):
        # one that Salt makes up itself, e.g. of an empty top file, has no id
        about = {"id": state.get("__id__", state["name"]), "name": state["name"], "would": "", "fails": ""}
        if state["result"] is False:
            if not state["comment"].startswith(CONSEQUENCE):
                found.append({**about, "fails": state["comment"]})
        elif state["result"] is None or state["changes"]:
            found.append({**about, "would": _change(state["changes"]) or state["comment"]})
    return found


def _change(changes):
    """A state's changes as text: a diff as it is, anything else as YAML."""
    import salt.utils.yaml

    if not changes:
        return ""
    if isinstance(changes, dict) and isinstance(changes.get("diff"), str):
        return changes["diff"]
    return salt.utils.yaml.safe_dump(json.loads(json.dumps(changes, default=str)), default_flow_style=False)


def words(secrets):
    """Every text in a pillar's secrets that could be recognised elsewhere; of a longer one each line."""
    if isinstance(secrets, dict):
        return {word for value in secrets.values() for word in words(value)}
    if isinstance(secrets, list):
        return {word for value in secrets for word in words(value)}
    return {line.strip() for line in str(secrets).splitlines() if len(line.strip()) >= SHORTEST}


def masked(value, secrets):
    """VALUE without the secrets in its texts."""
    if isinstance(value, dict):
        return {name: masked(inner, secrets) for name, inner in value.items()}
    if isinstance(value, list):
        return [masked(inner, secrets) for inner in value]
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, "*****")
    return value


def mount(_asked):
    """Have this server's data volumes mounted, as its role does; returns what kept one from it, a line each."""
    import salt.client
    import salt.config

    minion = salt.client.Caller(mopts=salt.config.minion_config("/etc/salt/minion", cache_minion_id=False))
    return failures(minion.cmd("state.apply", "storage.mounted"))


def failures(said):
    """What failed of states that were applied, and why, a line each."""
    if not isinstance(said, dict):  # it didn't come to its states
        return [str(line) for line in (said if isinstance(said, list) else [said])]
    states = sorted(said.values(), key=lambda state: state["__run_num__"])
    wrong = [state for state in states if state["result"] is False and not state["comment"].startswith(CONSEQUENCE)]
    return [f"{state['__id__']}: {state['comment']}" for state in wrong]


def answering(asked):
    """Which of these minions answer the master now, within so many seconds; a silent one takes twice as long."""
    answers = _ask(asked["minions"], ["test.ping"], asked["seconds"], gather_job_timeout=asked["seconds"])
    return sorted(id_ for id_, answer in answers.items() if answer == {"test.ping": True})


def sync(asked):
    """Bring the minions this release's own modules; returns what each got that it hadn't."""
    # of the kinds that there are: sync_all asks for 18 of them, each with a login at the master
    kinds = [f"saltutil.sync{folder}" for folder in sorted(os.listdir(FILE_ROOT)) if folder.startswith("_")]
    return brought(asked["minions"], _ask(asked["minions"], kinds, SYNC))


def brought(minions, answers):
    """What each minion got, from its answers by function; ends with who didn't answer, or couldn't."""
    silent = sorted(set(minions) - answers.keys())
    if silent:
        sys.exit(f"{', '.join(silent)} didn't take this release's modules within {SYNC} s")
    got = {}
    for id_, said in answers.items():
        for names in said.values() if isinstance(said, dict) else [said]:
            if not isinstance(names, list):
                sys.exit(f"{id_} can't take this release's modules: {str(names).strip().splitlines()[-1]}")
            got[id_] = sorted([*got.get(id_, ()), *names])
    return {id_: names for id_, names in got.items() if names}


def log_in(asked):
    """What Keystone says of the application credential in that clouds.yaml of ours; None if it doesn't know it."""
    from keystoneauth1 import exceptions, session
    from keystoneauth1.identity import v3

    with open(asked["file"]) as file:
        [cloud] = json.load(file)["clouds"].values()
    verify = cloud.get("cacert") or cloud.get("verify", True)
    credential = v3.ApplicationCredential(**cloud["auth"])
    try:
        return credential.get_access(session.Session(verify=verify, timeout=LOGIN)).application_credential
    except (exceptions.Unauthorized, exceptions.NotFound):
        return None
    except exceptions.ClientException as error:
        sys.exit(str(error))


def _ask(minions, functions, seconds, **patience):
    """What each minion answered within that time, by id and function; who is silent isn't in it."""
    import salt.client

    with salt.client.LocalClient() as client:
        return client.cmd(minions, functions, [[] for _ in functions], tgt_type="list", timeout=seconds, **patience)


if __name__ == "__main__":
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a module prints is no part of the answer
    logging.disable(logging.CRITICAL)
    doing = {function.__name__: function for function in (rehearse, mount, answering, sync, log_in)}[sys.argv[2]]
    print(json.dumps(doing(json.loads(sys.stdin.buffer.readline()))), file=answer, flush=True)
    os._exit(0)  # Salt's threads and sockets may take their time to end
