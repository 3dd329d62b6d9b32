"""
The cache of a new environment warmed: what of it, a clone of the old one's, its OMERO may answer otherwise is fetched
anew, by ``nginx_cache.refresh`` on its proxy, with its brake, in a unit of its master that no lost terminal ends.
"""

from idr import at_master
from idr.errors import Refused

URLS = "/var/lib/idr/warm.urls"
UNIT, ACTION = "idr-warm.service", "nginx_cache/refresh"
ASKED = 120  # seconds after which the master asks the proxy whether it's still at it, and again after as many
KEYS, REFRESH = "nginx_cache.keys", "nginx_cache.refresh"


def warm(env, folder, expressions, again, tell):
    """
    Have what these expressions find in the keys of an environment's cache fetched anew; what the refresh returned.

    folder:  the operator's site directory
    again:   the command that goes on with it, where it's out of sight
    tell:    is told one line of progress at a time

    Refused where some is left since OMERO doesn't bear it: the next one goes on from there. What OMERO hasn't got any
    more is told, and keeps nothing from going on.
    """
    proxy = f"{env}-proxy"
    listed = at_master.execute(env, folder, proxy, KEYS, regexes=list(expressions), file=URLS)
    tell(f"{listed['urls']} pages of the cache may be others now: each is fetched anew")
    words = [*at_master.executing(proxy, REFRESH, file=URLS), f"timeout={ASKED}"]
    done = at_master.executed(at_master.run(env, folder, words, UNIT, ACTION, tell, again), proxy, REFRESH)
    if done["left"]:
        left = f"{done['left']} of {done['urls']} pages are left"
        raise Refused([f"{proxy}: {done['stopped']} ({left})"], "not warmed yet")
    return done
