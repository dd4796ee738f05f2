"""A node is killed: the others keep serving and tell the truth, and the node catches up."""

import time

from checks.membership import administer
from cluster import Cluster, wait_until
from resp import ReplyError

CONVERGED_SECONDS = 10


def check_one_of_three_killed(count=2000):
    with Cluster(3) as cluster:
        a, b, c = cluster.nodes
        with a.connect() as connection:
            before = connection.pipeline([("CL", "QUORUM", "SET", f"before{n}", n) for n in range(count)])
            assert before == ["OK"] * count
            c.kill()
            during = connection.pipeline([("CL", "QUORUM", "SET", f"during{n}", n) for n in range(count)])
            assert during == ["OK"] * count, next(answer for answer in during if answer != "OK")
        assert b.call("CL", "QUORUM", "GET", "during7") == b"7"
        all_names_the_missing_node(a, c)
        c.start()
        wait_until("converged after the restart", lambda: all(node.status()["converged"] for node in cluster.nodes), CONVERGED_SECONDS)
        for node in cluster.nodes:
            with node.connect() as connection:
                for phase in ("before", "during"):
                    answers = connection.pipeline([("CL", "QUORUM", "GET", f"{phase}{n}") for n in range(count)])
                    assert answers == [str(n).encode() for n in range(count)], f"{node.name} lost acknowledged writes of {phase}"


def all_names_the_missing_node(node, missing):
    begun = time.monotonic()
    try:
        node.call("CL", "ALL,TIMEOUT=2000ms", "SET", "all", "1", timeout=10)
        raise AssertionError("ALL was reached with a node missing")
    except ReplyError as error:
        text = str(error)
        assert time.monotonic() - begun < 4, f"took {time.monotonic() - begun:.1f} s"
        assert f"missing {missing.name}@" in text, text
        assert "applied" in text.lower(), f"does not say whether the write was applied: {text}"


def check_two_of_three_killed_then_back():
    with Cluster(3) as cluster:
        a, b, c = cluster.nodes
        a.call("CL", "ALL", "SET", "k", "v")
        b.kill()
        c.kill()
        assert a.call("CL", "ONE", "SET", "alone", "1") == "OK"
        assert a.call("CL", "LOCAL_ONE", "GET", "k") == b"v"
        try:
            a.call("CL", "QUORUM,TIMEOUT=2000ms", "SET", "k", "w", timeout=10)
            raise AssertionError("a quorum of three was reached by one")
        except ReplyError as error:
            assert "applied" in str(error).lower(), error
        b.start()
        c.start()
        cluster.wait_converged(CONVERGED_SECONDS)
        assert c.call("CL", "QUORUM", "GET", "alone") == b"1"


def check_all_killed_then_back(count=500):
    with Cluster(3, ["--durability", "sync"]) as cluster:
        with cluster[0].connect() as connection:
            assert connection.pipeline([("CL", "QUORUM", "SET", f"k{n}", n) for n in range(count)]) == ["OK"] * count
        for node in cluster.nodes:
            node.kill()
        for node in cluster.nodes:
            node.spawn()
        for node in cluster.nodes:
            wait_until(f"{node.name} answers", lambda: node.call("PING") == "PONG", 30)
        cluster.wait_complete()
        with cluster[2].connect() as connection:
            answers = connection.pipeline([("CL", "QUORUM", "GET", f"k{n}") for n in range(count)])
            wrong = [answer for n, answer in enumerate(answers) if answer != str(n).encode()]
            assert not wrong, f"{len(wrong)} of {count} are not there: {wrong[:3]}"


def check_a_minority_is_read_only():
    with Cluster(3) as cluster:
        a, b, c = cluster.nodes
        administer(a, "keyspace", "create", "ledger", "--split", "read-only-in-minority", "--write", "ONE")
        with a.connect() as connection:
            wait_until("the keyspace can be chosen", lambda: chosen(connection, "ledger"), 10)
            assert connection.call("SET", "k", "before") == "OK"
            b.kill()
            assert connection.call("SET", "k", "majority") == "OK"
            c.kill()

            def refused():
                try:
                    connection.call("SET", "k", "minority")
                    return False
                except ReplyError as error:
                    return str(error).startswith("READONLY") and "1 of 3" in str(error)

            wait_until("the minority refuses writes", refused, 20)
            assert connection.call("CL", "ONE", "GET", "k") in (b"majority", b"minority"), "reads go on"
            assert connection.call("SELECT", "0") == "OK"
            assert connection.call("CL", "ONE", "SET", "k", "v") == "OK", "the keyspace default stays available"
            b.start()
            assert connection.call("SELECT", "ledger") == "OK"
            wait_until("two of three write again", lambda: not refused(), 20)


def chosen(connection, keyspace):
    try:
        return connection.call("SELECT", keyspace) == "OK"
    except ReplyError:
        return False
