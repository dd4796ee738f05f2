"""Nodes leave, alive or dead, and keyspaces change, while the others serve."""

import json

from cluster import Cluster, quorate, wait_until

KEYS = 2_000


def administer(node, *words, code=0):
    """What `quorate` prints on stdout, asked of `node`."""
    said = quorate(*words, "--http", node.ready["http"], timeout=120)
    assert said.returncode == code, (words, said.returncode, said.stdout, said.stderr)
    return said.stdout if code == 0 else said.stderr


def members(node):
    return json.loads(administer(node, "node", "list", "--output", "json"))["nodes"]


def names(node):
    return [member["name"] for member in members(node)]


def fill(node, level, prefix):
    with node.connect() as connection:
        for number in range(KEYS):
            assert connection.call("CL", level, "SET", f"{prefix}{number}", number) == "OK"


def read_all(node, level, prefix):
    with node.connect() as connection:
        for number in range(KEYS):
            found = connection.call("CL", level, "GET", f"{prefix}{number}")
            assert found == str(number).encode(), (prefix, number, found)


def check_a_dead_node_is_removed_and_its_datacenter_goes_on():
    with Cluster(3) as cluster:
        fourth = cluster.make("d", "dc3")
        fourth.start("--join", cluster[0].ready["quic"], "--token", cluster[0].ready["join_token"])
        wait_until("d holds partitions", lambda: cluster[0].status()["converged"] and "d" in names(cluster[0]), 30)
        fill(cluster[0], "QUORUM", "k")
        # A node that answers is not lost.
        assert "answers" in administer(cluster[0], "node", "remove", "d", "--lost", code=1)
        fourth.kill()
        said = administer(cluster[0], "node", "remove", "d", "--lost", "--wait", "--within", "60s")
        assert said == "d is out\n", said
        cluster.nodes.remove(fourth)
        assert names(cluster[0]) == ["a", "b", "c"]
        cluster.wait_converged(30)
        read_all(cluster[2], "LOCAL_QUORUM", "k")
        read_all(cluster[1], "QUORUM", "k")
        # Its name is free again.
        again = cluster.make("d", "dc3")
        again.data_dir = cluster.folder / "again"
        again.start("--join", cluster[0].ready["quic"], "--token", cluster[0].ready["join_token"])
        wait_until("d is a member again", lambda: "d" in names(cluster[0]), 20)


def check_a_node_leaves_and_takes_nothing_with_it():
    with Cluster(3) as cluster:
        fill(cluster[2], "ONE", "k")
        leaving = cluster[2]
        administer(cluster[0], "node", "remove", "c", "--wait", "--within", "60s")
        leaving.kill()
        cluster.nodes.remove(leaving)
        cluster.wait_converged(30)
        read_all(cluster[0], "ONE", "k")
        read_all(cluster[1], "ONE", "k")
        assert "last node" in administer(cluster[0], "node", "remove", "b", "--wait", "--within", "60s") + administer(
            cluster[0], "node", "remove", "a", code=1
        )


def check_a_node_leaves_while_a_voter_is_dead():
    """Of the two that stay one is dead. Were it made the only voter, nothing could be decided any more."""
    with Cluster(3) as cluster:
        fill(cluster[1], "QUORUM", "k")
        dead, stays, leaving = cluster.nodes
        dead.kill()
        for node in (stays, leaving):
            wait_until("they have noticed", lambda: [m["down_since"] for m in members(node) if m["name"] == "a"] != [None], 20)
        assert "does not answer" in administer(stays, "node", "remove", "a", code=1)
        administer(stays, "node", "remove", "c")
        administer(stays, "node", "remove", "a", "--lost", "--wait", "--within", "60s")
        wait_until("b is alone", lambda: names(stays) == ["b"], 30)
        leaving.kill()
        cluster.nodes[:] = [stays]
        read_all(stays, "QUORUM", "k")


def check_a_keyspace_is_altered_and_dropped():
    with Cluster(3) as cluster:
        administer(cluster[0], "keyspace", "create", "carts", "--replication", "dc1=1", "--partitions", "8")
        said = administer(cluster[0], "keyspace", "alter", "carts", "--replication", "dc9=1", code=1)
        assert "dc9" in said and "dc1, dc2, dc3" in said, said
        with cluster[0].connect() as connection:
            wait_until("carts can be chosen", lambda: connection.call("SELECT", "carts") == "OK", 10)
            for number in range(KEYS):
                connection.call("SET", f"c{number}", number)
        administer(cluster[0], "keyspace", "alter", "carts", "--replication", "dc1=1,dc2=1,dc3=1", "--write", "QUORUM")

        def spread():
            described = json.loads(administer(cluster[1], "keyspace", "describe", "carts", "--output", "json"))
            return described["moving"] == 0 and len(described["replication"]) == 3 and described["write"] == "QUORUM"

        wait_until("carts has three replicas", spread, 30)
        cluster.wait_converged(30)
        with cluster[2].connect() as connection:
            connection.call("SELECT", "carts")
            for number in range(KEYS):
                assert connection.call("CL", "ONE", "GET", f"c{number}") == str(number).encode()
        administer(cluster[0], "keyspace", "drop", "carts")
        wait_until(
            "carts is gone everywhere",
            lambda: all(all(k["name"] != "carts" for k in node.status()["keyspaces"]) for node in cluster.nodes),
            20,
        )
        administer(cluster[0], "keyspace", "drop", "default", code=1)


def check_a_revoked_token_admits_nobody():
    with Cluster(1) as cluster:
        token = administer(cluster[0], "node", "token", "--uses", "3").strip()
        listed = json.loads(administer(cluster[0], "node", "token", "list", "--output", "json"))["tokens"]
        (made,) = [entry for entry in listed if entry["uses_left"] == 3]
        administer(cluster[0], "node", "token", "revoke", made["id"])
        newcomer = cluster.make("b", "dc2")
        try:
            newcomer.start("--join", cluster[0].ready["quic"], "--token", token)
        except Exception as refused:
            assert "token" in str(refused), refused
        else:
            raise AssertionError("a revoked token let a node in")
