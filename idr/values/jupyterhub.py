"""`docker` and `jupyterhub`: the analysis side's containers."""

from idr.values.kinds import anything, each, mapping, nothing_or, rows, single, source, source_hash, text, whole

ID = text("sha256: and 64 hexadecimal digits", r"sha256:[0-9a-f]{64}")
NAME = r"[a-z0-9][a-z0-9._/-]*(?::[0-9]+/[a-z0-9._/-]+)?"
PULLED = mapping({"name": text("an image's name without tag, e.g. quay.io/jupyterhub/jupyterhub", NAME), "digest": ID})
LOADED = mapping(
    {
        "name": text("an image's name with its tag, e.g. idr/jupyter:1", rf"{NAME}:[A-Za-z0-9_][A-Za-z0-9._-]*"),
        "id": ID,
        "source": source,
        "source_hash": source_hash,
    }
)


def _image(raw, place, wrong):
    """Pulled by its digest, or loaded from an archive and known by its id."""
    return (PULLED if isinstance(raw, dict) and "digest" in raw else LOADED)(raw, place, wrong)


def _cpus(raw):
    if isinstance(raw, bool) or not isinstance(raw, (int, float)) or raw <= 0:
        raise ValueError
    return raw


CLASS = text("an authenticator: its short name or the path of its class", r"[A-Za-z][A-Za-z0-9_.:-]*")
SETTING = text("a name of Python", r"[A-Za-z_][A-Za-z0-9_]*")
DOCKER = mapping({}, {"mtu": whole(576, 9216)})
SHAPE = mapping(
    {
        "hub_image": nothing_or(_image),
        "user_image": nothing_or(_image),
        "authenticator": mapping(
            {
                "class": nothing_or(CLASS),
                "config": rows(SETTING, rows(SETTING, anything, "a setting"), "an authenticator's class"),
            }
        ),
        "admins": each(text("the name of a user", r"[^\s'\"]+")),
        "limits": mapping(
            {
                "memory": text("memory as Docker writes it, e.g. 4G", r"[1-9][0-9]*[MG]"),
                "cpus": single("a number of processors above 0", _cpus),
                "pids": whole(16),
            }
        ),
        "cull": mapping({"idle_seconds": whole(60), "max_age_seconds": whole(0)}),
    }
)


def rules(jupyterhub, place, wrong):
    """What JupyterHub's values have to be besides well-formed."""
    images = {name: jupyterhub[name] for name in ("hub_image", "user_image")}
    for name, image in images.items():
        if image == {} and any(images.values()):
            wrong(f"{place}.{name}", "missing: JupyterHub needs both images")
    kind, config = jupyterhub["authenticator"]["class"], jupyterhub["authenticator"]["config"]
    if all(images.values()) and kind == "":
        wrong(f"{place}.authenticator.class", "missing: who may log in?")
    for name in (kind or "", *config):
        if "dummy" in name.lower():
            wrong(f"{place}.authenticator", f"{name} lets in anyone who knows a name")
    for name, settings in config.items():
        for setting in settings:
            if "secret" in setting.lower():
                wrong(
                    f"{place}.authenticator.config.{name}.{setting}",
                    "is a secret, and this pillar is shown: it goes to oauth_client_secret in the site's directory",
                )


def has_images(jupyterhub):
    """Whether there is a JupyterHub at all."""
    return bool(jupyterhub["hub_image"] and jupyterhub["user_image"])
