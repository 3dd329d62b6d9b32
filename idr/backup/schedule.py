"""
When an environment's master takes a backup set by itself: at the hours that pillar says, while it's the live one.

So the one that is released starts with the first such hour, and the one that it replaced stops, without a file being
touched. What is live is looked up each time: nobody remembers it.
"""

from idr.cloud import inventory, live, wanted


def why_not(connect, environment, now):
    """
    Why no set of an environment is to be taken NOW; "" where one is.

    connect:  gives the connection to its cloud, which is only asked at those hours
    """
    hours = wanted.backup_hours(environment)
    if now.hour not in hours:
        return f"it's {now:%H:%M} UTC, and backup_hours of {environment} are {', '.join(map(str, hours)) or 'none'}"
    signs, _ = live.signs(inventory.facts(connect()), environment, wanted.public_name_of(environment))
    return "" if signs else f"{environment} isn't live"
