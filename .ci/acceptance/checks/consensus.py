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
