"""Deleted data leaves nothing behind and does not come back."""

from cluster import Cluster, wait_until

KEYS = 100_000
EMPTY_SECONDS = 60


def all_empty(cluster):
    def totals(node):
        keyspaces = node.status()["keyspaces"]
        return {name: sum(keyspace[name] for keyspace in keyspaces) for name in ("rows", "recent", "residuals")}

    for node in cluster.nodes:
        wait_until(f"{node.name} is empty", lambda: not any(totals(node).values()), EMPTY_SECONDS)
    cluster.wait_converged()


def write(node, prefix, count):
    with node.connect(60) as connection:
        answers = connection.pipeline([("CL", "QUORUM", "SET", f"{prefix}{n}", n) for n in range(count)])
        assert answers == ["OK"] * count, next(answer for answer in answers if answer != "OK")


def delete(node, prefix, count, at_once=100):
    keys = [f"{prefix}{n}" for n in range(count)]
    with node.connect(60) as connection:
        answers = connection.pipeline([("CL", "QUORUM", "DEL", *keys[n : n + at_once]) for n in range(0, count, at_once)], batch=10)
        assert answers == [at_once] * (count // at_once), next(answer for answer in answers if answer != at_once)


def check_a_hundred_thousand_deleted_keys_leave_nothing():
    with Cluster(3) as cluster:
        write(cluster[0], "k", KEYS)
        delete(cluster[1], "k", KEYS)
        all_empty(cluster)
        assert cluster[2].call("CL", "QUORUM", "GET", "k1") is None


def check_a_node_that_was_down_brings_nothing_back(count=20_000):
    with Cluster(3) as cluster:
        a, b, c = cluster.nodes
        write(a, "known", count)
        cluster.wait_converged(30)
        c.kill()
        write(a, "unknown", count)
        delete(b, "known", count)
        delete(b, "unknown", count)
        c.start()
        all_empty(cluster)
        with c.connect() as connection:
            for prefix in ("known", "unknown"):
                back = [answer for answer in connection.pipeline([("CL", "ONE", "GET", f"{prefix}{n}") for n in range(count)]) if answer is not None]
                assert not back, f"{len(back)} keys came back"


def check_a_removed_element_stays_removed_and_a_concurrent_one_stays():
    with Cluster(3) as cluster:
        a, b, c = cluster.nodes
        a.call("CL", "ALL", "SADD", "set", "old", "other")
        c.kill()
        assert a.call("CL", "QUORUM", "SREM", "set", "old") == 1
        b.call("CL", "QUORUM", "SADD", "set", "new")
        c.start()
        cluster.wait_complete()
        for node in cluster.nodes:
            assert sorted(node.call("CL", "ALL", "SMEMBERS", "set")) == [b"new", b"other"]
