"""An environment's lock for what is done to its backups alone, also after the environment itself is gone."""

from contextlib import contextmanager, suppress

from idr.cloud import lock, mark


@contextmanager
def held(cloud, seen, environment, purpose, broken):
    """
    The environment's lock, as ``lock.held`` gives it. The record that is made for one that is gone doesn't stay.

    seen:     the Facts of the project
    purpose:  the function of the backup runner: ``prune``
    broken:   the holder of a lock that is to be broken
    """
    run = mark.new_run()
    with lock.held(cloud, environment, run, purpose, broken, typed=f"backup.{purpose} {environment}") as mine:
        try:
            yield mine
        finally:
            if not stands(seen, environment):
                with suppress(lock.Lost):
                    mine.remove()
            elif mine.unfinished == run:  # its record was lost and is made anew, and nothing of it is unfinished
                with suppress(lock.Lost):
                    mine.finish()


def stands(seen, environment):
    """Whether there's anything of an environment but its record, volumes and snapshots."""
    kinds = ("network", "router", "port", "server")
    groups = [it for it in seen.of(environment, "group") if it.name != environment]
    return bool(groups) or any(seen.of(environment, kind) for kind in kinds)
