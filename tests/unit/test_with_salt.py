"""What a server tells of its rehearsed highstate, and never tells."""

import pytest

from idr import with_salt


def state(number, **kwargs):
    return {"__id__": f"state {number}", "__run_num__": number, "name": "/etc/x", "result": True, "comment": "it is",
            "changes": {}, **kwargs}  # fmt: skip


def test_what_stays_as_it_is_isnt_told_and_the_rest_in_its_order():
    said = {
        "c": state(3, result=None, comment="Service is set to be restarted"),
        "a": state(1),
        "b": state(2, result=None, changes={"diff": "--- \n+++ \n+one\n"}),
        "d": state(4, result=None, changes={"jq": {"old": "", "new": "1.6"}}),
        "e": state(5, result=True, changes={"ran": True}),
    }

    told = [(one["id"], one["would"], one["fails"]) for one in with_salt.told(said)]

    assert told == [
        ("state 2", "--- \n+++ \n+one\n", ""),
        ("state 3", "Service is set to be restarted", ""),
        ("state 4", "jq:\n  new: '1.6'\n  old: ''\n", ""),
        ("state 5", "ran: true\n", ""),
    ]


def test_a_failure_is_told_and_what_only_follows_from_it_isnt():
    said = {
        "a": state(1, result=False, comment="No such file"),
        "b": state(2, result=False, comment="One or more requisite failed: x.y"),
    }

    assert [(one["id"], one["fails"]) for one in with_salt.told(said)] == [("state 1", "No such file")]


@pytest.mark.parametrize("said", [["Rendering SLS 'base:nginx' failed", "second"], "Pillar failed to render"])
def test_states_that_dont_render_fail(said):
    [one] = with_salt.told(said)

    assert one["id"] == "highstate" and one["fails"].splitlines()[0] == (said if isinstance(said, str) else said[0])


@pytest.mark.parametrize(
    ("said", "lines"),
    [
        (["Rendering SLS failed"], ["Rendering SLS failed"]),
        ("The state run is already in progress", ["The state run is already in progress"]),
        (
            {
                "b": state(1, result=False, comment="One or more requisite failed: a"),
                "a": state(0, result=False, comment="it isn't blank"),
                "c": state(2),
            },
            ["state 0: it isn't blank"],
        ),
    ],
)
def test_of_states_that_were_applied_only_what_failed_by_itself_is_told(said, lines):
    assert with_salt.failures(said) == lines


def test_no_secret_of_the_pillar_is_in_what_leaves_the_server():
    secrets = {"database": {"password": "correct horse"}, "tls": {"privkey": "-----BEGIN KEY-----\nMIIEvQIBADANBg\n"},
               "omero": {"public_password": "public"}, "more": ["staple battery"]}  # fmt: skip
    words = sorted(with_salt.words(secrets), key=len, reverse=True)
    said = [{"id": "x", "would": "+password=correct horse;\n+  MIIEvQIBADANBg\n", "fails": "staple battery is wrong"},
            {"id": "omero.web.public", "would": "", "fails": ""}]  # fmt: skip

    assert with_salt.masked(said, words) == [
        {"id": "x", "would": "+password=*****;\n+  *****\n", "fails": "***** is wrong"},
        {"id": "omero.web.public", "would": "", "fails": ""},
    ]


def test_a_secret_that_another_begins_with_doesnt_leave_its_end():
    assert with_salt.masked("longer secret", sorted({"longer ", "longer secret"}, key=len, reverse=True)) == "*****"


def test_who_doesnt_take_the_modules_is_named():
    fine = {"saltutil.sync_modules": ["modules.b", "modules.a"], "saltutil.sync_states": []}
    nothing = {"saltutil.sync_modules": [], "saltutil.sync_states": []}

    assert with_salt.brought(["x", "y"], {"x": fine, "y": nothing}) == {"x": ["modules.a", "modules.b"]}
    with pytest.raises(SystemExit, match="^y, z didn't take this release's modules within 60 s"):
        with_salt.brought(["z", "x", "y"], {"x": fine})
    with pytest.raises(SystemExit, match="^y can't take this release's modules: Error: no space"):
        broken = {**nothing, "saltutil.sync_states": "Traceback\nError: no space"}
        with_salt.brought(["x", "y"], {"x": fine, "y": broken})
