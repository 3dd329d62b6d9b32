"""The states of Salt itself keep what enrolment wrote, the same bytes: a first highstate changes nothing there."""

import pytest

from idr import enrolment
from tests.tables import IDR

FINGER = ":".join(["ab"] * 32)


@pytest.mark.parametrize("server", IDR.servers)
def test_states_and_enrolment_write_the_same_files(loaders, server, tmp_path):
    host = loaders(server)
    host.opts["master_finger"] = FINGER
    sls = ["salt_minion.configured"] + (["salt_master.configured"] if server == "idr-proxy" else [])
    managed = {}
    for name in sls:
        for chunk in host.modules.state.show_low_sls(name):
            if chunk["state"] == "file" and chunk["fun"] == "managed":
                managed[chunk["name"]] = chunk

    wanted = enrolment._files(IDR, IDR.servers[server], FINGER)

    assert managed.keys() == wanted.keys()
    for path, (text, mode) in wanted.items():
        chunk, written = managed[path], tmp_path / "written"
        if "source" in chunk:
            context = dict(chunk.get("context", {}))
            if "master_finger" in context:
                context["master_finger"] = FINGER
            host.modules.cp.get_template(chunk["source"], str(written), **context)
            assert written.read_text() == text, path
        else:
            assert chunk["contents"] + "\n" == text, path
        assert int(chunk["mode"], 8) == mode, path


def test_the_links_are_the_same(loaders):
    low = [
        chunk
        for sls in ("salt_minion.configured", "salt_master.configured")
        for chunk in loaders("idr-proxy").modules.state.show_low_sls(sls)
    ]

    assert {chunk["name"]: chunk["target"] for chunk in low if chunk["fun"] == "symlink"} == enrolment._links(True)
    assert IDR.proxy.id == "idr-proxy"
