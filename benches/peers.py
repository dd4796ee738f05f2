#!/usr/bin/env python3
"""Compares Quorate with Redis and etcd in one run on one machine. Prints a Markdown table.

    cargo build --release && benches/peers.py [--seconds 4] [--clients 50] [--only data|coordination]

Starts every server in a temporary directory on loopback, and stops it afterwards. `quorate bench` is the client of everything that speaks
RESP, so both sides are measured by the same program. etcd is driven through its JSON gateway by Python threads, which gives a lower bound of
what it can do. Locks, metadata and strong reads are measured by one Python program that speaks RESP to Quorate and gRPC to etcd: see
closed_loop.py. Servers that are not installed (Debian: redis-server, etcd-server) are left out, with a note on stderr.
Servers and client share the processors: compare rows of one run only, never with figures from elsewhere."""
import argparse, base64, http.client, json, pathlib, shutil, subprocess, sys, tempfile, threading, time

import closed_loop
from servers import QUORATE, etcd, quorate, redis, stop_all

arguments = argparse.ArgumentParser()
arguments.add_argument("--seconds", type=int, default=4)
arguments.add_argument("--clients", type=int, default=50)
arguments.add_argument("--rounds", type=int, default=3)
arguments.add_argument("--only", choices=["data", "coordination"])
options = arguments.parse_args()


def bench(targets, workload, *more):
    command = [QUORATE, "bench", "--target", ",".join(f"resp://{target}" for target in targets), "--workload", workload, "--clients",
               options.clients, "--pipeline", "1", "--seconds", options.seconds, "--output", "json", *more]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode not in (0, 1) or not done.stdout:
        sys.exit(f"{command}: {done.stderr}")
    figures = json.loads(done.stdout.strip().splitlines()[-1])
    if figures["errors"]:
        print(f"{figures['errors']} errors: {' '.join(map(str, command))}", file=sys.stderr)
    return figures["ops_per_second"], figures["p50_us"], figures["p99_us"]


def bench_etcd(ports):
    """Puts through the JSON gateway from threads. The client is slower than the server."""
    stop, counts, latencies = time.monotonic() + options.seconds, [], []

    def put(number):
        connection, mine = http.client.HTTPConnection("127.0.0.1", ports[number % len(ports)]), []
        value = base64.b64encode(b"x" * 100).decode()
        while time.monotonic() < stop:
            key = base64.b64encode(f"k{number}-{len(mine) % 1000}".encode()).decode()
            begun = time.monotonic()
            connection.request("POST", "/v3/kv/put", json.dumps({"key": key, "value": value}))
            connection.getresponse().read()
            mine.append(time.monotonic() - begun)
        counts.append(len(mine))
        latencies.extend(mine)

    threads = [threading.Thread(target=put, args=(number,)) for number in range(options.clients)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    latencies.sort()
    return sum(counts) / options.seconds, latencies[len(latencies) // 2] * 1e6, latencies[len(latencies) * 99 // 100] * 1e6


def systems():
    have = {name: shutil.which(name) for name in ["redis-server", "etcd"]}
    alone, many = ["set", "get", "incr", "sadd"], ["set", "get", "incr"]
    yield "Quorate, 1 node, memory", lambda d: quorate(d, 1, "memory", "none"), alone, []
    if have["redis-server"]:
        yield "Redis, no append-only file", lambda d: redis(d, 0, False), alone, []
    yield "Quorate, 1 node, `sync`", lambda d: quorate(d, 1, "fjall", "sync"), alone, []
    if have["redis-server"]:
        yield "Redis, `appendfsync always`", lambda d: redis(d, 0, True), alone, []
    yield "Quorate, 3 nodes, memory, `QUORUM`", lambda d: quorate(d, 3, "memory", "none"), many, ["--level", "QUORUM"]
    if have["redis-server"]:
        yield "Redis + 2 replicas, `WAIT 1`", lambda d: redis(d, 2, False), ["set", "incr"], ["--wait", "1"]
    yield "Quorate, 3 nodes, `sync`, `QUORUM`", lambda d: quorate(d, 3, "fjall", "sync"), many, ["--level", "QUORUM"]
    if have["redis-server"]:
        yield "Redis + 2 replicas, `appendfsync always`, `WAIT 1`", lambda d: redis(d, 2, True), ["set", "incr"], ["--wait", "1"]
    if have["etcd"]:
        yield "etcd, 3 members, put (JSON gateway)", lambda d: etcd(d, 3), ["put"], None
    for name in (name for name, path in have.items() if not path):
        print(f"not run: {name} is not installed", file=sys.stderr)


def coordinating():
    """What both groups of three decide durably: systems with the clients' scripts for them."""
    yield "Quorate", lambda d: quorate(d, 3, "fjall", "sync"), closed_loop.QUORATE
    if shutil.which("etcd"):
        yield "etcd", lambda d: [f"127.0.0.1:{port}" for port in etcd(d, 3)], closed_loop.ETCD
    else:
        print("not run: etcd is not installed", file=sys.stderr)


def in_folder(build, run):
    with tempfile.TemporaryDirectory(prefix="quorate-peers-") as directory:
        try:
            return run(build(pathlib.Path(directory)))
        finally:
            stop_all()


def measure(targets, workloads, more):
    if more is None:
        return {"put": bench_etcd(targets)}
    return {workload: bench(targets, workload, *more) for workload in workloads}


def median(values):
    return sorted(values)[len(values) // 2]


def rounds(systems, run):
    """The medians of all rounds by system and operation."""
    results = {}
    for number in range(options.rounds):
        for name, build, *how in systems():
            print(f"round {number + 1} of {options.rounds}: {name}", file=sys.stderr)
            for operation, figures in in_folder(build, lambda targets: run(targets, *how)).items():
                results.setdefault((name, operation), []).append(figures)
    return {key: [median(column) for column in zip(*runs)] for key, runs in results.items()}


def data():
    print("| system | operation | per second | p50 ms | p99 ms |\n| --- | --- | ---: | ---: | ---: |")
    for (name, operation), (rate, p50, p99) in rounds(systems, measure).items():
        print(f"| {name} | {operation} | {rate:,.0f} | {p50 / 1000:.2f} | {p99 / 1000:.2f} |")


def coordination():
    found = rounds(coordinating, lambda targets, scripts: closed_loop.all_of(targets, scripts, options.seconds))
    print("| operation | clients | Quorate per second | p50 ms | p99 ms | etcd per second | p50 ms | p99 ms | ratio |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for operation, clients in closed_loop.OPERATIONS:
        ours, theirs = (found.get((system, (operation, clients))) for system in ("Quorate", "etcd"))
        cells = [f"{row[0]:,.0f} | {row[1] / 1000:.2f} | {row[2] / 1000:.2f}" if row else " | | " for row in (ours, theirs)]
        ratio = f"{ours[0] / theirs[0]:.1f}" if ours and theirs else ""
        print(f"| {operation} | {clients} | {' | '.join(cells)} | {ratio} |")


if options.only != "coordination":
    data()
if options.only != "data":
    coordination()
