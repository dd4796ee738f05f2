"""Locks on real processes: a holder that is stopped, a leader that is killed, a command that loses its lease."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request

from cluster import BINARY, ENVIRONMENT, Cluster, wait_until
from resp import ReplyError


def acquire(node, key, *words, timeout=30.0):
    answer = node.call("LOCK.ACQUIRE", key, *words, timeout=timeout)
    return None if answer is None else int(answer[0])


def survives(what, attempt, seconds=15):
    """Repeats what fails only because a leader is being elected."""
    found = []

    def tried():
        try:
            found.append(attempt())
            return True
        except (ReplyError, OSError):
            return False

    wait_until(what, tried, seconds)
    return found[0]


def leader_of(cluster):
    """The node that leads, as the status says. The groups have the same voters, and usually one leader."""
    leaders = []
    wait_until("somebody leads", lambda: leaders.append(cluster[0].status()["leader"]) or leaders[-1], 10)
    return next(node for node in cluster.nodes if leaders[-1].split("@")[0] == node.name)


def lock(node, key, *flags, command):
    arguments = [str(BINARY), "lock", key, "--http", node.ready["http"], *flags, "--", *command]
    return subprocess.Popen(arguments, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def check_a_stopped_holder_loses_its_lock():
    """The old token is worth nothing once somebody else holds the lock, through every node."""
    with Cluster(3) as cluster:
        a, b, c = cluster.nodes
        with tempfile.TemporaryDirectory() as folder:
            told = pathlib.Path(folder) / "token"
            script = f'echo "$QUORATE_FENCING_TOKEN" > {told}; exec sleep 60'
            holder = survives("the lock is free", lambda: lock(a, "k", "--ttl", "2s", command=["sh", "-c", script]))
            wait_until("the holder runs", lambda: told.exists() and told.read_text().strip(), 20)
            old = int(told.read_text())
            assert acquire(b, "k", "TTL", 1000) is None
            os.kill(holder.pid, signal.SIGSTOP)
            new = acquire(b, "k", "TTL", 60_000, "WAIT", 20_000)
            assert new is not None and new > old, (old, new)
            for node in cluster.nodes:
                assert node.call("LOCK.RENEW", "k", old) == 0
                assert node.call("LOCK.RELEASE", "k", old) == 0
            os.kill(holder.pid, signal.SIGCONT)
            out, err = holder.communicate(timeout=20)
            assert holder.returncode == 5, (holder.returncode, out, err)
            assert c.call("LOCK.RENEW", "k", new) == 1
            assert c.call("LOCK.RELEASE", "k", new) == 1


def check_locks_survive_their_leader():
    """A leader is killed: what is held stays held, who waits is served, and tokens go on rising."""
    with Cluster(3) as cluster:
        token = survives("a lock", lambda: acquire(cluster[0], "held", "TTL", 60_000))
        dies = leader_of(cluster)
        left = [node for node in cluster.nodes if node is not dies]
        first = survives("a lock", lambda: acquire(left[0], "waited", "TTL", 60_000))
        served = []
        waits = threading.Thread(target=lambda: served.append(acquire(left[1], "waited", "TTL", 60_000, "WAIT", 60_000, timeout=90)))
        waits.start()
        time.sleep(0.5)
        dies.kill()
        renewed = survives("renewed", lambda: left[0].call("LOCK.RENEW", "held", token))
        assert renewed == 1, renewed
        assert survives("released", lambda: left[0].call("LOCK.RELEASE", "waited", first)) == 1
        waits.join(60)
        assert served and served[0] is not None and served[0] > first, served
        assert acquire(left[1], "held", "TTL", 1000) is None
        later = acquire(left[1], "new", "TTL", 1000)
        assert later > max(token, served[0]), (token, served, later)


def check_a_command_runs_under_a_lock():
    with Cluster(3) as cluster:
        a, b, _ = cluster.nodes
        survives("a lock", lambda: acquire(a, "warm", "TTL", 100))
        done = lock(a, "k", command=["sh", "-c", 'test -n "$QUORATE_FENCING_TOKEN" && exit 7'])
        assert done.wait(30) == 7, done.communicate()
        runs = lock(a, "k", "--ttl", "1s", command=["sleep", "4"])
        wait_until("it holds the lock", lambda: b.call("LOCK.LIST"), 10)
        other = lock(b, "k", "--wait", "500ms", command=["true"])
        assert other.wait(30) == 4, other.communicate()
        # It is renewed: four times its time to live.
        assert runs.wait(30) == 0, runs.communicate()
        wait_until("it is given back", lambda: b.call("LOCK.LIST") == [], 5)
        assert lock(b, "k", command=["true"]).wait(30) == 0


def check_a_deadlock_is_named():
    with Cluster(3) as cluster:
        nodes = cluster.nodes
        survives("a lock", lambda: acquire(nodes[0], "warm", "TTL", 100))
        keys, names = ["k1", "k2", "k3"], ["ann", "bob", "cleo"]
        for node, key, name in zip(nodes, keys, names):
            assert acquire(node, key, "TTL", 60_000, "HOLDER", name)
        def waits(node, key, name):
            with contextlib.suppress(OSError):
                acquire(node, key, "TTL", 60_000, "WAIT", 3000, "HOLDER", name)

        for party in zip(nodes, ["k2", "k3"], names):
            threading.Thread(target=waits, args=party, daemon=True).start()
        time.sleep(1)
        begun = time.monotonic()
        try:
            nodes[2].call("LOCK.ACQUIRE", "k1", "TTL", 60_000, "WAIT", 3000, "HOLDER", "cleo")
            raise AssertionError("three wait for each other")
        except ReplyError as error:
            assert time.monotonic() - begun < 0.1, time.monotonic() - begun
            for name in names:
                assert f"{name} waits for" in str(error), error


def check_meetings_survive_their_leader():
    """A barrier, a semaphore and an election go on when the leader of the group is killed."""
    with Cluster(3) as cluster:
        survives("a lock", lambda: acquire(cluster[0], "warm", "TTL", 100))
        dies = leader_of(cluster)
        a, b = [node for node in cluster.nodes if node is not dies]
        permit = int(a.call("SEMAPHORE.ACQUIRE", "s", 1, "TTL", 60_000)[0])
        led = int(a.call("ELECTION.CAMPAIGN", "e", "a", "TTL", 60_000)[0])
        arrived = []
        party = threading.Thread(target=lambda: arrived.append(a.call("BARRIER.WAIT", "b", 2, "TIMEOUT", 60_000, timeout=90)))
        party.start()
        time.sleep(0.5)
        dies.kill()
        assert survives("a permit", lambda: b.call("SEMAPHORE.RENEW", "s", permit)) == 1
        assert b.call("SEMAPHORE.ACQUIRE", "s", 1, "TTL", 1000) is None
        assert b.call("ELECTION.OBSERVE", "e") == [b"a", led]
        assert survives("the barrier", lambda: b.call("BARRIER.WAIT", "b", 2, "TIMEOUT", 60_000, timeout=90)) == 1
        party.join(60)
        assert arrived == [1], arrived


def check_locks_over_http():
    with Cluster(3) as cluster:
        survives("a lock", lambda: acquire(cluster[0], "warm", "TTL", 100))
        def call(node, method, path, body=None):
            data = None if body is None else json.dumps(body).encode()
            request = urllib.request.Request(f"http://{node.ready['http']}{path}", data=data, method=method)
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    return answer.status, json.loads(answer.read() or b"null")
            except urllib.error.HTTPError as error:
                return error.code, json.loads(error.read())

        a, b, c = cluster.nodes
        status, granted = call(a, "POST", "/v1/locks/k", {"ttl_ms": 60_000, "holder": "ann"})
        assert status == 200, granted
        status, taken = call(b, "POST", "/v1/locks/k", {"ttl_ms": 60_000, "wait_ms": 200})
        assert (status, taken["holder"], taken["position"]) == (409, "ann", 1), taken
        assert call(c, "PUT", f"/v1/locks/k/renew?token={granted['token']}")[0] == 204
        assert call(b, "GET", "/v1/locks?held_by=ann")[1]["locks"][0]["key"] == "k"
        assert call(b, "DELETE", f"/v1/locks/k?token={granted['token']}")[0] == 204
        assert call(a, "DELETE", f"/v1/locks/k?token={granted['token']}")[0] == 409
