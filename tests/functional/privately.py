"""Namespaces of a test's own, in which it may cover /etc and /var/lib, mount what it likes, and listen on any port."""

import contextlib
import ctypes
import os
import subprocess

CLONE_FS = 0x00000200
CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000
STAND_INS = os.path.join(os.path.dirname(__file__), "stand_ins")
libc = ctypes.CDLL(None, use_errno=True)


def _call(function, *arguments):
    if function(*arguments):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@contextlib.contextmanager
def _own(kind, flag):
    outside = os.open(f"/proc/self/ns/{kind}", os.O_RDONLY)
    try:
        _call(libc.unshare, flag)
        yield
    finally:
        _call(libc.unshare, CLONE_FS)  # what a thread that hasn't quite ended shares, which setns refuses
        _call(libc.setns, outside, flag)
        os.close(outside)


@contextlib.contextmanager
def private_mounts():
    """Nothing mounted inside is seen outside, and all of it is gone at the end."""
    with _own("mnt", CLONE_NEWNS):
        run("mount", "--make-rprivate", "/")
        yield


@contextlib.contextmanager
def private_network():
    """A network with nothing but loopback."""
    with _own("net", CLONE_NEWNET):
        run("ip", "link", "set", "lo", "up")
        yield


def run(*command, **options):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True, **options).stdout


def shadow(scratch, *directories):
    """What is written below these directories is lost at the end of the mount namespace, and never seen outside."""
    scratch.mkdir(parents=True, exist_ok=True)
    run("mount", "-t", "tmpfs", "shadow", scratch)
    for number, directory in enumerate(directories):
        upper, work = scratch / f"{number}-upper", scratch / f"{number}-work"
        upper.mkdir()
        work.mkdir()
        options = f"lowerdir={directory},upperdir={upper},workdir={work}"
        run("mount", "-t", "overlay", "-o", options, "shadow", directory)
