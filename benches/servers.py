"""Starts and stops the servers that are compared, each in a folder of its own on loopback."""
import json, pathlib, socket, subprocess, sys, time

QUORATE = pathlib.Path(__file__).resolve().parent.parent / "target/release/quorate"
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
        command += ["--join", ready[0]["quic"], "--token", ready[0]["join_token"]] if ready else ["--found"]
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
