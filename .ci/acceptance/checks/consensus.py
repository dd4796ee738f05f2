"""`quorate consensus`: what it says, and its exit codes, while nodes fail one after the other."""

import json

from cluster import Cluster, quorate, wait_until


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
