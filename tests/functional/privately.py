"""A mount namespace of the test's own, in which it may cover /etc and /var/lib and mount what it likes."""

import contextlib
import ctypes
import os
import subprocess

CLONE_NEWNS = 0x00020000
STAND_INS = os.path.join(os.path.dirname(__file__), "stand_ins")
libc = ctypes.CDLL(None, use_errno=True)


def _call(function, *arguments):
    if function(*arguments):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@contextlib.contextmanager
def private_mounts():
    """Nothing mounted inside is seen outside, and all of it is gone at the end."""
    outside = os.open("/proc/self/ns/mnt", os.O_RDONLY)
    try:
        _call(libc.unshare, CLONE_NEWNS)
        run("mount", "--make-rprivate", "/")
        yield
    finally:
        _call(libc.setns, outside, CLONE_NEWNS)
        os.close(outside)


def run(*command, **options):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True, **options).stdout


def cover(scratch, *directories):
    """Put an empty directory over each of these, made where missing."""
    for directory in directories:
        own = scratch / directory.strip("/").replace("/", "-")
        own.mkdir()
        os.makedirs(directory, exist_ok=True)
        run("mount", "--bind", own, directory)
