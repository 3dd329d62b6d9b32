"""JupyterHub as its users meet it: a page that answers."""

import json
import subprocess
import time
import urllib.error
import urllib.request

URL = "http://127.0.0.1:8000/jupyter/hub/api/"  # through the proxy of the hub's container, as users come


def __virtual__():
    return "jupyterhub"


def answers(name, wait=120):
    """
    JupyterHub answers, through the way that its users take.

    wait: seconds until one that doesn't answer fails, with the end of its journal; one that falls again and again does
          so at once

    .. code-block:: yaml

        JupyterHub answers:
          jupyterhub.answers:
            - wait: 120
    """
    end = time.monotonic() + wait
    while True:
        try:
            with urllib.request.urlopen(URL, timeout=10) as answer:
                version = json.load(answer)["version"]
            return _state(name, True, f"JupyterHub {version} answers")
        except (OSError, ValueError) as failure:
            problem = getattr(failure, "reason", failure)
        if __opts__["test"]:
            return _state(name, None, f"JupyterHub doesn't answer now ({problem}) and would be waited for")
        if time.monotonic() >= end or _restarts() > 2:
            journal = subprocess.run(
                ["journalctl", "--unit=docker-jupyterhub", "--lines=15", "--output=cat", "--no-pager"],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            return _state(name, False, f"JupyterHub doesn't answer: {problem}\n{journal.stdout}")
        time.sleep(1)


def _restarts():
    """How often systemd has started it again since somebody last did."""
    asked = ["systemctl", "show", "--property=NRestarts", "--value", "docker-jupyterhub"]
    return int(subprocess.run(asked, capture_output=True, text=True, check=False).stdout or 0)


def _state(name, result, comment):
    return {"name": name, "result": result, "comment": comment, "changes": {}}
