"""
The unit in which a scratch server looks at clones: begun over SSH, and asked how it goes on by idr/told_on_server.py.
Sent by itself with each call, as idr/on_server.py is.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

UNIT = "idr-verify.service"
HOME = Path("/run/idr-verify")  # what is run, what it's asked, what it tells; the volumes are mounted below it
LONGEST = "RuntimeMaxSec=3d"  # then it's ended


def begin(asked, _stream):
    """
    Begin to look at clones, in a unit that no lost link ends.

    files:  what is run, each file's text by its path: ``{"idr/verify/look.py": …}``
    asked:  as for ``look.look``
    """
    os.umask(0o022)  # the cluster's owner comes through here
    files = {**asked["files"], "asked.json": json.dumps(asked["asked"]), "told": "", "errors": ""}
    for path, text in files.items():
        (HOME / path).parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        (HOME / path).write_text(text)
    done = subprocess.run(
        ["systemd-run", "--quiet", "--collect", f"--unit={UNIT}", f"--working-directory={HOME}",
         f"--property={LONGEST}", "--property=OOMPolicy=stop", f"--property=StandardOutput=file:{HOME}/told",
         f"--property=StandardError=file:{HOME}/errors",
         "python3", "-m", "idr.verify.look", f"{HOME}/asked.json"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"systemd-run: exit {done.returncode}: {' '.join(done.stderr.split())}")


if __name__ == "__main__":
    doing = {function.__name__: function for function in (begin,)}[sys.argv[2]]
    print(json.dumps(doing(json.loads(sys.stdin.buffer.readline()), sys.stdin.buffer)))
