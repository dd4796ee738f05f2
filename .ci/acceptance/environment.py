"""What the machine offers to the checks: other people's clients, and privileges."""

import contextlib
import os
import pathlib
import shutil
import subprocess
import tempfile

from cluster import ROOT

TOOLS = ROOT / "target/acceptance"


class NotPossible(Exception):
    """This machine does not allow the check; it counts neither as passed nor as failed, and is named at the end."""


def client(name):
    """The path of a program that `.ci/acceptance/run` installs. Its absence is a failure, not an excuse."""
    path = shutil.which(name)
    assert path, f"{name} is not installed: see what .ci/acceptance/run said about it"
    return path


def node_modules():
    path = TOOLS / "npm/node_modules"
    assert (path / "redis").is_dir(), "node-redis is not installed: see what .ci/acceptance/run said about it"
    return path


def preload():
    """The library that makes a node's clock wrong and its disk slow: see preload.c."""
    built = TOOLS / "preload.so"
    source = ROOT / ".ci/acceptance/preload.c"
    if not built.exists() or built.stat().st_mtime < source.stat().st_mtime:
        TOOLS.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(built), str(source), "-ldl"], check=True)
    return built


@contextlib.contextmanager
def small_disk(megabytes):
    """A folder on a file system of its own with so much space."""
    if os.geteuid() != 0:
        raise NotPossible("mounting a small file system needs root")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="quorate-small-disk-"))
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)], capture_output=True, text=True)
    try:
        if mounted.returncode != 0:
            raise NotPossible(f"mount failed: {mounted.stderr.strip()}")
        yield folder
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", str(folder)], check=True)
        folder.rmdir()
