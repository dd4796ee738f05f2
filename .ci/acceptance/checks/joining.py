"""Who may join, what everyone else is told, and that a join can be repeated."""

import os
import random
import subprocess
import threading
import time

from checks.hostile_input import refused
from cluster import ENVIRONMENT, Cluster, Refused, quorate, wait_until

# How many nodes are killed while they join.
KILLS = 60 if os.environ.get("QUORATE_CHECKS") == "nightly" else 12


def check_a_wrong_token():
    with Cluster(1) as cluster:
        token = cluster[0].ready["join_token"]
        flipped = "A" if token[-8] != "A" else "B"
        for wrong in (token[:-8] + flipped + token[-7:], token[:-4], "nonsense", ""):
            said = refused(cluster.make(f"x{len(cluster.nodes)}"), "--join", cluster[0].ready["quic"], "--token", wrong)
            assert "token" in said, said
        assert len(cluster[0].status()["nodes"]) == 1


def check_a_used_up_token():
    with Cluster(1) as cluster:
        join = ["--join", cluster[0].ready["quic"], "--token", cluster[0].make_token(1)]
        cluster.make("b", "dc2").start(*join)
        said = refused(cluster.make("c", "dc3"), *join)
        assert "used" in said, said


def check_a_token_of_another_cluster():
    with Cluster(1) as cluster, Cluster(1) as other:
        said = refused(cluster.make("x"), "--join", cluster[0].ready["quic"], "--token", other[0].ready["join_token"])
        assert "cluster" in said, said
        assert len(cluster[0].status()["nodes"]) == 1


def check_nobody_at_the_address():
    with Cluster(1) as cluster, Cluster(1) as gone:
        address, token = gone[0].ready["quic"], gone[0].ready["join_token"]
        gone[0].kill()
        said = refused(cluster.make("x"), "--join", address, "--token", token)
        assert address in said, said


def check_a_name_that_is_taken():
    with Cluster(1) as cluster:
        twin = cluster.make("a")
        twin.data_dir = cluster.folder / "twin"
        said = refused(twin, "--join", cluster[0].ready["quic"], "--token", cluster[0].ready["join_token"])
        assert "name" in said or "taken" in said, said


def check_a_node_of_other_partitions_is_refused_at_the_door():
    with Cluster(1, ["--partitions", "32"]) as cluster:
        token = cluster[0].make_token(1)
        node = cluster.make("b", "dc2")
        join = ["--join", cluster[0].ready["quic"], "--token", token]
        cluster.arguments, node.arguments = [], ["--datacenter", "dc2"]
        said = refused(node, *join, "--partitions", "64")
        assert "32" in said and "64" in said, said
        assert names(cluster[0]) == ["a"]
        # The token has not been used, nor has the directory become anybody's.
        node.start(*join)
        assert names(cluster[0]) == ["a", "b"]


def names(node):
    return sorted(entry["name"] for entry in node.status()["nodes"])


def make_token(node, uses):
    made = quorate("node", "token", "--uses", uses, "--expires", "1h", "--http", node.ready["http"])
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


def check_a_node_killed_at_any_moment_of_its_join_joins_with_the_same_command():
    """One use per newcomer: if a killed attempt used the token up, or took the name, the last start would be refused."""
    chance = random.Random(11)
    with Cluster(1) as cluster:
        founder, joined = cluster[0], ["a"]
        for number in range(KILLS):
            name = f"k{number}"
            node = cluster.make(name, "dc2")
            token = make_token(founder, 1)
            node.environment = {"QUORATE_TOKEN": token}
            for _ in range(1 + number % 3):
                node.spawn("--join", founder.ready["quic"])
                time.sleep(chance.uniform(0, 0.6))
                node.kill()
            node.start("--join", founder.ready["quic"])
            joined.append(name)
            wait_until(f"{name} is a member", lambda: name in names(founder), 10)
            node.kill()
            cluster.nodes.remove(node)
            gone = quorate("node", "remove", name, "--lost", "--wait", "--http", founder.ready["http"], timeout=120)
            # It may be reached for another moment.
            while gone.returncode != 0 and "answers" in gone.stderr:
                time.sleep(0.5)
                gone = quorate("node", "remove", name, "--lost", "--wait", "--http", founder.ready["http"], timeout=120)
            assert gone.returncode == 0, gone.stderr
        assert names(founder) == ["a"]
        listed = quorate("node", "token", "list", "--http", founder.ready["http"]).stdout.strip().splitlines()
        assert len(listed) == 2, ("only the first token can still be used", listed)


def check_eight_nodes_join_at_once_while_some_are_killed():
    chance = random.Random(12)
    with Cluster(1) as cluster:
        token = make_token(cluster[0], 8)
        newcomers = [cluster.make(f"n{number}", f"dc{number % 3 + 1}") for number in range(8)]
        failures = []

        def join(node, kills):
            try:
                node.environment = {"QUORATE_TOKEN": token}
                for pause in kills:
                    node.spawn("--join", cluster[0].ready["quic"])
                    time.sleep(pause)
                    node.kill()
                node.start("--join", cluster[0].ready["quic"], seconds=60)
            except (AssertionError, Refused) as failure:
                failures.append((node.name, failure))

        kills = [[chance.uniform(0, 1.5) for _ in range(number % 3)] for number in range(8)]
        tasks = [threading.Thread(target=join, args=pair) for pair in zip(newcomers, kills)]
        for task in tasks:
            task.start()
        for task in tasks:
            task.join()
        assert not failures, failures
        for node in cluster.nodes:
            wait_until(f"{node.name} sees all", lambda: names(node) == sorted(["a"] + [n.name for n in newcomers]), 60)
        said = refused(cluster.make("ninth"), "--join", cluster[0].ready["quic"], "--token", token)
        assert "used" in said, said
        cluster.nodes.pop()


def check_a_token_stays_out_of_sight():
    """Neither the process list nor the log of a node shows the token that it was given in a file."""
    with Cluster(1) as cluster:
        token = make_token(cluster[0], 1)
        path = cluster.folder / "token"
        path.write_text(token + "\n")
        node = cluster.make("b", "dc2").start("--join", cluster[0].ready["quic"], "--token-file", path)
        assert node.ready["join_token"] is None
        seen = subprocess.run(["ps", "-ef"], capture_output=True, text=True, env=ENVIRONMENT).stdout
        assert "token-file" in seen and token not in seen
        for each in cluster.nodes:
            assert token not in each.log.read_text(errors="replace"), each.name
        # A node that is a member needs neither the file nor the token.
        path.unlink()
        node.stop()
        node.start("--join", cluster[0].ready["quic"], "--token-file", path)
        cluster[0].stop()
        again = cluster[0].start()
        assert again.ready["join_token"] is None, "the first token is told once"


def check_a_removed_node_is_refused_with_its_old_directory():
    with Cluster(3) as cluster:
        removed = cluster[2]
        removed.kill()
        gone = quorate("node", "remove", "c", "--lost", "--wait", "--http", cluster[0].ready["http"], timeout=120)
        while gone.returncode != 0 and "answers" in gone.stderr:
            time.sleep(0.5)
            gone = quorate("node", "remove", "c", "--lost", "--wait", "--http", cluster[0].ready["http"], timeout=120)
        assert gone.returncode == 0, gone.stderr
        # It does not know that it was removed, and believes that it is one of three.
        removed.spawn()
        wait_until("it is refused", lambda: "not that of a member" in cluster[0].log.read_text(errors="replace"), 20)
        time.sleep(2)
        for node in cluster.nodes[:2]:
            assert names(node) == ["a", "b"], names(node)
        wait_until("it sees nobody", lambda: lonely(removed), 20)


def check_a_node_killed_while_it_changes_its_key():
    """Wherever the change was interrupted, the node is believed when it is back, and the change comes to its end."""
    chance = random.Random(13)

    def key(node, name):
        """The body of a small file: without its head, which names its format, and its checksum."""
        return (node.data_dir / name).read_bytes()[10:-4]

    with Cluster(3) as cluster:
        node = cluster[2]
        for round_number in range(KILLS):
            before = key(node, "key")
            asking = threading.Thread(target=quorate, args=("node", "rotate-key", "--http", node.ready["http"]))
            asking.start()
            time.sleep(chance.uniform(0, 0.12))
            node.kill()
            asking.join()
            begun = (node.data_dir / "next-key").exists()
            node.start()
            cluster.wait_complete(30)
            assert node.call("CL", "QUORUM", "SET", "k", round_number) == "OK"
            if begun:
                wait_until("the change has come to its end", lambda: key(node, "key") == key(node, "next-key"), 20)
            else:
                assert key(node, "key") == before
        changed = quorate("node", "rotate-key", "--http", node.ready["http"])
        assert changed.returncode == 0, changed.stderr


def lonely(node):
    """Whether a node says that it reaches neither of the two others."""
    return node.log.read_text(errors="replace").count("a node cannot be reached") >= 2
