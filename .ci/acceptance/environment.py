"""What the machine provides for the checks: third-party clients, and privileges."""

import contextlib
import os
import pathlib
import shutil
import subprocess
import tempfile

from cluster import ROOT

TOOLS = ROOT / "target/acceptance"


class NotPossible(Exception):
    """The machine does not allow this check. It counts as neither passed nor failed, and is listed at the end."""


def client(name):
    """The path of a program that `.ci/acceptance/run` installs. If it is missing, the check fails."""
    path = shutil.which(name)
    assert path, f"{name} is not installed: see what .ci/acceptance/run said about it"
    return path


def promtool():
    """The path of Prometheus' own checker of metrics and rules."""
    path = TOOLS / "prometheus/usr/bin/promtool"
    return str(path) if path.exists() else client("promtool")


def node_modules():
    path = TOOLS / "npm/node_modules"
    assert (path / "redis").is_dir(), "node-redis is not installed: see what .ci/acceptance/run said about it"
    return path


def preload():
    """Builds the library that sets a node's clock wrong and slows its disk down: see preload.c."""
    built = TOOLS / "preload.so"
    source = ROOT / ".ci/acceptance/preload.c"
    if not built.exists() or built.stat().st_mtime < source.stat().st_mtime:
        TOOLS.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(built), str(source), "-ldl"], check=True)
    return built


@contextlib.contextmanager
def small_disk(megabytes):
    """A folder on a file system of its own, `megabytes` large."""
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
