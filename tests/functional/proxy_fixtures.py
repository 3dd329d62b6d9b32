"""Fixtures of the tests that ask a proxy; a file of tests names this module in `pytest_plugins`."""

import pytest

from tests.functional.proxy_host import ProxyHost, failed


def proxy_opts(opts, stub):
    """The options of a proxy's minion whose volume is there already."""
    (stub / "storage").mkdir()
    (stub / "storage" / "mounted.sls").write_text("the cache volume is mounted:\n  test.nop\n")
    return {**opts, "file_roots": {"base": [str(stub), *opts["file_roots"]["base"]]}}


@pytest.fixture(scope="module")
def proxy_applied(_loaders_made, tmp_path_factory):
    """A proxy with its states applied and nginx running, one for each file of tests."""
    opts = proxy_opts(_loaders_made("idr-proxy", "Debian", False).opts, tmp_path_factory.mktemp("roots"))
    with ProxyHost(opts, tmp_path_factory.mktemp("world")) as host:
        assert not failed(host.salt("state.apply", "nginx.configured"))
        host.start()
        yield host


@pytest.fixture
def proxy(proxy_applied):
    """The proxy, with a back end that works."""
    proxy_applied.answering()
    return proxy_applied


@pytest.fixture
def configured(proxy):
    """The proxy with other pillar, for one test: ``configured(jupyter={'enabled': True})``."""

    def configure(**pillar):
        assert not failed(proxy.salt("state.apply", "nginx.configured", pillar={"nginx": pillar}))
        proxy.reload()
        return proxy

    yield configure
    configure()
