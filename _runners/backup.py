"""What an operator types about backups."""

from idr.backup import listing, manifest, project
from idr.cloud import wanted
from idr.cloud.connection import connect
from idr.door import door

__load__ = ["list_", "show"]
__func_alias__ = {"list_": "list"}


@door
def list_(env=None, cloud=None, **kwargs):
    """
    List the backup sets of a cloud, the newest first: what each is good for, its size, whether it's verified or pinned.

    env:    only those of that environment, which needn't be there any more
    cloud:  its name in clouds.yaml; that of ``pillar/environment_defaults.sls`` unless given

    CLI Example:

    .. code-block:: bash

        salt-run backup.list
        salt-run backup.list idr
    """
    return {"data": listing.sets(_look(env, cloud), env), "outputter": "backup"}


@door
def show(set, cloud=None, **kwargs):
    """
    Show one backup set: its volumes with their snapshots, how long each was held still, and what was in it.

    set:    its id, as ``backup.list`` tells it
    cloud:  its name in clouds.yaml; that of ``pillar/environment_defaults.sls`` unless given

    CLI Example:

    .. code-block:: bash

        salt-run backup.show idr-20261125T030000Z
    """
    seen = _look(manifest.environment_of(set), cloud)
    return {"data": listing.told(seen.the(set), seen.held), "outputter": "backup"}


def _look(env, cloud):
    return project.look(connect(cloud or wanted.cloud_of(env or "")))
