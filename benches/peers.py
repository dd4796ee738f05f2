#!/usr/bin/env python3
"""Compares Quorate with Redis and etcd in one run on one machine. Prints a Markdown table.

    cargo build --release && benches/peers.py [--seconds 4] [--clients 50]

Starts every server in a temporary directory on loopback, and stops it afterwards. `quorate bench` is the client of everything that speaks
RESP, so both sides are measured by the same program. etcd is driven through its JSON gateway by Python threads, which gives a lower bound of
what it can do. Servers that are not installed (Debian: redis-server, etcd-server) are left out, with a note on stderr.
Servers and client share the processors: compare rows of one run only, never with figures from elsewhere."""
import argparse, base64, http.client, json, pathlib, shutil, socket, subprocess, sys, tempfile, threading, time

ROOT = pathlib.Path(__file__).resolve().parent.parent
QUORATE = ROOT / "target/release/quorate"
arguments = argparse.ArgumentParser()
arguments.add_argument("--seconds", type=int, default=4)
arguments.add_argument("--clients", type=int, default=50)
arguments.add_argument("--rounds", type=int, default=3)
options = arguments.parse_args()
started = []


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(command, directory, **keywords):
    log = open(directory / "log", "ab")
    process = subprocess.Popen([str(part) for part in command], cwd=directory, stderr=log, stdin=subprocess.DEVNULL, **{"stdout": log, **keywords})
    started.append(process)
    return process


def stop_all():
    for process in started:
        process.terminate()
    for process in started:
        process.wait(20)
    started.clear()


def wait_for(condition, what):
    deadline = time.monotonic() + 30
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"timed out waiting for {what}")
        time.sleep(0.05)


def listening(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def quorate(directory, nodes, storage, durability):
    ready = []
    for number in range(1, nodes + 1):
        home = directory / f"n{number}"
        home.mkdir()
        command = [QUORATE, "start", "--data-dir", home / "data", "--node", f"n{number}", "--datacenter", f"dc{number}", "--storage", storage,
                   "--durability", durability, "--resp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--quic", "127.0.0.1:0"]
        if ready:
            command += ["--join", ready[0]["quic"], "--token", ready[0]["join_token"]]
        line = start(command, home, stdout=subprocess.PIPE).stdout.readline().decode()
        ready.append(json.loads(line.removeprefix("ready ")))

    def settled():
        status = subprocess.run([QUORATE, "--http", ready[0]["http"], "status", "--output", "json"], capture_output=True)
        document = json.loads(status.stdout or b"{}")
        return document.get("converged") and all(node["state"] == "alive" for node in document["nodes"])

    wait_for(settled, "the cluster")
    return [node["resp"] for node in ready]


def redis(directory, replicas, append_only):
    ports = [free_port() for _ in range(replicas + 1)]
    for port in ports:
        home = directory / str(port)
        home.mkdir()
        command = ["redis-server", "--port", port, "--save", "", "--dir", home, "--appendonly", "yes" if append_only else "no", "--appendfsync", "always"]
        if port != ports[0]:
            command += ["--replicaof", "127.0.0.1", ports[0]]
        start(command, home)
        wait_for(lambda: listening(port), "redis-server")
    if replicas:
        def synced():
            info = subprocess.run(["redis-cli", "-p", str(ports[0]), "info", "replication"], capture_output=True, text=True).stdout
            return info.count("state=online") == replicas
        wait_for(synced, "the replicas of Redis")
    return [f"127.0.0.1:{ports[0]}"]


def etcd(directory, members):
    peers = [(f"m{n}", free_port(), free_port()) for n in range(members)]
    cluster = ",".join(f"{name}=http://127.0.0.1:{peer}" for name, _, peer in peers)
    for name, client, peer in peers:
        home = directory / name
        home.mkdir()
        start(["etcd", "--name", name, "--data-dir", home / "data", "--listen-client-urls", f"http://127.0.0.1:{client}", "--advertise-client-urls",
               f"http://127.0.0.1:{client}", "--listen-peer-urls", f"http://127.0.0.1:{peer}", "--initial-advertise-peer-urls",
               f"http://127.0.0.1:{peer}", "--initial-cluster", cluster], home)
    wait_for(lambda: all(listening(client) for _, client, _ in peers), "etcd")
    time.sleep(2)
    return [client for _, client, _ in peers]


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


def measure(build, workloads, more):
    with tempfile.TemporaryDirectory(prefix="quorate-peers-") as directory:
        try:
            targets = build(pathlib.Path(directory))
            if more is None:
                return {"put": bench_etcd(targets)}
            return {workload: bench(targets, workload, *more) for workload in workloads}
        finally:
            stop_all()


def median(values):
    return sorted(values)[len(values) // 2]


results = {}
for round_number in range(options.rounds):
    for name, build, workloads, more in systems():
        print(f"round {round_number + 1} of {options.rounds}: {name}", file=sys.stderr)
        for workload, figures in measure(build, workloads, more).items():
            results.setdefault((name, workload), []).append(figures)
print("| system | operation | per second | p50 ms | p99 ms |\n| --- | --- | ---: | ---: | ---: |")
for (name, workload), runs in results.items():
    rate, p50, p99 = (median([run[column] for run in runs]) for column in range(3))
    print(f"| {name} | {workload} | {rate:,.0f} | {p50 / 1000:.2f} | {p99 / 1000:.2f} |")
