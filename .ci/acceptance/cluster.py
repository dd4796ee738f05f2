"""Nodes as real processes. This module stops every process that it started, and no other."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import urllib.request

from resp import Connection

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("ACCEPTANCE_BINARY", ROOT / "target/release/quorate"))
READY_SECONDS = 30
# A node reads settings from QUORATE_… variables and refuses unknown ones, so tests must not leak any.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("QUORATE_")}
POLL_SECONDS = 0.05


class Refused(Exception):
    """A node exited instead of becoming ready. Carries the exit code and what the node printed."""

    def __init__(self, code, said):
        super().__init__(f"exit code {code}: {said.strip()[-2000:]}")
        self.code, self.said = code, said


def wait_until(what, condition, seconds):
    """Returns the first true value of `condition()`. After `seconds` it fails with `what` and the last value or error."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            last = condition()
            if last:
                return last
        except (OSError, ValueError, ConnectionError, KeyError) as error:
            last = error
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what} (last: {last!r})")
        time.sleep(POLL_SECONDS)


class Node:
    """One process. `arguments` are those of `quorate start` besides addresses and data directory."""

    def __init__(self, name, data_dir, *arguments):
        self.name, self.data_dir, self.arguments = name, pathlib.Path(data_dir), arguments
        self.process, self.ready, self.log = None, None, self.data_dir.parent / f"{name}.log"
        # Additional environment variables of the process, and a command that starts it.
        self.environment, self.wrapper = {}, []
        # The program that the next start runs.
        self.binary = BINARY

    def start(self, *more, seconds=READY_SECONDS):
        """Starts the process and waits for its `ready` line. Raises `Refused` if the process exits first."""
        self.spawn(*more)
        return self.wait_ready(seconds)

    def wait_ready(self, seconds=READY_SECONDS):
        """Waits for the `ready` line of a process that was spawned. Raises `Refused` if the process exits first."""
        line = self._first_ready_line(seconds)
        if line is None:
            code = self._end()
            raise Refused(code, self.log.read_text(errors="replace"))
        self.ready = json.loads(line.removeprefix("ready "))
        return self

    def spawn(self, *more):
        addresses = ["--resp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--quic", "127.0.0.1:0"]
        # A restarted node must listen at the addresses that the others know.
        if self.ready:
            addresses = [word for face in ("resp", "http", "quic") for word in (f"--{face}", self.ready[face])]
        given = list(self.arguments) + [str(word) for word in more]
        for face in ("--resp", "--http", "--quic"):
            if face in given:
                at = addresses.index(face)
                del addresses[at : at + 2]
        command = [*self.wrapper, str(self.binary), "start", "--node", self.name, "--data-dir", str(self.data_dir), *addresses, *given]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, env=ENVIRONMENT | self.environment)

    def _first_ready_line(self, seconds):
        found = []
        first = threading.Event()

        def read(stream):
            for raw in stream:
                line = raw.decode(errors="replace").strip()
                if line.startswith("ready ") and not found:
                    found.append(line)
                    first.set()
            first.set()

        threading.Thread(target=read, args=(self.process.stdout,), daemon=True).start()
        first.wait(seconds)
        return found[0] if found else None

    def _end(self):
        """The exit code. A process that neither became ready nor exited is killed, and its code is `hung`."""
        try:
            return self.process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self.kill()
            return "hung"

    @property
    def resp(self):
        return self.ready["resp"]

    def connect(self, timeout=15.0):
        return Connection(self.resp, timeout)

    def call(self, *words, timeout=15.0):
        with self.connect(timeout) as connection:
            return connection.call(*words)

    def status(self):
        """The document of `GET /v1/status`."""
        with urllib.request.urlopen(f"http://{self.ready['http']}/v1/status", timeout=5) as answer:
            return json.load(answer)

    def make_token(self, uses):
        """A join token that admits `uses` nodes."""
        body = json.dumps({"uses": uses, "expires_s": 600}).encode()
        request = urllib.request.Request(f"http://{self.ready['http']}/v1/tokens", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)["token"]

    def running(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """SIGKILL, like a crash of the process."""
        self._signal(signal.SIGKILL)

    def stop(self):
        """SIGTERM; returns the exit code."""
        self._signal(signal.SIGTERM)
        return self.process.returncode

    def _signal(self, number):
        if self.running():
            self.process.send_signal(number)
            try:
                self.process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError(f"{self.name} did not end on signal {number}")

    def resident_bytes(self):
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        return 0


class Cluster:
    """The nodes of one cluster, by default each in a datacenter of its own. Use it as a context manager."""

    def __init__(self, size=3, arguments=(), environment=None, binary=BINARY):
        """`environment(folder, name)` returns additional environment variables of a node."""
        self.binary = binary
        self.environment = environment or (lambda folder, name: {})
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="quorate-acceptance-"))
        self.arguments, self.nodes = list(arguments), []
        try:
            for number in range(size):
                self.add(chr(ord("a") + number), f"dc{number + 1}")
            self.wait_complete()
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __getitem__(self, number):
        return self.nodes[number]

    def make(self, name, datacenter="dc1", *more):
        """Prepares a node in this cluster's folder without starting it. It is stopped with the cluster."""
        node = Node(name, self.folder / name, "--datacenter", datacenter, *self.arguments, *more)
        node.environment = self.environment(self.folder, name)
        node.binary = self.binary
        self.nodes.append(node)
        return node

    def add(self, name, datacenter, *flags):
        join = ["--join", self.nodes[0].ready["quic"], "--token", self.nodes[0].ready["join_token"]] if self.nodes else ["--found"]
        self.make(name, datacenter).start(*join, *flags)
        return self.nodes[-1]

    def wait_complete(self, seconds=20):
        """Waits until every node sees all others alive and the default keyspace has a replica in each datacenter."""

        def complete(node):
            status = node.status()
            alive = [other for other in status["nodes"] if other["state"] == "alive"]
            placed = [count for count in status["keyspaces"][0]["replication"].values() if count]
            return len(alive) == len(self.nodes) and len(placed) == len(self.nodes) and status["converged"]

        for node in self.nodes:
            wait_until(f"{node.name} sees the whole cluster", lambda: complete(node), seconds)

    def wait_converged(self, seconds=10):
        for node in self.nodes:
            wait_until(f"{node.name} reports converged", lambda: node.status()["converged"], seconds)

    def make_keyspace(self, name):
        """Creates a keyspace with a replica in every datacenter, and waits until every node knows it."""
        replication = ",".join(f"dc{number + 1}=1" for number in range(len(self.nodes)))
        made = quorate("keyspace", "create", name, "--replication", replication, "--http", self.nodes[0].ready["http"])
        assert made.returncode == 0, made.stderr
        for node in self.nodes:
            wait_until(f"{node.name} knows keyspace {name}", lambda: any(k["name"] == name for k in node.status()["keyspaces"]), 20)
        self.wait_converged(20)

    def close(self):
        for node in self.nodes:
            if node.running():
                node.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def quorate(*arguments, timeout=30):
    """Runs the binary until it exits."""
    return subprocess.run([str(BINARY), *map(str, arguments)], capture_output=True, text=True, timeout=timeout, env=ENVIRONMENT)
