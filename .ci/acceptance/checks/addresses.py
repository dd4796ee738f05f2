"""Who founds a cluster, where its nodes are, and what becomes of them when all of that changes."""

import json
import shutil
import socket
import urllib.error
import urllib.request

from checks.hostile_input import refused
from checks.restarts import together
from cluster import Cluster, quorate, wait_until

KEYS = 500


def free_addresses(count):
    """UDP addresses at which nobody listens."""
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(count)]
    try:
        for bound in sockets:
            bound.bind(("127.0.0.1", 0))
        return ["127.0.0.1:%d" % bound.getsockname()[1] for bound in sockets]
    finally:
        for bound in sockets:
            bound.close()


def fill(node, prefix):
    with node.connect() as connection:
        assert connection.pipeline([("CL", "QUORUM", "SET", f"{prefix}{n}", n) for n in range(KEYS)]) == ["OK"] * KEYS


def read_all(node, prefix):
    with node.connect() as connection:
        found = connection.pipeline([("CL", "QUORUM", "GET", f"{prefix}{n}") for n in range(KEYS)])
    assert found == [str(n).encode() for n in range(KEYS)], f"{node.name} lacks some of {prefix}"


def told(node):
    """The addresses of all nodes, as `node` knows them."""
    listed = quorate("node", "list", "--output", "json", "--http", node.ready["http"])
    assert listed.returncode == 0, listed.stderr
    return [member["address"] for member in json.loads(listed.stdout)["nodes"]]


def move_all(cluster, *more):
    """Starts every node of a stopped cluster at an address that nobody knows. Each is told one other."""
    addresses = free_addresses(len(cluster.nodes))
    where = dict(zip([node.name for node in cluster.nodes], addresses))
    seeds = dict(zip(where, addresses[1:] + addresses[:1]))
    together(lambda node: node.start("--quic", where[node.name], "--join", seeds[node.name], *more), cluster.nodes)
    return addresses


def check_all_nodes_come_back_at_other_addresses():
    with Cluster(3) as cluster:
        fill(cluster[0], "before")
        for round in range(2):
            together(lambda node: node.kill() if round == 0 else node.stop(), cluster.nodes)
            addresses = move_all(cluster)
            cluster.wait_complete(30)
            for node in cluster.nodes:
                read_all(node, "before")
                wait_until(f"{node.name} knows the new addresses", lambda: told(node) == addresses, 20)
        fill(cluster[1], "after")
        # The new addresses are kept: the next start needs no help.
        together(lambda node: node.kill(), cluster.nodes)
        together(lambda node: node.start("--quic", addresses[cluster.nodes.index(node)]), cluster.nodes)
        cluster.wait_complete(30)
        for node in cluster.nodes:
            read_all(node, "before")
            read_all(node, "after")


def check_one_node_after_the_other_comes_back_at_another_address():
    """Nobody is told anything: whoever comes back finds the others where they were, and tells where it is."""
    with Cluster(3) as cluster:
        fill(cluster[0], "k")
        for node in reversed(cluster.nodes):
            (address,) = free_addresses(1)
            node.stop()
            node.start("--quic", address)
            cluster.wait_complete(30)
            for other in cluster.nodes:
                wait_until(f"{other.name} knows where {node.name} is", lambda: address in told(other), 20)
        for node in cluster.nodes:
            read_all(node, "k")


def check_an_empty_directory_founds_nothing_by_itself():
    with Cluster(3) as cluster:
        fill(cluster[0], "k")
        founder = cluster[0]
        founder.kill()
        mounted = founder.data_dir.with_name("mounted")
        founder.data_dir.rename(mounted)
        # As after an unmount, with and without the empty directory that is left of it.
        for left in (False, True):
            if left:
                founder.data_dir.mkdir()
            said = refused(founder)
            assert "holds no node" in said and "--found" in said and "mounted" in said, said
        assert list(founder.data_dir.iterdir()) == []
        founder.data_dir.rmdir()
        mounted.rename(founder.data_dir)
        # The command line of the first start is as good as any.
        founder.start("--found")
        cluster.wait_complete(30)
        read_all(founder, "k")


def check_a_directory_is_refused_to_whom_it_does_not_belong():
    with Cluster(1, ["--partitions", "32"]) as cluster:
        node = cluster[0]
        fill(node, "k")
        node.stop()
        right = node.arguments
        for flag, kept, given in (
            ("--storage", "fjall", "memory"),
            ("--storage", "fjall", "sled"),
            ("--datacenter", "dc1", "dc9"),
            ("--rack", "r1", "r9"),
            ("--partitions", "32", "64"),
        ):
            node.arguments = [] if flag == "--datacenter" else ["--datacenter", "dc1"]
            said = refused(node, flag, given)
            assert kept in said and given in said, said
        node.arguments = right
        store, aside = node.data_dir / "fjall", node.data_dir / "aside"
        store.rename(aside)
        said = refused(node)
        assert "store is empty" in said, said
        shutil.rmtree(store)
        aside.rename(store)
        node.start()
        read_all(node, "k")


def check_an_address_that_nobody_can_dial_is_refused():
    with Cluster(1) as cluster:
        said = refused(cluster.make("x"), "--found", "--quic", "0.0.0.0:0")
        assert "advertise" in said, said
        cluster.nodes.pop()
        (address,) = free_addresses(1)
        port = address.rpartition(":")[2]
        token = cluster[0].ready["join_token"]
        second = cluster.make("b", "dc2")
        second.start("--quic", f"0.0.0.0:{port}", "--advertise", f"localhost:{port}", "--join", f"127.0.0.1:1,{cluster[0].ready['quic']}", "--token", token)
        assert second.ready["quic"] == f"localhost:{port}", second.ready
        cluster.wait_complete(30)
        wait_until("a knows b's name", lambda: f"localhost:{port}" in told(cluster[0]), 10)


def readyz(node):
    """The code and the body of `GET /readyz`."""
    try:
        with urllib.request.urlopen(f"http://{node.ready['http']}/readyz", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def check_a_node_says_why_it_is_not_ready():
    with Cluster(1) as cluster:
        node = cluster[0]
        join = ["--join", node.ready["quic"], "--token", node.ready["join_token"]]
        for name in ("b", "c"):
            cluster.make(name, "dc1", "--rack", name).start(*join)
        wait_until("the keyspace has three replicas", lambda: node.status()["keyspaces"][0]["replication"] == {"dc1": 3}, 20)
        cluster.wait_converged(30)
        for other in cluster.nodes:
            wait_until(f"{other.name} is ready", lambda: readyz(other)[0] == 200, 10)
        for other in cluster.nodes[1:]:
            other.kill()
        wait_until("a is not ready any more", lambda: readyz(node)[0] == 503, 20)
        assert "LOCAL_QUORUM need 2 replicas, and 1 can be reached" in readyz(node)[1], readyz(node)
        # It serves nevertheless, also after a start.
        node.kill()
        node.start()
        assert "not at every default level" in node.log.read_text(errors="replace")
        assert node.call("CL", "ONE", "SET", "k", "v") == "OK"
        cluster[1].start()
        wait_until("a is ready again", lambda: readyz(node)[0] == 200, 20)
