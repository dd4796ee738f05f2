"""Third-party clients against any node of a cluster of three nodes in three datacenters."""

import functools
import json
import pathlib
import re
import subprocess

from cluster import Cluster, quorate
from environment import client, node_modules
from resp import ReplyError

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
    # By default a pipeline is a transaction.
    with a.pipeline() as pipeline:
        assert pipeline.set("p1", 5).incr("p1").get("p1").sadd("p2", "x").execute(raise_on_error=False)[:3] == [True, 6, "6"]
    with a.pipeline() as pipeline:
        try:
            pipeline.set("p1", "never").execute_command("SPOP", "set").execute()
            raise AssertionError("a pipeline with a refused command succeeded")
        except redis.exceptions.ResponseError as error:
            assert "EXECABORT" in str(error) or "CL SERIAL" in str(error), error
    assert a.get("p1") == "6"
    try:
        a.transaction(lambda pipeline: pipeline.set("p1", "never"), "p1")
        raise AssertionError("WATCH was not refused")
    except redis.exceptions.ResponseError as error:
        assert "watch" in str(error), error
    assert sorted(a.scan_iter(count=10)) == ["hash", "n", "p1", "p2", "set", "text"]
    assert a.delete("text", "hash", "set", "n", "p1", "p2") == 6
    assert a.info()["db0"]["keys"] == 0 if "db0" in a.info() else True
    assert a.info("commandstats")["cmdstat_set"]["calls"] > 0 and a.slowlog_len() >= 0 and a.time()[0] > 0
    for connection in clients:
        connection.close()


@with_cluster
def check_node_redis(cluster):
    run_in_node("redis", "node_redis.mjs", cluster)


@with_cluster
def check_ioredis(cluster):
    run_in_node("ioredis", "ioredis.mjs", cluster)


def run_in_node(package, script, cluster):
    """Runs a script that uses this package against all nodes. It must stand beside the packages."""
    copy = node_modules(package).parent / script
    copy.write_text((HERE.parent / script).read_text())
    done = subprocess.run([client("node"), str(copy), *(node.resp for node in cluster.nodes)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout.strip() == "done", done.stdout + done.stderr


@with_cluster
def check_a_transaction_is_applied_at_exec_and_not_before(cluster):
    a, b, _ = cluster.nodes
    with a.connect() as connection:
        connection.send(("CLIENT", "CONSISTENCY", "WRITE", "QUORUM"), ("MULTI",), ("SET", "t1", "v"), ("SADD", "t2", "x"), ("INCR", "t3"))
        assert [connection.receive() for _ in range(5)] == ["OK", "OK", "QUEUED", "QUEUED", "QUEUED"]
        assert b.call("CL", "ALL", "EXISTS", "t1", "t2", "t3") == 0
        assert connection.call("EXEC") == ["OK", 1, 1]
    assert b.call("CL", "QUORUM", "EXISTS", "t1", "t2", "t3") == 3
    with a.connect() as connection:
        connection.send(("MULTI",), ("SET", "t4", "v"))
        assert [connection.receive() for _ in range(2)] == ["OK", "QUEUED"]
    assert b.call("CL", "ALL", "EXISTS", "t4") == 0


@with_cluster
def check_a_scan_goes_on_through_other_nodes_and_after_restarts(cluster):
    keys = {f"scanned:{number}".encode() for number in range(2000)}
    for answer in cluster[0].connect().pipeline([("CL", "ALL", "SET", key, "v") for key in sorted(keys)]):
        assert answer == "OK", answer
    cursor, seen, pages = b"0", set(), 0
    while pages == 0 or cursor != b"0":
        cursor, page = cluster[pages % 3].call("SCAN", cursor, "COUNT", "100")
        seen.update(page)
        pages += 1
        if pages == 5:
            node = cluster[pages % 3]
            node.kill()
            node.start()
    assert pages > 10 and keys <= seen, (pages, len(keys - seen))


@with_cluster
def check_databases_by_number(cluster):
    a, b, c = cluster.nodes
    for node, number in ((a, 1), (b, 1), (c, 15)):
        with node.connect() as connection:
            assert connection.call("SELECT", number) == "OK"
            assert connection.call("CL", "QUORUM", "SADD", f"in {number}", node.name) == 1
    with c.connect() as connection:
        assert connection.call("SELECT", 1) == "OK"
        assert sorted(connection.call("CL", "QUORUM", "SMEMBERS", "in 1")) == [b"a", b"b"]
    assert a.call("CL", "ALL", "EXISTS", "in 1") == 0


@with_cluster
def check_info_is_read_as_an_exporter_reads_it(cluster):
    node = cluster[0]
    node.call("SET", "k", "v")
    node.call("SET", "e", "v", "EX", "1000")
    try:
        node.call("INCR", "k")
    except ReplyError:
        pass
    with node.connect() as connection:
        text = connection.call("INFO", "ALL").decode()
    sections, fields = re.findall(r"^# (\w+)\r$", text, re.MULTILINE), {}
    for line in text.split("\r\n"):
        # As redis_exporter: what is neither empty nor a title is a name, a colon and a value.
        if line and not line.startswith("#"):
            name, value = line.split(":", 1)
            assert name not in fields, name
            fields[name] = value
    wanted = {"Server", "Clients", "Memory", "Persistence", "Stats", "Replication", "CPU", "Commandstats", "Errorstats", "Keyspace"}
    assert wanted <= set(sections), sections
    for name in ("uptime_in_seconds", "connected_clients", "maxclients", "used_memory", "used_memory_rss", "used_memory_peak", "maxmemory", "loading"):
        assert float(fields[name]) >= 0, (name, fields[name])
    for name in ("total_connections_received", "total_commands_processed", "instantaneous_ops_per_sec", "total_net_input_bytes", "used_cpu_sys", "used_cpu_user"):
        assert float(fields[name]) >= 0, (name, fields[name])
    assert fields["arch_bits"] in ("32", "64") and fields["role"] == "master" and re.fullmatch(r"\d+\.\d+\.\d+", fields["redis_version"])
    assert re.fullmatch(r"keys=2,expires=1,avg_ttl=\d+", fields["db0"]), fields["db0"]
    assert re.fullmatch(r"calls=2,usec=\d+,usec_per_call=[\d.]+,rejected_calls=0,failed_calls=0", fields["cmdstat_set"]), fields["cmdstat_set"]
    assert re.fullmatch(r"calls=1,usec=\d+,usec_per_call=[\d.]+,rejected_calls=0,failed_calls=1", fields["cmdstat_incr"]), fields["cmdstat_incr"]
    assert fields["errorstat_ERR"] == "count=1", fields["errorstat_ERR"]


@with_cluster
def check_a_huge_pipeline_that_is_read_late(cluster):
    """redis-py sends all of a pipeline before it reads; neither side may wait for the other."""
    import redis

    host, port = cluster[0].resp.rsplit(":", 1)
    connection = redis.Redis(host=host, port=int(port), socket_timeout=120)
    connection.set("long", b"x" * 4096)
    with connection.pipeline(transaction=False) as pipeline:
        for number in range(20_000):
            pipeline.set(f"p{number % 100}", "y" * 500)
            pipeline.get("long")
        answers = pipeline.execute()
    assert len(answers) == 40_000 and answers[-1] == b"x" * 4096
    connection.close()


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
