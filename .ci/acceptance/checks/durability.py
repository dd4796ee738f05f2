"""`kill -9` in the middle of writes loses nothing acknowledged."""

import random
import threading
import time

from cluster import Cluster
from resp import Connection, ReplyError

ROUNDS = 5


class Writer(threading.Thread):
    """Writes numbered keys over one connection until it breaks, and remembers what was acknowledged."""

    def __init__(self, address, name, level):
        super().__init__(daemon=True)
        self.address, self.name, self.level, self.acknowledged, self.refused = address, name, level, 0, []

    def run(self):
        try:
            with Connection(self.address) as connection:
                for number in range(1_000_000):
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
