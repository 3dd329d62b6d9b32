"""Is an environment ready for a deploy? Every server is asked, and every answer that isn't a plain yes is a problem."""

from collections.abc import Iterable, Mapping


def problems(servers: Iterable[str], answers: Mapping[str, object]) -> list[str]:
    """
    What keeps an environment from a deploy, one line each, from its minions' answers to ``readiness.problems``.

    servers:  the ids of the environment's servers
    answers:  what each minion said, by id; a minion that isn't there didn't answer, and one that failed said a text
    """
    found = []
    for server in sorted(servers):
        answer = answers.get(server)
        if server not in answers or answer is False:
            found.append(
                f"{server}: its minion doesn't answer. Look at it: ssh {server} systemctl status salt-minion; "
                f"has it been enrolled?"
            )
        elif isinstance(answer, list):
            found += answer
        else:
            found.append(f"{server}: {str(answer).strip().splitlines()[-1]}")  # of a traceback, what it was about
    return found
