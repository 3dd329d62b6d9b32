"""What has to be there before anything can be made, and room for it: image, flavors, zone, quotas."""

from idr.cloud import servers

UNITS = {"ram": "MB", "gigabytes": "GB"}


def image(draft):
    """The id of the image that servers are made from, None with a problem; not asked for where none is made."""
    if not servers.to_be_made(draft):
        return None
    wanted = draft.wanted.image
    found = [each for each in draft.facts.all("image") if wanted in (each.name, each.id)]
    active = [each for each in found if each.what["status"] == "active"]
    if not found:
        draft.problems.append(f"vm_image: this cloud has no image {wanted}: openstack image list")
    elif len(active) != 1:
        which = ", ".join(f"{each.id} ({each.what['status']})" for each in found)
        draft.problems.append(f"vm_image: {wanted} has to be one active image, and is {which}: say one by its id")
    return active[0].id if len(active) == 1 else None


def flavors(draft, image):
    """The flavors that servers are made with, by the names they're wanted by; those that are missing are problems."""
    images = {each.id: each.what for each in draft.facts.all("image")}
    found = {}
    for name in sorted({server.flavor for server in servers.to_be_made(draft)}):
        flavor = next((each for each in draft.facts.all("flavor") if name in (each.name, each.id)), None)
        if flavor is None:
            known = ", ".join(sorted(each.name for each in draft.facts.all("flavor"))) or "none"
            draft.problems.append(f"flavor {name}: this cloud hasn't got it (vm_flavour…); it has {known}")
            continue
        found[name] = flavor
        for key, least, unit in (("disk", "min_disk", "GB"), ("ram", "min_ram", "MB")):
            needs = (images.get(image, {}).get(least) or 0) if image else 0
            if 0 < flavor.what[key] < needs:
                draft.problems.append(f"flavor {name} has {flavor.what[key]} {unit} of {key}; the image needs {needs}")
    return found


def quotas(draft):
    """Problems for everything that the project hasn't room for."""
    draft.problems += shortages(draft.needed, draft.facts)


def shortages(needed, facts):
    """A line for each quota that hasn't room, what is needed beside what is free."""
    found = []
    for name, more in sorted(needed.items()):
        limit, used = facts.quotas.get(name, (-1, 0))
        if more and limit >= 0 and used + more > limit:
            unit = f" {UNITS[name]}" if name in UNITS else ""
            found.append(
                f"quota of {name}: {more}{unit} needed, {max(limit - used, 0)}{unit} free ({used} of {limit} used): "
                f"have it raised, or remove what nobody needs"
            )
    return found
