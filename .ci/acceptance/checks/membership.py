"""Nodes leave, alive or dead, and keyspaces change, while the others serve."""

import json
import shutil
import time

from cluster import Cluster, Refused, quorate, wait_until
from resp import ReplyError

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


def load(node, keys, prefix):
    """Writes `keys` short values at QUORUM, many at a time."""
    with node.connect(60.0) as connection:
        assert connection.call("CLIENT", "CONSISTENCY", "WRITE", "QUORUM") == "OK"
        for begin in range(0, keys, 2_000):
            part = range(begin, min(begin + 2_000, keys))
            assert set(connection.pipeline([("SET", f"{prefix}{number}", number) for number in part])) == {"OK"}


def check_a_dead_node_is_replaced_while_the_others_serve():
    """The default level of its datacenter, LOCAL_QUORUM, is back when the newcomer is filled."""
    with Cluster(3) as cluster:
        load(cluster[0], 100_000, "k")
        dead = cluster[2]
        token = cluster[0].make_token(3)
        join = ("--join", cluster[0].ready["quic"], "--token", token, "--replace")
        newcomer = cluster.make("d", "dc3")
        try:
            newcomer.start(*join, "c")
        except Refused as refused:
            assert "still answers" in refused.said, refused
        else:
            raise AssertionError("a node that answers was replaced")
        dead.kill()
        cluster.nodes.remove(dead)
        for wrong, words in (("x", "no member has the name"), ("a", "in another datacenter")):
            try:
                newcomer.start(*join, wrong)
            except Refused as refused:
                assert words in refused.said, refused
            else:
                raise AssertionError(f"{wrong} was replaced")
        begun = time.monotonic()
        newcomer.start(*join, "c")

        def back():
            # Without a level: the default of the keyspace.
            try:
                return newcomer.call("GET", "k99999") == b"99999" and newcomer.call("SET", "back", "1") == "OK"
            except ReplyError:
                return False

        wait_until("the default level is back in dc3", back, 30)
        took = time.monotonic() - begun
        assert took < 30, f"{took:.1f} s"
        assert names(cluster[0]) == ["a", "b", "d"]
        cluster.wait_converged(30)
        with newcomer.connect() as connection:
            answers = connection.pipeline([("CL", "LOCAL_ONE", "GET", f"k{number}") for number in range(0, 100_000, 50)])
        assert answers == [str(number).encode() for number in range(0, 100_000, 50)]
        # The dead one stays out, even if it comes back.
        try:
            dead.start(seconds=10)
        except Refused:
            pass
        finally:
            dead.kill()
        assert names(cluster[0]) == ["a", "b", "d"]


def check_a_node_is_drained_and_used_again():
    with Cluster(3) as cluster:
        fill(cluster[0], "QUORUM", "k")
        said = administer(cluster[0], "node", "drain", "c", "--wait", "--within", "60s")
        assert said == "c is drained\n", said
        (drained,) = [member for member in members(cluster[0]) if member["name"] == "c"]
        assert (drained["partitions"], drained["voter"], drained["drained"]) == (0, False, True), drained
        # It can be stopped, and nobody misses it.
        cluster[2].kill()
        read_all(cluster[0], "QUORUM", "k")
        administer(cluster[0], "keyspace", "create", "made-meanwhile", "--replication", "dc1=1,dc2=1")
        cluster[2].start()
        administer(cluster[0], "node", "drain", "c", "--undo")
        wait_until("c holds partitions", lambda: [m["partitions"] for m in members(cluster[0]) if m["name"] == "c"] != [0], 20)
        cluster.wait_converged(30)
        read_all(cluster[2], "LOCAL_QUORUM", "k")
        administer(cluster[0], "keyspace", "drop", "made-meanwhile")

        def drain(name):
            # The leader may be the node drained before, so the group may be electing another one.
            return quorate("node", "drain", name, "--http", cluster[2].ready["http"])

        for name in "ab":
            wait_until(f"{name} is drained", lambda: drain(name).returncode == 0, 30)
        wait_until("the last node stays", lambda: "last node" in drain("c").stderr, 30)


def check_a_lost_majority_is_recovered_from_one_survivor():
    with Cluster(3) as cluster:
        load(cluster[1], 5_000, "k")
        cluster.wait_converged(20)
        survivor, lost = cluster[0], cluster.nodes[1:]
        for node in lost:
            node.kill()
            shutil.rmtree(node.data_dir)
        with survivor.connect() as connection:
            try:
                connection.call("CL", "QUORUM", "SET", "another", "1")
            except ReplyError:
                pass
            else:
                raise AssertionError("one of three is no quorum")
        recover = ("node", "recover", "--data-dir", survivor.data_dir)
        said = quorate(*recover, "--yes")
        assert said.returncode == 1 and "in use" in said.stderr, said
        survivor.kill()
        said = quorate(*recover)
        assert said.returncode == 2 and "nothing was changed" in said.stderr, said
        assert "Lost for good:  b, c" in said.stdout, said
        said = quorate(*recover, "--yes", "--output", "json")
        assert said.returncode == 0, said
        report = json.loads(said.stdout)
        assert report["done"] and report["lost"] == ["b", "c"] and report["emptied"] == [], report
        said = quorate("node", "recover", "--data-dir", cluster.folder / "nowhere", "--yes")
        assert said.returncode == 1 and "not the data directory" in said.stderr, said

        survivor.start()
        cluster.nodes[:] = [survivor]
        assert names(survivor) == ["a"]
        with survivor.connect() as connection:
            answers = connection.pipeline([("CL", "QUORUM", "GET", f"k{number}") for number in range(5_000)])
        wrong = [(number, answer) for number, answer in enumerate(answers) if answer != str(number).encode()]
        assert not wrong, f"{len(wrong)} of 5000 are wrong, such as {wrong[:3]}"
        token = survivor.make_token(2)
        for number, node in enumerate(lost):
            cluster.make(node.name, f"dc{number + 2}").start("--join", survivor.ready["quic"], "--token", token)
        cluster.wait_complete(30)
        assert [(member["name"], member["voter"]) for member in members(survivor)] == [("a", True), ("b", True), ("c", True)]
        load(cluster[2], 1_000, "after")
        survivor.kill()
        with cluster[1].connect() as connection:
            assert connection.call("CL", "QUORUM", "GET", "k4999") == b"4999"
            assert connection.call("CL", "QUORUM", "SET", "k4999", "new") == "OK"
