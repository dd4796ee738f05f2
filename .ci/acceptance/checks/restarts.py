"""All three nodes stop and two come back: neither may lack anything that all had acknowledged."""

import threading

from cluster import Cluster, wait_until
from environment import preload

KEYS = 20


def slow_disk(ms):
    return lambda folder, name: {"LD_PRELOAD": str(preload()), "SLOW_SYNC_MS": str(ms)} if ms else {}


def together(step, nodes):
    """Runs `step` for all nodes at once and raises the first exception."""
    wrong = []

    def run(node):
        try:
            step(node)
        except Exception as error:  # noqa: BLE001 - it is raised below
            wrong.append(error)

    threads = [threading.Thread(target=run, args=(node,)) for node in nodes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        raise wrong[0]


def all_there(node, level):
    with node.connect() as connection:
        connection.call("SELECT", "later")
        answers = connection.pipeline([("CL", level, "GET", f"k{n}") for n in range(KEYS)])
    there = sum(answer == b"v" for answer in answers)
    other = next((answer for answer in answers if answer != b"v"), None)
    assert there == KEYS, f"{node.name} shows {there} of {KEYS} at {level}; another answer is {other!r}"


def ready(node, level):
    """Waits until the node answers at all at that level. `all_there` judges the answers."""

    def answers():
        with node.connect() as connection:
            connection.call("SELECT", "later")
            return connection.call("CL", level, "EXISTS", "k0") is not None

    wait_until(f"{node.name} answers at {level}", answers, 30)


def two_of_three_come_back(stop, first, slow_sync_ms=0):
    """`first` says which of founder, joiner and joiner come back first; the third follows."""
    with Cluster(3, ["--durability", "sync"], slow_disk(slow_sync_ms)) as cluster:
        cluster.make_keyspace("later")
        with cluster[0].connect() as connection:
            connection.call("SELECT", "later")
            assert connection.pipeline([("CL", "ALL", "SET", f"k{n}", "v") for n in range(KEYS)]) == ["OK"] * KEYS
        cluster.wait_converged(20)
        together(stop, cluster.nodes)
        back = [cluster[number] for number in first]
        together(lambda node: node.start(), back)
        for level in ("ONE", "QUORUM"):
            for node in back:
                ready(node, level)
                all_there(node, level)
        missing = next(node for node in cluster.nodes if node not in back)
        missing.start()
        cluster.wait_complete(30)
        for node in cluster.nodes:
            ready(node, "ONE")
            all_there(node, "ONE")


def stopped(node):
    assert node.stop() == 0, f"{node.name} did not stop in order"


def killed(node):
    node.kill()


def check_founder_back_first_after_a_clean_stop():
    two_of_three_come_back(stopped, (0, 1))


def check_joiners_back_first_after_a_clean_stop():
    two_of_three_come_back(stopped, (1, 2))


def check_founder_back_first_after_a_kill():
    two_of_three_come_back(killed, (0, 2))


def check_joiners_back_first_after_a_kill():
    two_of_three_come_back(killed, (1, 2))


def check_founder_back_first_on_slow_disks():
    for stop in (stopped, killed):
        two_of_three_come_back(stop, (0, 1), slow_sync_ms=5)


def check_joiners_back_first_on_slow_disks():
    for stop in (stopped, killed):
        two_of_three_come_back(stop, (1, 2), slow_sync_ms=5)
