"""Machines of their own, so that commands run as they are written: each has addresses, processes, a home and the usual ports.

A machine is a set of Linux namespaces. All of them are in one network, see one folder, and end with it."""

import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import tempfile
import threading

from cluster import BINARY, ENVIRONMENT, READY_SECONDS, Refused, wait_until
from environment import NotPossible

# Machine n has the addresses 10.0.0.n and 10.1.0.n.
NAMES = "abcd"
HOSTS = "127.0.0.1 localhost\n10.0.0.1 node-a.example.com db1.example.org\n"
# A word in capitals stands for something that the reader fills in.
BLANK = re.compile(r"(?<!\w)(?:TOKEN|PASSWORD|ID|FILE|DIR)(?![\w=])")


class Namespaces:
    """Namespaces that live as long as this object is not closed."""

    def __init__(self, *kinds):
        command = ["unshare", *kinds, "--kill-child", "--fork", "sleep", "infinity"]
        self.holder = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            self.pid = wait_until("the namespaces are there", self._child, 5)
        except AssertionError:
            self.close()
            raise NotPossible(f"machines need namespaces, for which one must be root: {self.holder.stderr.read().strip()}") from None

    def _child(self):
        found = pathlib.Path(f"/proc/{self.holder.pid}/task/{self.holder.pid}/children").read_text().split()
        # Until it has become what it is to run, the child may still be in the old namespaces.
        return int(found[0]) if found and pathlib.Path(f"/proc/{found[0]}/comm").read_text() == "sleep\n" else None

    def inside(self, *words):
        return ["nsenter", "-t", str(self.pid), "--mount", "--uts", "--net", "--pid", "--", *words]

    def close(self):
        self.holder.kill()
        self.holder.wait()


class Machine:
    def __init__(self, number, folder, switch):
        self.name, self.folder = NAMES[number - 1], folder
        self.namespaces = Namespaces("--net", "--mount", "--uts", "--pid", "--mount-proc")
        self.node, self.ready, self.log = None, None, folder / f"{self.name}.log"
        # What `export` has set in the shell of this machine.
        self.exported = {}
        plug = f"ip link add port{number} type veth peer name eth0 netns {self.namespaces.pid} && ip link set port{number} master lan up"
        must(switch.inside("sh", "-c", plug))
        self.run(
            f"hostname {self.name} && mount --bind hosts /etc/hosts && mkdir -p home-{self.name} && ip link set lo up && ip link set eth0 up"
            f" && ip addr add 10.0.0.{number}/24 dev eth0 && ip addr add 10.1.0.{number}/24 dev eth0"
        )

    def _command(self, text):
        path = f"{self.folder}/bin:{os.environ['PATH']}"
        environment = ENVIRONMENT | {"PATH": path, "HOME": f"{self.folder}/home-{self.name}"} | self.exported
        return self.namespaces.inside("sh", "-c", 'cd "$0" && exec bash -c "$1"', str(self.folder), text), environment

    def run(self, text, code=0, stdin="", timeout=120):
        """Runs a command until it ends, and returns what it prints on stdout; on stderr if it is to fail."""
        exported = re.fullmatch(r"export (.*)", text)
        if exported:
            self.exported.update(word.split("=", 1) for word in shlex.split(exported[1]))
            return ""
        words, environment = self._command(text)
        done = subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=timeout, env=environment)
        assert done.returncode == code, (self.name, text, done.returncode, done.stdout[-2000:], done.stderr[-2000:])
        return done.stdout if code == 0 else done.stderr

    def start(self, text, seconds=READY_SECONDS):
        """Runs a `quorate start` and waits for its `ready` line. Raises `Refused` if it ends first."""
        assert self.node is None or self.node.poll() is not None, f"the node of {self.name} still runs: {text}"
        words, environment = self._command(f"exec {text}")
        with open(self.log, "wb") as log:
            self.node = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, env=environment, text=True)
        killer = threading.Timer(seconds, self.namespaces.holder.kill)
        killer.start()
        line = self.node.stdout.readline()
        killer.cancel()
        if not line.startswith("ready "):
            raise Refused(self.node.wait(10), self.log.read_text(errors="replace"))
        self.ready = json.loads(line.removeprefix("ready "))
        return self.ready

    def stop(self, signal="TERM"):
        """Ends the node of this machine, if one runs."""
        if self.node is not None and self.node.poll() is None:
            self.run(f"kill -{signal} $(pidof quorate)")
            self.node.wait(20)

    def close(self):
        self.namespaces.close()
        if self.node is not None:
            self.node.wait(20)

    def status(self):
        return json.loads(self.run("quorate status --output json"))

    def nodes(self):
        """The members by name, as this machine's node lists them."""
        listed = json.loads(self.run("quorate node list --output json"))["nodes"]
        return {node["name"]: node for node in listed}


class Site:
    """Four machines in one network and the commands of a page. Use it as a context manager."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="quorate-site-"))
        self.machines, self.switch = [], None
        try:
            (self.folder / "bin").mkdir()
            (self.folder / "bin/quorate").symlink_to(BINARY.resolve())
            (self.folder / "hosts").write_text(HOSTS)
            self.switch = Namespaces("--net")
            must(self.switch.inside("sh", "-c", "ip link add lan type bridge && ip link set lan up"))
            for number in range(1, len(NAMES) + 1):
                self.machines.append(Machine(number, self.folder, self.switch))
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __getattr__(self, name):
        """The machine of this name."""
        if name in NAMES and len(name) == 1:
            return self.machines[NAMES.index(name)]
        raise AttributeError(name)

    def close(self):
        for machine in self.machines:
            machine.close()
        if self.switch:
            self.switch.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def where(self, text):
        """The machine on which a command is typed: a node starts where its address is, all else is typed on `a`."""
        address = re.search(r"--quic 10\.[01]\.0\.(\d)", text)
        return self.machines[int(address[1]) - 1] if address else self.a

    def follow(self, command, on=None, stdin="", types=None, **blanks):
        """Runs a command of the page as it is written, at a terminal if somebody `types` an answer. `blanks` fills in
        what the page leaves to the reader."""
        text = command.text
        assert not blanks or set(blanks) <= set(BLANK.findall(text)), (text, blanks)
        for blank, value in blanks.items():
            text = re.sub(rf"(?<!\w){blank}(?![\w=])", value, text)
        left = BLANK.search(text)
        assert not left, f"{text}: nothing was said for {left[0]}"
        machine = on or self.where(text)
        if re.match(r"quorate start ", text):
            return machine.start(text)
        if types is not None:
            return machine.run(f"script -qec {shlex.quote(text)} /dev/null", stdin=f"{types}\n")
        printed = machine.run(text, stdin=stdin)
        agrees(command.shown, printed)
        return printed

    def follow_all(self, block, **more):
        return [self.follow(command, **more) for command in block.commands]

    def found(self, size=3):
        """A cluster of nodes a, b, c … in dc1, dc2, dc3 …, as the page founds it."""
        self.a.start("quorate start --found --node a --datacenter dc1 --data-dir a --quic 10.0.0.1:7381")
        for number, name in enumerate(NAMES[1:size], 2):
            (self.folder / "first").write_text(self.a.ready["join_token"])
            self.start_again(name, f"--join 10.0.0.1:7381 --token-file first --datacenter dc{number}")
        (self.folder / "first").unlink(missing_ok=True)
        self.wait_converged()

    def start_again(self, name, more=""):
        machine = getattr(self, name)
        given = f" --datacenter dc{NAMES.index(name) + 1}" if "--datacenter" not in more else ""
        return machine.start(f"quorate start --node {name}{given} --data-dir {name} --quic 10.0.0.{NAMES.index(name) + 1}:7381 {more}")

    def wait_converged(self, seconds=30):
        for machine in self.machines:
            if machine.node is not None and machine.node.poll() is None:
                wait_until(f"{machine.name} reports converged", lambda: machine.status()["converged"], seconds)

    def switch_port(self, port, state):
        """Plugs the cable of a machine in (`up`) or out (`down`)."""
        must(self.switch.inside("ip", "link", "set", port, state))

    def wait_down(self, name, seen_by=None, seconds=20):
        """Waits until everybody who looks takes the node for dead."""
        for machine in seen_by or [self.a]:
            wait_until(f"{name} is down for {machine.name}", lambda: machine.nodes()[name]["down_since"], seconds)


def must(words):
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode != 0:
        raise NotPossible(f"{words[-1]}: {done.stderr.strip()}")


def agrees(shown, printed):
    """Every heading of a table that the page shows must be printed, with the same columns."""
    headings = [line.split() for line in printed.splitlines()]
    for line in shown:
        if len(line.split()) > 1 and line == line.upper() and line.strip()[:1].isalpha():
            assert line.split() in headings, f"the page shows the columns {line!r}, and this is printed:\n{printed}"
