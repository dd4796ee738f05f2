"""Large collections, many siblings, a node that is away for long: everything accepted travels in pieces, in bounded memory.

The change profile uses small sizes; `QUORATE_CHECKS=nightly` uses those that docs/proof.md reports."""

import os
import threading
import time
import urllib.request

from cluster import Cluster, wait_until
from resp import ReplyError

NIGHTLY = os.environ.get("QUORATE_CHECKS") == "nightly"
MEMBERS = 1_000_000 if NIGHTLY else 120_000
FIELDS, FIELD_BYTES = (4096, 16 * 1024) if NIGHTLY else (600, 16 * 1024)
AWAY_WRITES = 2_000_000 if NIGHTLY else 60_000
STALE_WRITES = 20_000 if NIGHTLY else 4_000
MIB = 1024 * 1024


def metric(node, name, *labels):
    """The sum of a metric over its labels, or over those that contain one of `labels`."""
    with urllib.request.urlopen(f"http://{node.ready['http']}/metrics", timeout=10) as answer:
        lines = [line for line in answer.read().decode().splitlines() if line.startswith((name + "{", name + " "))]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if not labels or any(f'"{label}"' in line for label in labels))


def sent(node):
    """Bytes that the node has sent to others so far, by purpose."""
    return {purpose: metric(node, "quorate_frames_sent_bytes_total", purpose) for purpose in ("request", "report", "repair", "stream", "hint")}


def all_equal(answers, expected):
    wrong = [answer for answer in answers if answer != expected]
    assert not wrong, f"{len(wrong)} of {len(answers)}: {wrong[0]!r}"


def fill_set(node, members):
    with node.connect(120) as connection:
        batches = [("CL", "QUORUM", "SADD", "set", *(f"member-{n}" for n in range(at, at + 1000))) for at in range(0, members, 1000)]
        all_equal(connection.pipeline(batches, batch=10), 1000)


def fill_hash(node, fields):
    with node.connect(120) as connection:
        commands = [("CL", "QUORUM", "HSET", "hash", f"field-{n}", bytes([97 + n % 26]) * FIELD_BYTES) for n in range(fields)]
        all_equal(connection.pipeline(commands, batch=50), 1)


def reads_in_full(node, level):
    with node.connect(120) as connection:
        members = connection.call("CL", level, "SMEMBERS", "set")
        assert len(set(members)) == MEMBERS, f"{node.name} at {level}: {len(members)} members"
        fields = connection.call("CL", level, "HGETALL", "hash")
        fields = fields if isinstance(fields, dict) else dict(zip(fields[::2], fields[1::2]))
        assert len(fields) == FIELDS and all(len(value) == FIELD_BYTES for value in fields.values()), f"{node.name} at {level}: {len(fields)} fields"


def check_large_collections_are_read_streamed_and_deleted_everywhere():
    with Cluster(1) as cluster:
        # Four nodes of one datacenter hold three replicas, so one node always has to ask the others.
        for name in ("b", "c"):
            cluster.add(name, "dc1")
        wait_until("three replicas", lambda: cluster[0].status()["keyspaces"][0]["replication"].get("dc1") == 3, 30)
        cluster.wait_converged(30)
        fill_set(cluster[0], MEMBERS)
        fill_hash(cluster[1], FIELDS)
        cluster.add("d", "dc1")
        wait_until("the newcomer is filled", lambda: all(node.status()["converged"] for node in cluster.nodes), 120)
        for node in cluster.nodes:
            for level in ("ONE", "QUORUM", "ALL"):
                reads_in_full(node, level)
        assert cluster[3].call("CL", "QUORUM", "DEL", "set", timeout=120) == 1
        assert cluster[2].call("CL", "QUORUM", "DEL", "hash", timeout=120) == 1

        def empty(node):
            return not any(keyspace[name] for keyspace in node.status()["keyspaces"] for name in ("rows", "recent", "residuals"))

        for node in cluster.nodes:
            wait_until(f"nothing is left on {node.name}", lambda: empty(node), 60)


class Watch(threading.Thread):
    """Another client, which reads one key from a node all the time and measures its longest wait."""

    def __init__(self, node, key):
        super().__init__(daemon=True)
        self.node, self.key, self.longest, self.ended = node, key, 0.0, threading.Event()
        self.start()

    def run(self):
        with self.node.connect(60) as connection:
            while not self.ended.wait(0.001):
                begun = time.monotonic()
                connection.call("CL", "ONE", "GET", self.key)
                self.longest = max(self.longest, time.monotonic() - begun)

    def end(self):
        self.ended.set()
        self.join()
        return self.longest


def check_a_large_set_is_deleted_at_once():
    with Cluster(3) as cluster:
        a, _, c = cluster.nodes
        fill_set(a, MEMBERS)
        # The same partition, so the same shard.
        a.call("CL", "ALL", "SET", "{set}other", "v")
        cluster.wait_converged(30)
        resident = [node.resident_bytes() for node in cluster.nodes]
        watches = [Watch(node, "{set}other") for node in cluster.nodes]
        time.sleep(1)
        usual = [watch.longest for watch in watches]
        begun = time.monotonic()
        assert a.call("CL", "QUORUM", "DEL", "set") == 1
        took = time.monotonic() - begun
        assert a.call("CL", "ALL", "SADD", "set", "again", "member-7") == 2
        # Most of the rows are still on its disk.
        watches[2].end()
        c.kill()
        c.start(seconds=120)
        assert sorted(c.call("CL", "ONE", "SMEMBERS", "set")) == [b"again", b"member-7"], "it brought something back, or lost something"

        def small(node):
            return [keyspace["rows"] for keyspace in node.status()["keyspaces"]] == [3]

        for node in cluster.nodes:
            wait_until(f"three rows are left on {node.name}", lambda: small(node), 30)
        cluster.wait_converged(30)
        time.sleep(MEMBERS / 50_000)
        longest = [watch.end() for watch in watches[:2]]
        grown = [node.resident_bytes() - before for node, before in zip(cluster.nodes, resident)]
        c.kill()
        c.start(seconds=120)
        assert sorted(c.call("CL", "ONE", "SMEMBERS", "set")) == [b"again", b"member-7"], "after all of them have gone"
        print(f"DEL of {MEMBERS} members took {took * 1000:.0f} ms; others waited at most {[f'{wait * 1000:.0f} ms' for wait in longest]}, before it "
              f"{[f'{wait * 1000:.0f} ms' for wait in usual]}; memory grew by {[g // MIB for g in grown]} MiB", flush=True)
        assert took < 1, f"{took:.1f} s"
        assert max(longest) < 2, longest


def check_writes_with_an_old_token_are_bounded_and_a_set_cleans_up():
    with Cluster(3) as cluster:
        with cluster[0].connect(60) as connection:
            connection.call("CL", "QUORUM", "SET", "k", "first")
            token = connection.call("CL", "QUORUM", "CTX.GET", "k")[0]
            answers = connection.pipeline([("CL", "QUORUM", "CTX.SET", "k", f"v{n}", token) for n in range(STALE_WRITES)], batch=100)
            refused = [answer for answer in answers if isinstance(answer, ReplyError)]
            assert refused, "siblings grow without bound"
            assert all("nothing was applied" in str(answer) for answer in refused), str(refused[0])
            siblings = connection.call("CL", "QUORUM", "CTX.GET", "k")[1]
            assert 1 < len(siblings) <= 1000, len(siblings)
            connection.call("CL", "QUORUM", "SET", "k", "done")
        cluster.wait_converged(30)
        for node in cluster.nodes:
            assert node.call("CL", "ONE", "GET", "k") == b"done"
            assert len(node.call("CL", "ONE", "CTX.GET", "k")[1]) == 1


def check_a_node_that_is_away_for_long_costs_bounded_memory_and_catches_up():
    keys, value = 100_000, b"v" * 100
    with Cluster(3) as cluster:
        a, b, c = cluster.nodes
        with a.connect(120) as connection:
            all_equal(connection.pipeline([("CL", "ALL", "SET", f"k{n}", value) for n in range(keys)]), "OK")
        cluster.wait_converged(30)
        resident = [node.resident_bytes() for node in (a, b)]
        c.kill()
        with a.connect(120) as connection:
            for at in range(0, AWAY_WRITES, 20_000):
                commands = [("CL", "QUORUM", "SET", f"k{n % keys}", b"%0100d" % n) for n in range(at, at + 20_000)]
                all_equal(connection.pipeline(commands), "OK")
        grown = [node.resident_bytes() - before for node, before in zip((a, b), resident)]
        a.status(), b.status()
        remembered = any(metric(node, "quorate_recent_events") >= AWAY_WRITES for node in (a, b))
        before = [sent(node) for node in (a, b)]
        begun = time.monotonic()
        c.start()
        wait_until("it has caught up", lambda: all(node.status()["converged"] for node in cluster.nodes), 120)
        took = time.monotonic() - begun
        spent = {purpose: sum(sent(node)[purpose] - was[purpose] for node, was in zip((a, b), before)) for purpose in before[0]}
        back = sent(c)
        rows = min(keys, AWAY_WRITES) * (len("k12345") + 100)
        streams = metric(c, "quorate_streams_total")
        print(f"away for {AWAY_WRITES} writes to {keys} keys: the others grew by {[g // MIB for g in grown]} MiB; caught up in {took:.1f} s with "
              f"{sum(spent.values()) / rows:.2f} of the rows' own {rows / MIB:.1f} MiB: {({k: f'{v / MIB:.2f} MiB' for k, v in spent.items()})}; "
              f"it sent {({k: f'{v / MIB:.2f} MiB' for k, v in back.items()})}; {streams:.0f} streams", flush=True)
        assert all(growth < 400 * MIB for growth in grown), grown
        # An overwritten event costs only its dot.
        overwritten = max(0, AWAY_WRITES - keys) * 3
        assert sum(spent.values()) <= 1.3 * (rows + overwritten), (spent, rows, overwritten)
        assert streams == 0 or not remembered, f"{streams:.0f} streams although all events are remembered"
        assert c.call("CL", "ONE", "GET", "k7") == a.call("CL", "ALL", "GET", "k7")


class Reader(threading.Thread):
    """A client that reads the whole set again and again and looks at nothing that it gets."""

    def __init__(self, node, members):
        super().__init__(daemon=True)
        self.node, self.members, self.reads, self.ended = node, members, 0, threading.Event()
        self.start()

    def run(self):
        with self.node.connect(120) as connection:
            while not self.ended.is_set():
                connection.send(("CL", "QUORUM", "SMEMBERS", "set"))
                head = connection.reader.readline()
                assert head == b"*%d\r\n" % self.members, head
                # Each member is a line with its length and a line with its name.
                lines = 2 * self.members
                while lines:
                    lines -= connection.reader.read1(1 << 20).count(b"\n")
                self.reads += 1


def check_eight_readers_of_a_huge_set_do_not_raise_the_term():
    """What clients read must not keep a node from its heartbeats."""
    members = 600_000 if NIGHTLY else 200_000
    with Cluster(3) as cluster:
        fill_set(cluster[0], members)
        cluster.wait_converged(60)
        before = {node.name: (metric(node, "quorate_raft_term"), metric(node, "quorate_raft_leader_changes_total")) for node in cluster.nodes}
        readers = [Reader(cluster[number % 3], members) for number in range(8)]
        down = set()
        until = time.monotonic() + (60 if NIGHTLY else 20)
        while time.monotonic() < until:
            time.sleep(1)
            for node in cluster.nodes:
                down |= {other["name"] for other in node.status()["nodes"] if other["state"] != "alive"}
        for reader in readers:
            reader.ended.set()
        for reader in readers:
            reader.join(120)
        after = {node.name: (metric(node, "quorate_raft_term"), metric(node, "quorate_raft_leader_changes_total")) for node in cluster.nodes}
        print(f"{sum(reader.reads for reader in readers)} reads of {members} members; term and changes of leader before {before}, after {after}", flush=True)
        assert all(reader.reads for reader in readers), [reader.reads for reader in readers]
        assert after == before
        assert not down, f"taken for dead meanwhile: {down}"
