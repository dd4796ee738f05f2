"""Third-party clients against any node of a cluster of three nodes in three datacenters."""

import functools
import json
import pathlib
import subprocess

from cluster import Cluster, quorate
from environment import client, node_modules

HERE = pathlib.Path(__file__).resolve().parent


def with_cluster(check):
    @functools.wraps(check)
    def run():
        with Cluster(3) as cluster:
            check(cluster)

    return run


def redis_cli(node, *words):
    host, port = node.resp.rsplit(":", 1)
    done = subprocess.run([client("redis-cli"), "-h", host, "-p", port, *words], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@with_cluster
def check_what_one_node_writes_another_reads_at_quorum(cluster):
    for number in range(300):
        writer, reader = cluster[number % 3], cluster[(number + 1) % 3]
        assert writer.call("CL", "QUORUM", "SET", f"k{number}", f"v{number}") == "OK"
        assert reader.call("CL", "QUORUM", "GET", f"k{number}") == f"v{number}".encode()


@with_cluster
def check_counters_add_up_whoever_counts(cluster):
    for number in range(300):
        cluster[number % 3].call("CL", "LOCAL_ONE" if number % 2 else "QUORUM", "INCR", "hits")
    cluster.wait_converged()
    for node in cluster.nodes:
        assert node.call("CL", "ALL", "GET", "hits") == b"300"


@with_cluster
def check_redis_cli(cluster):
    a, b, c = cluster.nodes
    assert redis_cli(a, "PING") == "PONG"
    assert redis_cli(a, "CL", "QUORUM", "SET", "greeting", "hello") == "OK"
    assert redis_cli(b, "CL", "QUORUM", "GET", "greeting") == "hello"
    assert redis_cli(c, "-3", "CL", "QUORUM", "SADD", "tags", "x", "y") in ("(integer) 2", "2")
    assert sorted(redis_cli(a, "CL", "QUORUM", "SMEMBERS", "tags").split()) == ["x", "y"]
    assert "NOSUCHLEVEL" in redis_cli(a, "CL", "NOSUCHLEVEL", "GET", "greeting")
    assert "unknown command" in redis_cli(a, "NOSUCHCOMMAND").lower()


@with_cluster
def check_redis_benchmark(cluster):
    for node in cluster.nodes:
        host, port = node.resp.rsplit(":", 1)
        command = [client("redis-benchmark"), "-h", host, "-p", port, "-t", "set,get,incr,sadd,hset", "-n", "2000", "-c", "20", "-r", "500", "--csv"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        tested = [line.split(",")[0].strip('"') for line in done.stdout.splitlines()]
        assert done.returncode == 0 and "error" not in (done.stdout + done.stderr).lower(), done.stdout + done.stderr
        assert {"SET", "GET", "INCR", "SADD", "HSET"} <= set(tested), done.stdout


@with_cluster
def check_redis_py(cluster):
    import redis

    assert int(redis.__version__.split(".")[0]) >= 8, redis.__version__
    clients = []
    for node in cluster.nodes:
        host, port = node.resp.rsplit(":", 1)
        clients.append(redis.Redis(host=host, port=int(port), protocol=3, decode_responses=True, socket_timeout=15))
    a, b, c = clients
    assert a.ping() and a.set("text", "grüß dich") and a.hset("hash", mapping={"x": 1, "y": 2}) == 2 and a.sadd("set", "p", "q") == 2
    assert b.execute_command("CL", "QUORUM", "GET", "text") == "grüß dich"
    assert a.execute_command("CL", "QUORUM", "INCRBY", "n", 5) == 5 and c.execute_command("CL", "QUORUM", "GET", "n") == "5"
    cluster.wait_converged()
    assert b.get("text") == "grüß dich" and b.hgetall("hash") == {"x": "1", "y": "2"} and c.smembers("set") == {"p", "q"}
    assert a.expire("text", 1000) and 0 < a.ttl("text") <= 1000 and a.type("set") == "set"
    with a.pipeline(transaction=False) as pipeline:
        assert pipeline.set("p1", 1).set("p2", 2).mget("p1", "p2").execute()[:2] == [True, True]
    assert sorted(a.scan_iter(count=10)) == ["hash", "n", "p1", "p2", "set", "text"]
    assert a.delete("text", "hash", "set", "n", "p1", "p2") == 6 and a.info("server")
    for connection in clients:
        connection.close()


@with_cluster
def check_node_redis(cluster):
    addresses = [node.resp for node in cluster.nodes]
    package = node_modules().parent / "check.mjs"
    package.write_text((HERE.parent / "node_redis.mjs").read_text())
    done = subprocess.run([client("node"), str(package), *addresses], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout.strip() == "done", done.stdout + done.stderr


@with_cluster
def check_levels_by_connection_and_by_user(cluster):
    a, b, _ = cluster.nodes
    with a.connect() as connection:
        assert connection.call("CLIENT", "CONSISTENCY", "READ", "QUORUM", "WRITE", "ALL") == "OK"
        assert connection.call("SET", "k", "v") == "OK"
        assert connection.call("WAIT", "2", "5000") == 2
    assert b.call("CL", "ONE", "GET", "k") == b"v"
    with b.connect() as connection:
        connection.call("AUTH", "QUORUM", "")
        assert connection.call("CLIENT", "CONSISTENCY") and connection.call("GET", "k") == b"v"


@with_cluster
def check_command_line(cluster):
    a, b, c = cluster.nodes
    assert quorate("put", "k", "v", "--resp", a.resp, "--consistency", "QUORUM").returncode == 0
    got = quorate("get", "k", "--resp", b.resp, "--consistency", "QUORUM")
    assert got.returncode == 0 and got.stdout.strip() == "v", got
    assert quorate("incr", "n", "5", "--resp", c.resp).returncode == 0
    assert quorate("get", "nothing", "--resp", a.resp).returncode == 1
    assert quorate("get", "k", "--consistency", "NOSUCHLEVEL").returncode == 2
    c.kill()
    refused = quorate("put", "k", "w", "--resp", a.resp, "--consistency", "ALL", "--timeout", "2s")
    assert refused.returncode in (3, 4) and "c@" in refused.stderr, refused


@with_cluster
def check_status_in_json(cluster):
    cluster.wait_converged()
    for node in cluster.nodes:
        done = quorate("status", "--output", "json", "--http", node.ready["http"])
        assert done.returncode == 0, done.stderr
        status = json.loads(done.stdout)
        assert status["converged"] is True and len(status["nodes"]) == 3 and status["leader"] in ("a", "b", "c"), status
