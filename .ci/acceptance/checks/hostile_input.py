"""Bad input causes an error, never a crash, and never harms other clients."""

import os
import random
import time

from cluster import Cluster, Refused, wait_until
from environment import small_disk
from resp import Connection, ReplyError

MEGABYTE = 1 << 20
GROWTH_BYTES_MAX = 32 * MEGABYTE


def refused(node, *more):
    """Starts a node that must not become ready, and returns what it prints."""
    try:
        node.start(*more)
    except Refused as refusal:
        assert refusal.code not in (0, "hung") and refusal.code > 0, f"{refusal.code}: {refusal.said}"
        assert "panicked" not in refusal.said, refusal.said
        return refusal.said.lower()
    raise AssertionError(f"{node.name} became ready: {node.ready}")


def answer_of(node, data):
    """What the server answers to `data` before it closes the connection or falls silent."""
    with Connection(node.resp, timeout=2) as connection:
        try:
            connection.socket.sendall(data)
            return connection.reader.readline()
        except (TimeoutError, ConnectionError, OSError):
            return b""


def survives(node, data_of, times=1):
    before = node.resident_bytes()
    answers = [answer_of(node, data_of()) for _ in range(times)]
    assert node.running(), f"the node ended: {node.log.read_text()[-2000:]}"
    assert node.call("PING", timeout=5) == "PONG"
    growth = node.resident_bytes() - before
    assert growth < GROWTH_BYTES_MAX, f"grew by {growth} bytes"
    assert "panicked" not in node.log.read_text(errors="replace")
    return answers


def check_garbage_bytes():
    with Cluster(1) as cluster:
        seeded = random.Random(7)
        survives(cluster[0], lambda: seeded.randbytes(4096) + b"\r\n", 100)
        survives(cluster[0], lambda: b"*" + seeded.randbytes(64) + b"\r\n", 100)
        survives(cluster[0], lambda: b"a" * (4 * MEGABYTE))


def check_lengths_that_lie():
    with Cluster(1) as cluster:
        huge_bulk = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\nx"
        for data in (huge_bulk, b"*1000000000\r\n$1\r\n", b"*2\r\n$99999999999999999999\r\n", b"*-5\r\n", b"$-7\r\n", b"*1\r\n$-1\r\n"):
            for answer in survives(cluster[0], lambda: data, 5):
                assert not answer.startswith(b"+"), answer


def check_deep_nesting():
    with Cluster(1) as cluster:
        for frame in (b"*1\r\n", b"%1\r\n", b"~1\r\n", b"|1\r\n", b">1\r\n"):
            survives(cluster[0], lambda: frame * 200_000, 3)


def check_half_open_connections_do_not_stop_the_others():
    with Cluster(1) as cluster:
        node = cluster[0]
        open_connections = [Connection(node.resp) for _ in range(500)]
        for connection in open_connections:
            connection.socket.sendall(b"*2\r\n$3\r\nGET\r\n$10\r\nhal")
        begun = time.monotonic()
        for number in range(200):
            assert node.call("SET", f"k{number}", "v", timeout=5) == "OK"
        assert time.monotonic() - begun < 10
        for connection in open_connections:
            connection.close()
        assert node.call("GET", "k7") == b"v"


def check_a_short_request_for_a_long_reply_stops_nobody():
    """Clients request half a gigabyte with a few hundred bytes and read none of it."""
    with Cluster(1) as cluster:
        node = cluster[0]
        assert node.call("SET", "big", b"x" * (16 * MEGABYTE)) == "OK"
        before = node.resident_bytes()
        greedy = [Connection(node.resp) for _ in range(10)]
        for connection in greedy:
            connection.send(["MGET"] + ["big"] * 30)
        for _ in range(200):
            assert node.call("PING", timeout=5) == "PONG"
        growth = node.resident_bytes() - before
        assert growth < 4 * GROWTH_BYTES_MAX, f"grew by {growth} bytes"
        with node.connect() as connection:
            [refused] = connection.pipeline([["MGET"] + ["big"] * 200])
        assert isinstance(refused, ReplyError) and "ask for less at a time" in str(refused), refused
        for connection in greedy:
            connection.close()
        assert node.call("STRLEN", "big") == 16 * MEGABYTE


def check_values_beyond_the_bound():
    with Cluster(1) as cluster:
        node = cluster[0]
        for words in (("SET", "k" * (65 * 1024), "v"), ("SET", "k", b"v" * (16 * MEGABYTE + 1))):
            try:
                answer = node.call(*words, timeout=20)
                raise AssertionError(f"accepted: {answer}")
            except (ReplyError, ConnectionError, BrokenPipeError):
                pass
        assert node.running() and node.call("SET", "k", b"v" * MEGABYTE) == "OK" and len(node.call("GET", "k")) == MEGABYTE


def check_configuration_with_an_unknown_key():
    with Cluster(0) as cluster:
        config = cluster.folder / "quorate.toml"
        config.write_text('datacentre = "x"\n')
        said = refused(cluster.make("a"), "--config", config)
        assert "datacentre" in said and "datacenter" in said.replace("datacentre", ""), said


def check_data_directory_of_another_cluster():
    with Cluster(1) as cluster, Cluster(1) as other:
        foreign = cluster.make("x")
        foreign.data_dir = other[0].data_dir
        other[0].stop()
        said = refused(foreign, "--join", cluster[0].ready["quic"], "--token", cluster[0].ready["join_token"])
        assert "cluster" in said and ("another" in said or "other" in said or "already" in said or "belongs" in said), said
        other[0].start()
        assert other[0].call("PING") == "PONG"


def check_data_directory_in_use():
    with Cluster(1) as cluster:
        second = cluster.make("second")
        second.data_dir = cluster[0].data_dir
        said = refused(second)
        assert "lock" in said or "in use" in said or "another process" in said, said
        assert cluster[0].call("PING") == "PONG"


def check_data_directory_that_cannot_be_written():
    with Cluster(0) as cluster:
        node = cluster.make("a")
        node.data_dir = cluster.folder / "file"
        node.data_dir.write_text("not a directory")
        assert str(node.data_dir) in refused(node, "--found")


# What a node with a full disk answers, in lower case.
SAYS_FULL = "disk of the node is full; nothing was applied"


def check_a_full_disk_is_said_and_loses_nothing():
    with small_disk(192) as folder, Cluster(0, ["--durability", "sync"]) as cluster:
        node = cluster.make("a")
        node.data_dir = folder / "data"
        node.start("--found")
        # A file that the check can remove later, so that the node has room to start.
        filler = folder / "filler"
        filler.write_bytes(b"x" * (24 * MEGABYTE))
        acknowledged, error = fill(node)
        # It either refuses or exits. If it exits, the write under way may have been applied.
        if SAYS_FULL not in error:
            assert "applied" in error, error
            wait_until(f"the node exits because of its disk (it said: {error})", lambda: not node.running(), 30)
            assert "no space left" in node.log.read_text(errors="replace")
        node.stop()
        filler.unlink()
        node.start()
        with node.connect() as connection:
            lengths = connection.pipeline([("STRLEN", f"k{n}") for n in range(acknowledged)])
        assert lengths == [256 * 1024] * acknowledged, "acknowledged writes were lost"


def fill(node):
    """How many writes were acknowledged before the first that was not, and the answer to that one."""
    value = os.urandom(256 * 1024)
    with node.connect(30) as connection:
        for number in range(4096):
            try:
                set_however_slow_the_disk(connection, f"k{number}", value)
            except ReplyError as error:
                return number, str(error).lower()
            except OSError:
                return number, "closed: may be applied"
    raise AssertionError("the disk never filled up")


def set_however_slow_the_disk(connection, key, value):
    """A slow disk is not yet a full one: repeats the write until the node says that the disk is full, or exits."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return connection.call("SET", key, value)
        except ReplyError as error:
            said = str(error).lower()
            if SAYS_FULL in said or "stopping" in said or time.monotonic() > deadline:
                raise
