"""Fencing tokens: a holder that was paused harms nobody when it goes on."""

import contextlib
import http.client
import multiprocessing
import os
import signal
import time

from cluster import Cluster, wait_until
from resp import Connection, ReplyError


def fenced(answer, by):
    text = str(answer)
    return isinstance(answer, ReplyError) and text.startswith(f"FENCED requests below token {by},")


def ask(node, *words):
    """Returns an error instead of raising it."""
    with node.connect() as connection:
        connection.send(words)
        return connection.receive()


def write_for_ever(address, token, told=None):
    """A holder that numbers its writes, and tells each answer if somebody listens. Ends with its node."""
    with contextlib.suppress(ConnectionError), Connection(address) as connection:
        sequence = 0
        while True:
            sequence += 1
            connection.send(("FENCE", "job", token, "SEQ", sequence, "SINCE", 1, "SET", "k", f"{token}.{sequence}"))
            answer = str(connection.receive())
            if told is not None:
                told.put((sequence, answer))


def over_http(node, method, fence, body=None, path="/v1/kv/default/k"):
    connection = http.client.HTTPConnection(node.ready["http"], timeout=15)
    connection.request(method, path, body=body, headers={"Quorate-Fence": fence})
    response = connection.getresponse()
    return response.status, response.read()


def check_a_holder_that_was_paused_is_fenced_off():
    with Cluster(3) as cluster:
        a, b, c = cluster.nodes
        told = multiprocessing.SimpleQueue()
        holder = multiprocessing.Process(target=write_for_ever, args=(a.resp, 1, told), daemon=True)
        holder.start()
        try:
            answers = [told.get() for _ in range(50)]
            assert all(text == "OK" for _, text in answers), answers[0]
            os.kill(holder.pid, signal.SIGSTOP)
            found = ask(b, "FENCE", "job", 2, "SEQ", 1, "GET", "k")
            assert found.startswith(b"1."), found
            os.kill(holder.pid, signal.SIGCONT)
            # What it had been answered before it was paused may still be in the queue, and one request was under way.
            def is_fenced():
                _, text = told.get()
                return text.startswith("FENCED requests below token 2,")

            wait_until("the paused holder is refused", is_fenced, 10)
            assert all(is_fenced() for _ in range(50)), "it was admitted again"
        finally:
            holder.kill()
        again = ask(c, "FENCE", "job", 2, "SEQ", 2, "GET", "k")
        assert again == found, f"{found}, and then {again}"
        # Through every node, reads and writes alike, and over HTTP; also after a node was killed.
        b.kill()
        b.start()
        cluster.wait_complete()
        for node in cluster.nodes:
            for command in (("GET", "k"), ("SET", "k", "late"), ("INCR", "k"), ("APPEND", "k", "x"), ("DEL", "k"), ("EXPIRE", "k", 100)):
                answer = ask(node, "FENCE", "job", 1, "SEQ", 1_000_000, *command)
                assert fenced(answer, 2), f"{node.name} {command}: {answer}"
            for method, body in (("GET", None), ("PUT", b"late"), ("DELETE", None)):
                status, text = over_http(node, method, "job=1;seq=1000000", body)
                assert status == 412 and b'"code":"fenced"' in text and b'"token":2' in text, (status, text)
            assert ask(node, "FENCE", "job", 2, "SEQ", 3, "GET", "k") == found
            assert node.call("CL", "QUORUM", "GET", "k") == found
        assert over_http(a, "PUT", "job=3", b"next") == (204, b"")
        assert over_http(c, "GET", "job=3")[1] == b"next"
        assert fenced(ask(c, "FENCE", "job", 2, "GET", "k"), 3)


def add_for_ever(address, token, told):
    """A holder that changes a set and a hash."""
    with contextlib.suppress(ConnectionError), Connection(address) as connection:
        sequence = 0
        while True:
            for command in (("SADD", "set", f"{token}.{sequence}"), ("HSET", "hash", sequence % 5, f"{token}.{sequence}")):
                sequence += 1
                connection.send(("FENCE", "job", token, "SEQ", sequence, "SINCE", 1, *command))
                told.put(str(connection.receive()))


def check_a_paused_holder_changes_no_collection():
    with Cluster(3) as cluster:
        a, b, c = cluster.nodes
        told = multiprocessing.SimpleQueue()
        holder = multiprocessing.Process(target=add_for_ever, args=(a.resp, 1, told), daemon=True)
        holder.start()
        looks = (("SMEMBERS", "set"), ("SCARD", "set"), ("HGETALL", "hash"), ("HLEN", "hash"), ("TYPE", "hash"), ("EXISTS", "set"), ("TTL", "set"))

        def look(node, token, sequence):
            answers = [ask(node, "FENCE", "job", token, "SEQ", sequence, *command) for command in looks]
            return [sorted(answer) if isinstance(answer, list) else answer for answer in answers]

        try:
            answers = [told.get() for _ in range(50)]
            assert all(text in "01" for text in answers), answers[0]
            os.kill(holder.pid, signal.SIGSTOP)
            found = look(b, 2, 1)
            assert not any(isinstance(answer, ReplyError) for answer in found), found
            assert len(found[0]) == found[1] > 20 and found[3] == 5 and found[4:] == ["hash", 1, -1], found[1:]
            os.kill(holder.pid, signal.SIGCONT)
            wait_until("the paused holder is refused", lambda: told.get().startswith("FENCED requests below token 2,"), 10)
            for node in cluster.nodes:
                assert look(node, 2, 2) == found, node.name
        finally:
            holder.kill()
        # All have told each other that they refuse token 1: then one of them may be missing.
        time.sleep(3)
        c.kill()
        assert look(a, 2, 3) == found
        refused = ask(a, "FENCE", "job", 3, "SEQ", 1, "SMEMBERS", "set")
        assert isinstance(refused, ReplyError) and str(refused).startswith("NOTCLOSED ") and c.name in str(refused), refused
        assert ask(a, "FENCE", "job", 3, "SEQ", 2, "SISMEMBER", "set", "1.0") == 1
        status, text = over_http(a, "GET", "job=2;seq=9", path="/v1/kv/default/set?typed=true")
        assert status == 412 and b'"code":"fenced"' in text, (status, text)
        c.start()
        cluster.wait_complete()
        assert look(b, 3, 3) == found
        assert ask(b, "FENCE", "job", 3, "SEQ", 4, "DEL", "set") == 1
        assert ask(c, "FENCE", "job", 3, "SEQ", 5, "SMEMBERS", "set") == []


def check_what_a_holder_reads_does_not_change_under_it(seconds=15):
    """Holders come and go, the old ones write on, and nodes are killed."""
    with Cluster(3) as cluster:
        holders, token, turns = [], 0, 0
        end = time.monotonic() + seconds
        try:
            while time.monotonic() < end:
                token += 1
                node = cluster[token % 3]
                first = ask(node, "FENCE", "job", token, "SEQ", 1, "GET", "k")
                if isinstance(first, ReplyError):
                    # The node was killed a moment ago. The next holder tries elsewhere.
                    continue
                turns += 1
                for reader in cluster.nodes:
                    read = ask(reader, "FENCE", "job", token, "SEQ", 2, "GET", "k")
                    assert read == first or isinstance(read, ReplyError), f"token {token}: {first}, and then {read}"
                holder = multiprocessing.Process(target=write_for_ever, args=(cluster[(token + 1) % 3].resp, token), daemon=True)
                holder.start()
                holders.append(holder)
                time.sleep(0.2)
                if token % 10 == 0:
                    victim = cluster[(token // 10) % 3]
                    victim.kill()
                    victim.start()
                    cluster.wait_complete()
                while len(holders) > 3:
                    holders.pop(0).kill()
        finally:
            for holder in holders:
                holder.kill()
        assert turns > 20, f"only {turns} of {token} holders had their turn"
