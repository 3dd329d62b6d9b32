"""What a plan, and what was done to an environment, comes to, as a runner tells it: plain data."""


def of_plan(how, problems=()):
    """
    Whether a plan can be carried out, and by what.

    how:  the command that does it; empty where there's nothing to change
    """
    if problems:
        return {"result": False, "comment": "a plan that is blocked, nothing was changed", "problems": list(problems)}
    comment = f"a plan, nothing was changed. To do it: {how}" if how else "nothing to change"
    return {"result": True, "comment": comment}


def of_removal(plan, comment):
    """What was removed, by the plan of it."""
    answer = {"result": True, "comment": comment, "done": [str(step) for step in plan.steps]}
    return answer | ({"notes": list(plan.notes)} if plan.notes else {})


def of_apply(env, applied):
    """What an apply did: in the cloud, and as an update does on the servers."""
    answer = {"result": True, "comment": f"{env}: nothing to change"}
    done = [str(step) for step in applied.plan.steps] + (applied.enrolled or [])
    if done:
        answer["comment"] = f"{env} is as it should be"
    if applied.updated:
        answer |= of_update(env, applied.updated) if applied.updated.deployed or not done else {}
    done += applied.updated.steps if applied.updated else []
    return answer | {"calls": applied.calls} | ({"done": done} if done else {})


def of_update(env, done, how=None):
    """
    What an update did or would do.

    how:  the command that does it, where it's a plan
    """
    rehearsal, deployed = done.rehearsal, done.deployed
    answer = {"result": True, "comment": f"{env}: nothing to change"}
    if done.commits:
        answer["commits"] = done.commits
    if done.steps:
        answer["plan" if how else "done"] = done.steps
    if deployed:
        answer["changed"] = deployed.changed
        answer["report"] = f"{env}-proxy:{deployed.report}"
        answer["comment"] = f"{env} is deployed"
        if deployed.failed:
            answer |= {"result": False, "comment": f"the deploy of {env} failed", "problems": deployed.failed}
        return answer
    if done.steps and not how:
        answer["comment"] = f"{env} has this commit; its servers have nothing to change"
    elif not (rehearsal.is_empty and not done.steps):
        answer["comment"] = f"a plan, nothing that serves was changed. To do it: {how}"
        if rehearsal.would:
            answer["changes"] = rehearsal.would
        if rehearsal.new:
            answer["new"] = [f"{id_}: nothing was ever deployed on it" for id_ in rehearsal.new]
        if rehearsal.fails:
            answer |= {"result": False, "comment": "a plan that wouldn't succeed", "failing": rehearsal.fails}
    return answer
