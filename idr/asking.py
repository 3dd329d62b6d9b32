"""How a master's runners ask its minions, through Salt."""

from contextlib import contextmanager

import salt.client
from salt.exceptions import SaltException

from idr.errors import IdrError


@contextmanager
def asking(opts):
    """
    What asks the minions of the master with that configuration: ``ask(servers, function, arguments, timeout)``, each
    one's answer, of those that gave one. Further arguments go by name.
    """
    with salt.client.LocalClient(mopts=opts) as client:

        def ask(servers, function, arguments, timeout, **named):
            try:
                said = client.cmd(
                    servers, function, arguments, tgt_type="list", full_return=True, timeout=timeout, kwarg=named,
                    gather_job_timeout=timeout,  # then who is at work is asked, and waited for
                )  # fmt: skip
            except SaltException as error:
                raise IdrError(f"this master can't ask its minions: {error}") from error
            # who doesn't answer gets a text put into the mouth, told from an error's only by this
            return {server: it["ret"] for server, it in said.items() if it and it.get("out") != "no_return"}

        yield ask
