"""What its cloud is told of a server that was enrolled: from then on, the keys known under its name are its own."""

import time

from idr.cloud import lock, mark
from idr.cloud.connection import ERRORS, told
from idr.cloud.inventory import facts
from idr.cloud.making import sent
from idr.errors import IdrError


def say(cloud, environment):
    """Have every server of an environment say that it's enrolled."""
    try:
        for server in facts(cloud).of(environment, "server"):
            if not mark.is_enrolled(server):
                _say(cloud, server.id)
    except ERRORS as error:
        raise IdrError(told(error)) from error


def not_yet(cloud, environment):
    """The names of an environment's servers that were made and not enrolled since."""
    try:
        return {it.name for it in facts(cloud).of(environment, "server") if not mark.is_enrolled(it)}
    except ERRORS as error:
        raise IdrError(told(error)) from error


def _say(cloud, id_):
    sent(lambda: cloud.compute.set_server_metadata(id_, idr_enrolled=lock.moment()), lambda: None, time.sleep)
