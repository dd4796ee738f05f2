"""The coordination group on real processes: how long the death of its leader is felt, what a follower that was cut off
does when it is back, what a holder that was stopped can still do, and what is refused."""

import contextlib
import json
import multiprocessing
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import time
import urllib.request

from checks.fencing import ask, fenced
from checks.locks import acquire, survives
from cluster import Cluster, quorate, wait_until
from machines import Site
from resp import Connection, ReplyError

# The full numbers are those of the nightly run.
FULL = os.environ.get("QUORATE_CHECKS") == "nightly"
GROUPS = ("topology", "coordination")
# Where the RESP client of these checks is.
CLIENT = pathlib.Path(__file__).resolve().parents[1]


def group(node, name):
    """A Raft group as this node sees it."""
    with urllib.request.urlopen(f"http://{node.ready['http']}/v1/consensus/{name}", timeout=5) as answer:
        return json.load(answer)


def leader(nodes):
    """The node that leads the coordination group, once all agree."""

    def agreed():
        led = {group(node, "coordination")["leader"] for node in nodes}
        return len(led) == 1 and None not in led and led.pop()

    name = wait_until("all follow one leader", agreed, 20)
    return next(node for node in nodes if node.name == name)


def check_the_death_of_a_leader_is_felt_for_less_than_a_second(rounds=20 if FULL else 5):
    """From the kill of the leader to the first lock that the others grant."""
    with Cluster(3) as cluster:
        survives("a lock", lambda: acquire(cluster[0], "warm", "TTL", 100))
        took = []
        for number in range(rounds):
            dies = leader(cluster.nodes)
            asked = next(node for node in cluster.nodes if node is not dies)
            with asked.connect() as connection:
                connection.call("PING")
                begun = time.monotonic()
                dies.kill()
                token = survives("a lock after the kill", lambda: connection.call("LOCK.ACQUIRE", f"k{number}", "TTL", 1000))
                took.append(time.monotonic() - begun)
                assert token is not None
            dies.start()
            cluster.wait_complete()
        median, longest = statistics.median(took), max(took)
        told = ", ".join(f"{1000 * each:.0f}" for each in took)
        assert median < 0.6 and longest < 1.0, f"milliseconds until a lock was granted: {told}"


def check_a_follower_that_was_cut_off_raises_no_term(rounds=5 if FULL else 2):
    """It asks before it stands for election, and nobody who hears a leader agrees."""
    with Site() as site:
        site.found(3)
        site.a.run("redis-cli -p 7379 LOCK.ACQUIRE warm TTL 100 WAIT 10000")

        def seen(machine, name):
            return json.loads(machine.run(f"quorate consensus --group {name} status --detailed --output json"))["here"]

        for number in range(rounds):
            led = seen(site.a, "coordination")["leader"], seen(site.a, "topology")["leader"]
            cut = next(machine for machine in site.machines[:3][::-1] if machine.name not in led)
            stays = next(machine for machine in site.machines[:3] if machine is not cut)
            before = {name: (seen(stays, name)["term"], seen(stays, name)["leader"]) for name in GROUPS}
            port = f"port{site.machines.index(cut) + 1}"
            site.switch_port(port, "down")
            site.wait_down(cut.name, seen_by=[stays])
            # Many times the longest time without a leader after which a node wants to be elected.
            time.sleep(5)
            site.switch_port(port, "up")
            for name in GROUPS:
                wait_until("it follows again", lambda: seen(cut, name)["leader"] == before[name][1], 20)
            stays.run(f"redis-cli -p 7379 LOCK.ACQUIRE k{number} TTL 1000 WAIT 10000")
            for name in GROUPS:
                for machine in (stays, cut):
                    now = seen(machine, name)
                    assert (now["term"], now["leader"]) == before[name], f"{name} at {machine.name}: {before[name]}, and then {now}"


# Reads by the lease in many threads for some seconds, and prints when each read began and what it found.
READS = """
import json, sys, threading, time
sys.path.insert(0, sys.argv[1])
from resp import Connection

def read(end):
    with Connection("127.0.0.1:7379", 20) as connection:
        while time.monotonic() < end:
            begun = time.monotonic()
            connection.send(("META.GET", "k", "LEASE"))
            answer = connection.receive()
            if isinstance(answer, list):
                sys.stdout.write(json.dumps([begun, answer[0].decode()]) + "\\n")

ends = time.monotonic() + float(sys.argv[2])
threads = [threading.Thread(target=read, args=(ends,)) for _ in range(20)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""


def check_a_leader_that_was_cut_off_answers_no_stale_lease_read(rounds=5 if FULL else 2):
    """It is read without a pause while the others elect another leader and write."""
    with Site() as site:
        site.found(3)
        for number in range(rounds):
            old, new = f"old{number}", f"new{number}"
            site.a.run(f"redis-cli -p 7379 META.SET k {old}")
            led = json.loads(site.a.run("quorate consensus --group coordination status --detailed --output json"))["here"]["leader"]
            cut = next(machine for machine in site.machines[:3] if machine.name == led)
            stays = next(machine for machine in site.machines[:3] if machine is not cut)
            words = cut.namespaces.inside(sys.executable, "-c", READS, str(CLIENT), "4")
            reader = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
            time.sleep(1)
            port = f"port{site.machines.index(cut) + 1}"
            site.switch_port(port, "down")
            isolated = time.monotonic()
            wait_until("the others write", lambda: stays.run(f"redis-cli -p 7379 META.SET k {new}").strip().isdigit(), 20)
            written = time.monotonic()
            reads = [json.loads(line) for line in reader.communicate(timeout=60)[0].splitlines()]
            site.switch_port(port, "up")
            assert any(begun < isolated for begun, _ in reads), "nothing was read by the lease"
            stale = [begun - written for begun, found in reads if begun > written and found == old]
            assert stale == [], f"{len(stale)} reads showed what had been replaced, the last {max(stale):.3f} s before"
            wait_until("all follow one leader", lambda: cut.run("redis-cli -p 7379 META.GET k").split()[0] == new, 20)


def hold_for_ever(address, key, ttl, told):
    """A holder that renews its lock in time and writes under it as fast as it can. Tells the token, and then of each
    request when it began and what it came to."""
    with contextlib.suppress(ConnectionError), Connection(address) as connection:
        token = int(connection.call("LOCK.ACQUIRE", key, "TTL", ttl, "WAIT", 60_000)[0])
        told.put(token)
        sequence, renew = 0, 0.0
        while True:
            now = time.monotonic()
            if now > renew:
                renew = now + ttl / 3000
                connection.call("LOCK.RENEW", key, token)
            sequence += 1
            begun = time.monotonic()
            connection.send(("FENCE", key, token, "SEQ", sequence, "SET", f"of-{key}", f"{token}.{sequence}"))
            told.put((begun, connection.receive()))


def load(address):
    """Somebody else who writes."""
    with contextlib.suppress(ConnectionError), Connection(address) as connection:
        number = 0
        while True:
            number += 1
            connection.call("SET", f"load{number % 1000}", number)


def check_a_stopped_holder_changes_nothing_after_the_takeover(rounds=50 if FULL else 5, ttl=500):
    with Cluster(3) as cluster:
        survives("a lock", lambda: acquire(cluster[0], "warm", "TTL", 100))
        others = [multiprocessing.Process(target=load, args=(node.resp,), daemon=True) for node in cluster.nodes]
        for other in others:
            other.start()
        try:
            for number in range(rounds):
                takeover(cluster, number, ttl)
        finally:
            for other in others:
                other.kill()


def takeover(cluster, number, ttl):
    """One holder is stopped for three times its TTL, another takes over, and the first goes on."""
    key = f"job{number}"
    told = multiprocessing.SimpleQueue()
    address = cluster[number % 3].resp
    holder = multiprocessing.Process(target=hold_for_ever, args=(address, key, ttl, told), daemon=True)
    holder.start()
    try:
        old = told.get()
        for _ in range(20):
            assert told.get()[1] == "OK"
        os.kill(holder.pid, signal.SIGSTOP)
        stopped = time.monotonic()
        node = cluster[(number + 1) % 3]
        new = acquire(node, key, "TTL", 60_000, "WAIT", 20_000)
        assert new > old, (new, old)
        found = ask(node, "FENCE", key, new, "SEQ", 1, "GET", f"of-{key}")
        taken = time.monotonic()
        assert not isinstance(found, ReplyError), found
        time.sleep(max(0.0, stopped + 3 * ttl / 1000 - taken))
        os.kill(holder.pid, signal.SIGCONT)
        refused = 0
        while refused < 50:
            begun, answer = told.get()
            if begun < taken:
                continue
            assert fenced(answer, new), f"{old} after {new}: {answer}"
            refused += 1
            if refused % 10 == 0:
                reader = cluster[refused // 10 % 3]
                read = ask(reader, "FENCE", key, new, "SEQ", 2 + refused, "GET", f"of-{key}")
                assert read == found, f"{found}, and then {read}"
        assert acquire(cluster[0], key, "TTL", 1000) is None, "the new holder has lost it"
        assert node.call("LOCK.RELEASE", key, new) == 1
    finally:
        holder.kill()


def check_what_no_lock_can_be_is_refused():
    """Each refusal says what is wrong, and nothing is held afterwards."""
    with Cluster(3) as cluster:
        a = cluster[0]
        token = survives("a lock", lambda: acquire(a, "k", "TTL", 60_000))

        def refusal(*words):
            try:
                answer = a.call(*words)
            except ReplyError as error:
                return str(error)
            raise AssertionError(f"{words[:6]}: {answer}")

        for ttl in (0, -1, 9, 24 * 3_600_000 + 1, 2**63, 2**64, "soon"):
            text = refusal("LOCK.ACQUIRE", "free", "TTL", ttl)
            assert "TTL" in text or "integer" in text, text
        for wait in (-1, 24 * 3_600_000 + 1, 2**64):
            text = refusal("LOCK.ACQUIRE", "free", "TTL", 1000, "WAIT", wait)
            assert "wait" in text or "integer" in text, text
        assert "1 to 1024 bytes" in refusal("LOCK.ACQUIRE", "x" * 1025, "TTL", 1000)
        assert "1 to 1024 bytes" in refusal("LOCK.ACQUIRE", "", "TTL", 1000)
        assert "at most 128 bytes" in refusal("LOCK.ACQUIRE", "free", "TTL", 1000, "HOLDER", "x" * 129)
        assert "has ended" in refusal("LOCK.ACQUIRE", "free", "SESSION", 1 << 40)
        assert "permits" in refusal("SEMAPHORE.ACQUIRE", "s", 0, "TTL", 1000)
        for old in (0, token - 1, token + 1, 2**63 - 1):
            assert a.call("LOCK.RENEW", "k", old) == 0 and a.call("LOCK.RELEASE", "k", old) == 0
        assert "integer" in refusal("LOCK.RELEASE", "k", -1) and "integer" in refusal("LOCK.RELEASE", "k", "x")
        assert a.call("LOCK.RENEW", "free", token) == 0
        listed = a.call("LOCK.LIST")
        assert [lock[1] for lock in listed] == [b"k"], listed
        assert a.call("LOCK.RELEASE", "k", token) == 1


def check_the_scene_about_fencing_is_told_and_holds():
    done = quorate("demo", "--scene", "fencing", "--plain", timeout=180)
    assert done.returncode == 0, done.stdout + done.stderr
    told = done.stdout
    for line in ("Ann works under the lock, and is stopped", "Bob takes over", "FENCED requests below token", "verdict: all held: 6 of 6 late requests"):
        assert line in told, (line, told)
