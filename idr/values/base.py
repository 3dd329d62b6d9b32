"""`base`: what every server has, its operators above all."""

from idr.values.kinds import account, each, mapping, rows, ssh_key, text, true_or_false, whole

OPERATOR = mapping(
    {
        # 1000 is the account that a cloud's image brings, and the number of the users in Jupyter's containers
        "fullname": text("a name of one line without : and ,", r"[^\s:,]([^:,\n]*[^\s:,])?"),
        "uid": whole(1001, 59999),
        "ssh_keys": each(ssh_key, least=1),
    }
)
SHAPE = mapping(
    {
        "journal_max_use": text("a size as systemd writes it, e.g. 1G", r"[1-9][0-9]*[KMGT]?"),
        "own_clock": true_or_false,
        "operators": rows(account, OPERATOR, "an operator's name"),
        "former_operators": each(account),
    }
)
# Accounts that systems, their packages or our states have: an operator of such a name would get theirs.
SYSTEM = set(
    """
    root daemon bin sys sync games man lp mail news uucp proxy backup list irc gnats nobody systemd-network
    systemd-resolve systemd-timesync messagebus sshd chrony dbus polkitd tss operator halt shutdown adm ftp
    debian rocky ubuntu www-data nginx postgres redis docker omero-server omero-web idr-data
    """.split()  # noqa: SIM905, a list of so many words isn't read
)


def rules(base, place, wrong):
    """What operators have to be besides well-formed."""
    uids, keys = {}, {}
    for name, operator in base["operators"].items():
        where = f"{place}.operators.{name}"
        if name in SYSTEM:
            wrong(where, "is the name of an account that the system has")
        if name in base["former_operators"]:
            wrong(where, "is also among former_operators: take it out of one of the two")
        if operator["uid"] in uids:
            wrong(f"{where}.uid", f"{operator['uid']} is also that of {uids[operator['uid']]}")
        elif operator["uid"]:
            uids[operator["uid"]] = name
        for key in operator["ssh_keys"]:
            if keys.setdefault(key, name) != name:
                wrong(f"{where}.ssh_keys", f"one of them is also a key of {keys[key]}")
    for number, name in enumerate(base["former_operators"]):
        if name in SYSTEM:
            wrong(f"{place}.former_operators[{number}]", f"{name} is an account that the system needs")
