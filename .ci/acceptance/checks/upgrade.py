"""A rolling restart of three nodes under a recorded load, from one program to another.

`ACCEPTANCE_PREVIOUS` is the program to upgrade from; without it, it is the same one."""

import json
import os
import pathlib
import subprocess
import time

from checks.chaos import SETTLE_SECONDS, judge, record, with_faults
from cluster import BINARY, ENVIRONMENT, Cluster, Refused, wait_until

PREVIOUS = pathlib.Path(os.environ.get("ACCEPTANCE_PREVIOUS", BINARY))
SECONDS = 40


def forms(binary):
    """What a program says about its forms: `wire 6, store 6, backup 1`. An old one may say nothing."""
    said = subprocess.run([str(binary), "--version"], capture_output=True, text=True, timeout=10, env=ENVIRONMENT)
    return dict(part.split() for line in said.stdout.splitlines()[1:] for part in line.split(", "))


def upgrade(node):
    """Restarts a node with the new program."""
    assert node.stop() == 0, node.log.read_text(errors="replace")[-2000:]
    node.binary = BINARY
    node.start()


def check_rolling_restart_under_load_loses_nothing():
    old, new = forms(PREVIOUS), forms(BINARY)
    assert new["wire"] and new["store"] and new["backup"], new
    with Cluster(3, ["--durability", "sync"], binary=PREVIOUS) as cluster:
        cluster.make_keyspace("later")
        if (old.get("wire"), old.get("store")) != (new["wire"], new["store"]):
            is_refused_and_goes_back(cluster, new)
            return
        recorded, restarts = cluster.folder / "recorded.jsonl", []
        load = record(cluster, recorded, SECONDS)
        try:
            time.sleep(3)
            for node in cluster.nodes:
                restarts.append({"process": "nemesis", "type": "info", "f": "kill", "value": "upgrade", "time": time.time_ns(), "node": node.name})
                upgrade(node)
                restarts.append({"process": "nemesis", "type": "info", "f": "start", "value": None, "time": time.time_ns(), "node": node.name})
                for other in cluster.nodes:
                    wait_until(f"{other.name} sees all alive and equal", lambda: settled(other), 30)
            said, noted = load.communicate(timeout=SECONDS + SETTLE_SECONDS + 60)
        finally:
            load.kill()
        assert load.returncode == 0, noted
        history = with_faults(recorded, restarts, cluster.folder / "history.jsonl")
        wrong = [judge(history, model) for model in ("register", "set", "counter", "hash", "session", "converge")]
        assert not any(wrong), "".join(wrong)
        assert json.loads(said.splitlines()[-1])["settled_s"] is not None


def settled(node):
    status = node.status()
    return all(other["state"] == "alive" for other in status["nodes"]) and status["ready"]


def is_refused_and_goes_back(cluster, new):
    """Programs of different forms cannot share a cluster. The new one says so and changes nothing."""
    node = cluster[2]
    assert cluster[0].call("CL", "ALL", "SET", "k", "v") == "OK"
    assert node.stop() == 0
    node.binary = BINARY
    try:
        node.start()
    except Refused as refused:
        assert "format" in refused.said and f"this program reads format {new['store']}" in refused.said, refused.said
    else:
        raise AssertionError("it read a store of another form")
    node.binary = PREVIOUS
    node.start()
    cluster.wait_converged(30)
    assert node.call("CL", "ALL", "GET", "k") == b"v"
