"""`kill -9` in the middle of writes loses nothing acknowledged."""

import random
import shutil
import signal
import threading
import time
import urllib.request

from cluster import Cluster, quorate, wait_until
from resp import Connection, ReplyError

ROUNDS = 5


class Writer(threading.Thread):
    """Writes numbered keys over one connection until it breaks, and remembers what was acknowledged."""

    def __init__(self, address, name, level):
        super().__init__(daemon=True)
        self.address, self.name, self.level, self.acknowledged, self.refused = address, name, level, 0, []
        # Set from outside when it has written enough.
        self.end = False

    def run(self):
        try:
            with Connection(self.address) as connection:
                for number in range(1_000_000):
                    if self.end:
                        break
                    connection.call("CL", self.level, "SET", f"{self.name}:{number}", number)
                    self.acknowledged = number + 1
        except ReplyError as error:
            self.refused.append(str(error))
        except OSError:
            pass


def lost(node, writers):
    """Acknowledged keys for which a quorum read through `node` returns something else, each with what it returns."""
    missing = []
    with node.connect() as connection:
        for writer in writers:
            answers = connection.pipeline([("CL", "QUORUM", "GET", f"{writer.name}:{n}") for n in range(writer.acknowledged)])
            missing += [(f"{writer.name}:{n}", answer) for n, answer in enumerate(answers) if answer != str(n).encode()]
    return missing


def killed_while_writing(cluster, victim, survivor, level):
    """Kills `victim` again and again under the load of four writers."""
    seeded, writers = random.Random(11), []
    for round_number in range(ROUNDS):
        running = [Writer(victim.resp, f"r{round_number}w{number}", level) for number in range(4)]
        writers += running
        for writer in running:
            writer.start()
        time.sleep(seeded.uniform(0.3, 1.0))
        victim.kill()
        for writer in running:
            writer.join(20)
        victim.start()
        # Writers that start before the nodes are connected again would only be refused.
        cluster.wait_complete()
    total = sum(writer.acknowledged for writer in writers)
    assert total > 100 * ROUNDS, f"only {total} writes were acknowledged: {[writer.refused for writer in writers]}"
    for node in {victim, survivor}:
        missing = lost(node, writers)
        assert not missing, f"{len(missing)} of {total} acknowledged writes not seen through {node.name}: {missing[:3]}"


def check_one_node_killed_while_writing():
    for engine in ("fjall", "sled"):
        with Cluster(1, ["--durability", "sync", "--storage", engine]) as cluster:
            killed_while_writing(cluster, cluster[0], cluster[0], "ONE")


def check_one_of_three_killed_while_writing():
    with Cluster(3, ["--durability", "sync"]) as cluster:
        killed_while_writing(cluster, cluster[0], cluster[1], "QUORUM")


def check_restart_after_a_clean_stop_keeps_everything():
    with Cluster(1) as cluster:
        node = cluster[0]
        with node.connect() as connection:
            assert connection.pipeline([("SET", f"k{n}", n) for n in range(5000)]) == ["OK"] * 5000
        assert node.stop() == 0
        node.start()
        with node.connect() as connection:
            assert connection.pipeline([("GET", f"k{n}") for n in range(5000)]) == [str(n).encode() for n in range(5000)]


def groups(cluster):
    """Term and leader of the control group, as each node sees them."""

    def term(node):
        with urllib.request.urlopen(f"http://{node.ready['http']}/metrics", timeout=5) as answer:
            (line,) = [line for line in answer.read().decode().splitlines() if line.startswith("quorate_raft_term ")]
        return int(float(line.split()[1]))

    return {(term(node), node.status()["leader"]) for node in cluster.nodes}


def check_votes_are_kept_whatever_the_durability():
    """Votes and decisions are synchronised even with --durability none. All nodes are killed at once, again and again."""
    with Cluster(3, ["--durability", "none"]) as cluster:
        before = 0
        for round_number in range(3):
            quorate("keyspace", "create", f"k{round_number}", "--replication", "dc1=1", "--http", cluster[0].ready["http"])
            for node in cluster.nodes:
                node.process.send_signal(signal.SIGKILL)
            for node in cluster.nodes:
                node.kill()
            for node in cluster.nodes:
                node.spawn()
            for node in cluster.nodes:
                node.wait_ready()

            def agreed():
                seen = groups(cluster)
                return seen if len(seen) == 1 and None not in next(iter(seen)) else None

            ((term, _),) = wait_until("all see one term and one leader", agreed, 20)
            assert term > before, f"term {term} was reached before the kill, at {before}"
            before = term
            names = [[keyspace["name"] for keyspace in node.status()["keyspaces"]] for node in cluster.nodes]
            assert all(f"k{number}" in known for known in names for number in range(round_number + 1)), names
        assert "volatile_voters" not in cluster[0].status()


def check_voters_that_may_forget_their_votes_are_named():
    with Cluster(1, ["--storage", "sled"]) as cluster:
        assert cluster[0].status()["volatile_voters"] == ["a"]
        said = quorate("status", "--http", cluster[0].ready["http"]).stdout
        assert "may be forgotten by a" in said, said


def check_a_memory_cluster_is_restarted_node_by_node():
    """Every node forgets all data once. It comes back without a token, under its name, and is filled."""
    with Cluster(3, ["--storage", "memory"]) as cluster:
        assert "volatile_voters" not in cluster[0].status()
        writers = []
        for stop, node in zip(("kill", "stop", "kill"), cluster.nodes):
            others = [other for other in cluster.nodes if other is not node]
            running = [Writer(other.resp, f"{node.name}{number}", "QUORUM") for number, other in enumerate(others)]
            writers += running
            for writer in running:
                writer.start()
            time.sleep(0.5)
            getattr(node, stop)()
            time.sleep(0.5)
            node.start()
            time.sleep(0.5)
            for writer in running:
                writer.end = True
                writer.join(20)
            cluster.wait_complete(60)
        total = sum(writer.acknowledged for writer in writers)
        assert total > 300, f"only {total} writes were acknowledged: {[writer.refused for writer in writers]}"
        for node in cluster.nodes:
            missing = lost(node, writers)
            assert not missing, f"{len(missing)} of {total} acknowledged writes not seen through {node.name}: {missing[:3]}"


def check_a_node_on_a_restored_directory_does_not_vote():
    """The directory has forgotten votes. Its node serves, and does not vote any more."""
    with Cluster(3) as cluster:
        node = cluster[2]
        node.stop()
        backup = cluster.folder / "backup"
        shutil.copytree(node.data_dir, backup)
        node.start()
        cluster.wait_complete()
        assert "volatile_voters" not in cluster[0].status()
        node.stop()
        shutil.rmtree(node.data_dir)
        shutil.copytree(backup, node.data_dir)
        node.start()
        wait_until("c is known to have forgotten", lambda: cluster[0].status().get("volatile_voters") == ["c"], 20)
        assert "older than one" in node.log.read_text(), "the node says what is wrong"
        cluster.wait_complete()
        assert node.call("CL", "QUORUM", "SET", "k", "v") == "OK"
        # It has to be asked for no vote: with another voter gone, nobody leads.
        cluster[0].kill()
        refused = quorate("keyspace", "create", "never", "--replication", "dc2=1", "--http", cluster[1].ready["http"])
        assert refused.returncode in (3, 4), refused
        cluster[0].start()
        wait_until("there is a leader", lambda: cluster[1].status()["leader"] in ("a", "b"), 20)
