"""`quorate consensus`: what it says, and its exit codes, while nodes fail one after the other."""

import json
import pathlib
import signal
import tempfile

from cluster import Cluster, quorate, wait_until
from resp import ReplyError


def asked(node, *words):
    """The exit code and the document of a verb."""
    done = quorate("consensus", *words, "--http", node.ready["http"], "--output", "json")
    return done.returncode, json.loads(done.stdout) if done.stdout else json.loads(done.stderr)


def said(node, *words):
    done = quorate("consensus", *words, "--http", node.ready["http"])
    return done.returncode, done.stdout + done.stderr


def check_a_leader_hands_over_and_logs_are_read_and_shortened():
    with Cluster(3) as cluster:
        a = cluster[0]
        for leader in ("b", "c", "a", "b"):
            code, led = asked(a, "transfer-leader", "--to-node", leader)
            assert code == 0 and led == {"leader": leader}, led
            wait_until(f"all follow {leader}", lambda: all(node.status()["leader"] == leader for node in cluster.nodes), 10)
        code, text = said(a, "transfer-leader", "--to-node", "nobody")
        assert code == 1 and "no node nobody" in text, text
        code, led = asked(a, "force-election", "--reason", "a check")
        assert code == 0 and led["leader"] in ("a", "c"), led
        assert "reason=a%20check" in a.log.read_text(), "the audit line has the reason"
        code, log = asked(a, "log", "--tail", "5")
        indexes = [entry["index"] for entry in log["entries"]]
        assert code == 0 and len(indexes) == 5 and indexes == list(range(indexes[0], indexes[0] + 5)), log
        assert any("takes office" in entry["what"] for entry in log["entries"]), log
        code, text = said(a, "compact-log", "--before-index", indexes[-1] + 100)
        assert code == 1 and "make a snapshot first" in text, text
        code, made = asked(a, "snapshot", "--create")
        assert code == 0 and made["snapshot"] >= indexes[-1], made
        assert asked(a, "snapshot", "--list") == (0, made)
        code, left = asked(a, "compact-log", "--before-index", indexes[-1])
        assert code == 0 and left["first_log"] >= indexes[-1], left
        code, view = asked(a, "status", "--detailed")
        assert code == 0 and view["here"]["first_log"] == left["first_log"] and view["group"]["quorate"], view
        assert said(a, "--group", "none", "log")[0] == 1
        # What was dropped is not missed: a node that starts again, and one that is new.
        assert cluster[1].stop() == 0
        cluster[1].start()
        a.call("CL", "ALL", "SET", "k", "v")
        cluster.add("d", "dc1")
        wait_until("d knows all", lambda: len(cluster[3].status()["nodes"]) == 4, 20)


def check_quorum_commands_say_who_may_fail():
    with Cluster(3) as cluster:
        a, b, c = cluster.nodes
        code, quorum = asked(a, "quorum", "--check")
        assert code == 0 and quorum["group"]["spare"] == 1 and sorted(quorum["group"]["voters"]) == ["a", "b", "c"], quorum
        code, leader = said(a, "leader", "--show")
        assert code == 0 and leader.strip() in ("a", "b", "c"), leader
        for operation in ("read", "write"):
            code, places = asked(b, "verify-quorum", "--operation", operation, "--level", "QUORUM")
            assert code == 0 and [place["datacenter"] for place in places["from"]] == ["dc1", "dc2", "dc3"], places
        code, text = said(a, "set-quorum", "--read", "1", "--write", "1")
        assert code == 0 and "a read may miss a write" in text and "one node only" in text, text
        code, text = said(a, "set-quorum", "--read", "QUORUM", "--write", "QUORUM")
        assert code == 0 and "may miss" not in text, text
        wait_until("the default is known", lambda: asked(a, "quorum")[1]["keyspaces"][0]["write"] == "QUORUM", 10)
        assert asked(a, "diagnose", "--node", "c") == (0, {"node": "c", "findings": []})
        code, text = said(a, "metrics", "--prometheus")
        assert code == 0 and "quorate_raft_term" in text and all("raft" in line for line in text.splitlines()), text
        c.kill()
        wait_until("c is down", lambda: asked(a, "quorum")[1]["group"]["spare"] == 0, 20)
        code, found = asked(a, "diagnose", "--node", "c")
        assert code == 1 and found["findings"][0]["what"] == "down", found
        # Of the voters that would be left, only one answers.
        code, text = said(a, "remove-node", "b", "--safe")
        assert code == 3 and "nothing was changed" in text, text
        assert asked(a, "verify-quorum", "--operation", "write", "--level", "ALL")[0] == 3
        assert asked(a, "verify-quorum", "--operation", "write")[0] == 0
        b.kill()
        wait_until("b is down", lambda: asked(a, "quorum")[0] == 3, 20)
        code, text = said(a, "quorum", "--check")
        assert code == 3 and "nothing can be decided" in text, text
        assert said(a, "leader")[0] == 3
        code, places = asked(a, "verify-quorum", "--operation", "read")
        assert code == 3 and places["from"][0]["missing"] == ["b", "c"], places
        assert asked(a, "verify-quorum", "--operation", "read", "--level", "ONE")[0] == 0
        assert asked(a, "diagnose", "--node", "nobody")[0] == 1


def read(node, *words):
    return said(node, "read", *words)


def check_reads_are_as_fresh_as_they_say():
    """Metadata at three levels, from every node, and from one that is cut off because the others are stopped."""
    with Cluster(3) as cluster:
        a, b, c = cluster.nodes
        for number, node in enumerate([a, b, c] * 5):
            assert node.call("META.SET", "k", str(number)) > 0
            for other in cluster.nodes:
                # What was acknowledged is seen everywhere at once.
                assert other.call("META.GET", "k")[0] == str(number).encode(), other.name
        for level in ("strong", "lease", "stale"):
            code, text = read(b, "--key", "k", "--level", level)
            assert (code, text) == (0, "14\n"), (level, code, text)
        code, document = asked(c, "read", "--key", "k", "--level", "stale", "--max-staleness", "5s")
        assert code == 0 and document["value"] == "14" and document["revision"] > 0, document
        assert read(a, "--key", "none")[0] == 1
        # Somebody has read and written since: the old revision is worth nothing.
        assert a.call("META.CAS", "k", document["revision"], "15") > document["revision"]
        assert c.call("META.CAS", "k", document["revision"], "16") is None
        token, _ = a.call("ELECTION.CAMPAIGN", "e", "10.0.0.1", "TTL", 60_000)
        assert int(token) > 0
        assert read(b, "--election", "e", "--level", "lease") == (0, "10.0.0.1\n")
        a.call("LOCK.ACQUIRE", "l", "TTL", 60_000, "HOLDER", "ann")
        code, locks = asked(c, "read", "--locks-of", "ann")
        assert code == 0 and locks["locks"][0]["key"] == "l", locks
        # Alone it knows what it knew, and says for how long it can show that.
        assert read(c, "--key", "k")[0] == 0
        a.kill()
        b.kill()
        assert read(c, "--key", "k", "--level", "stale", "--max-staleness", "10m") == (0, "15\n")
        code, text = read(c, "--key", "k", "--level", "stale", "--max-staleness", "1ms")
        assert code == 3 and "old" in text and "nothing was read" in text, (code, text)
        assert read(c, "--key", "k", "--level", "stale") == (0, "15\n")
        for level in ("strong", "lease"):
            assert read(c, "--key", "k", "--level", level, "--timeout", "20s")[0] == 3, level


def check_a_witness_breaks_the_tie():
    """Two nodes with data and a witness: whichever node is killed, decisions and locks go on; the witness holds nothing."""
    with Cluster(2) as cluster:
        a, b = cluster.nodes
        code, made = asked(a, "add-witness", "--node", "w")
        assert code == 0 and "--witness" in made["command"] and " --node w " in made["command"], made
        w = cluster.add("w", "dc3", "--witness")
        voters = lambda: sorted(asked(a, "quorum")[1]["group"]["voters"])
        wait_until("all three vote", lambda: voters() == ["a", "b", "w"] and asked(a, "--group", "coordination", "quorum")[1]["group"]["spare"] == 1, 20)
        listed = quorate("node", "list", "--http", a.ready["http"], "--output", "json")
        members = {member["name"]: member for member in json.loads(listed.stdout)["nodes"]}
        assert members["w"]["witness"] and members["w"]["partitions"] == 0 and members["a"]["partitions"] > 0, members
        # It serves clients as any node does.
        w.call("CL", "QUORUM", "SET", "k", "v")
        code, text = said(a, "transfer-leader", "--to-node", "w")
        assert code == 1 and "witness" in text, text
        for dies, left in ((a, b), (b, a)):
            dies.kill()
            wait_until("a lock is granted", lambda: granted(left), 20)
            code, led = asked(left, "--group", "coordination", "leader")
            assert code == 0 and led["leader"] == left.name, led
            left.call("META.SET", "by", left.name)
            dies.start()
            wait_until("all answer again", lambda: asked(left, "quorum")[1]["group"]["spare"] == 1, 30)
            assert dies.call("META.GET", "by")[0] == left.name.encode()


def granted(node):
    try:
        return node.call("LOCK.ACQUIRE", "k", "TTL", 10) is not None
    except (OSError, ReplyError):
        return False


def check_locks_are_saved_and_restored():
    """A saved state comes back in the same cluster and in another one, and tokens only rise; what is no archive is refused."""
    coordination = ("--group", "coordination", "snapshot")
    with Cluster(3) as cluster, tempfile.TemporaryDirectory() as folder:
        a, b, _ = cluster.nodes
        file = pathlib.Path(folder) / "state.qrca"
        token = int(a.call("LOCK.ACQUIRE", "held", "TTL", 3_600_000)[0])
        a.call("META.SET", "m", "saved")
        code, text = said(a, *coordination, "--create", "--to", str(file))
        assert code == 0, text
        b.call("META.SET", "m", "later")
        later = int(b.call("LOCK.ACQUIRE", "later", "TTL", 3_600_000)[0])
        code, restored = asked(b, *coordination, "--restore", "--from", str(file))
        assert code == 0 and restored["tokens_above"] > later, restored
        assert a.call("META.GET", "m")[0] == b"saved"
        assert a.call("LOCK.RENEW", "held", token) == 1 and a.call("LOCK.RENEW", "later", later) == 0
        assert int(a.call("LOCK.ACQUIRE", "later", "TTL", 10)[0]) > restored["tokens_above"]
        whole = file.read_bytes()
        for broken in (whole[:-1], whole[: len(whole) // 2], whole[:30] + bytes([whole[30] ^ 4]) + whole[31:], b"QRCA", b"", b"x" * 100):
            file.write_bytes(broken)
            code, refused = asked(a, *coordination, "--restore", "--from", str(file))
            assert code == 1 and refused["error"]["code"] == "bad_archive", refused
        assert a.call("META.GET", "m")[0] == b"saved"
        file.write_bytes(whole)
        with Cluster(1) as other:
            node = other[0]
            code, refused = asked(node, *coordination, "--restore", "--from", str(file))
            assert code == 1 and refused["error"]["code"] == "foreign_archive", refused
            code, restored = asked(node, *coordination, "--restore", "--from", str(file), "--foreign")
            assert code == 0 and restored["tokens_above"] > token, restored
            assert node.call("META.GET", "m")[0] == b"saved" and node.call("LOCK.RENEW", "held", token) == 1


def check_a_leader_that_was_stopped_answers_no_old_read():
    """The leader is stopped five times until others have decided. When it goes on, no lease read through it is old."""
    with Cluster(3) as cluster:
        cluster[0].call("META.SET", "k", "-")
        for turn in range(5):
            leads = lambda: asked(cluster[0], "--group", "coordination", "leader")[1].get("leader")
            name = wait_until("somebody leads", leads, 20)
            leader = next(node for node in cluster.nodes if node.name == name)
            other = next(node for node in cluster.nodes if node is not leader)
            assert leader.call("META.GET", "k", "LEASE") is not None
            leader.process.send_signal(signal.SIGSTOP)
            try:
                wait_until("others decide", lambda: decided(other, turn), 20)
            finally:
                leader.process.send_signal(signal.SIGCONT)
            for _ in range(50):
                for level in ("LEASE", "STRONG"):
                    try:
                        value = leader.call("META.GET", "k", level)[0]
                    except (OSError, ReplyError):
                        continue
                    assert value == str(turn).encode(), (turn, level, value)


def decided(node, turn):
    try:
        return node.call("META.SET", "k", str(turn), timeout=10) > 0
    except (OSError, ReplyError):
        return False
