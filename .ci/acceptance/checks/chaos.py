"""Nodes are killed every two seconds under a recorded load. One is suspended for a while, one gets a wrong clock and restarts with it,
one comes back with an older copy of its disk. Then `quorate check` judges the recording."""

import json
import os
import random
import shutil
import signal
import subprocess
import time

from cluster import BINARY, ENVIRONMENT, Cluster, quorate
from environment import preload

SECONDS = float(os.environ.get("QUORATE_CHAOS_SECONDS", "40"))
SEED = int(os.environ.get("QUORATE_CHAOS_SEED", "1"))
KILL_EVERY = 2.0
SETTLE_SECONDS = 30
# Faults to leave out: any of copy, pause, clock and kill.
WITHOUT = set(os.environ.get("QUORATE_CHAOS_WITHOUT", "").split(","))
LEVELS = ("QUORUM", "ONE")


class Nemesis:
    """Causes the faults of a plan at their times, and records them as lines of a history."""

    def __init__(self, cluster, seconds, seed):
        self.cluster, self.seconds, self.random = cluster, seconds, random.Random(seed)
        self.lines, self.paused, self.copy = [], None, cluster.folder / "copy"
        a, b, c = cluster.nodes
        # The copy is as old as the length of the load allows, a minute at most.
        age = min(60.0, seconds * 0.5)
        pause, wrong = min(10.0, seconds * 0.15), min(10.0, seconds * 0.25)
        plan = [
            (seconds * 0.10, "copy", lambda: self.take_copy(c)),
            (seconds * 0.20, "pause", lambda: self.pause(b)),
            (seconds * 0.20 + pause, "pause", self.resume),
            (seconds * 0.40, "clock", lambda: self.set_clock(a, 3600)),
            (seconds * 0.40 + wrong * 0.5, "clock", lambda: self.kill(a)),
            (seconds * 0.40 + wrong, "clock", lambda: self.set_clock(a, 0)),
            (seconds * 0.10 + age, "copy", lambda: self.restore(c)),
        ]
        self.plan = sorted(((at, step) for at, kind, step in plan if kind not in WITHOUT), key=lambda step: step[0])

    def note(self, fault, node, value=None):
        line = {"process": "nemesis", "type": "info", "f": fault, "value": value, "time": time.time_ns(), "node": node.name}
        self.lines.append(line)

    def run(self):
        """Runs for three quarters of the time. Afterwards every node is running again."""
        begun, next_kill = time.monotonic(), KILL_EVERY
        while (now := time.monotonic() - begun) < self.seconds * 0.75:
            if self.plan and self.plan[0][0] <= now:
                self.plan.pop(0)[1]()
            elif next_kill <= now:
                next_kill = now + KILL_EVERY
                if "kill" not in WITHOUT:
                    self.kill(self.random.choice(self.cluster.nodes))
            else:
                time.sleep(0.02)
        for _, step in self.plan:
            step()

    def down(self, node):
        if node is self.paused:
            self.resume()
        node.kill()

    def kill(self, node):
        if node is not self.paused:
            self.note("kill", node)
            self.down(node)
            time.sleep(self.random.uniform(0.0, 1.0))
            self.up(node)

    def up(self, node):
        node.start()
        self.note("start", node)

    def take_copy(self, node):
        self.note("kill", node, "for a copy of its disk")
        self.down(node)
        shutil.copytree(node.data_dir, self.copy)
        self.up(node)

    def restore(self, node):
        self.note("restore", node, "an older copy of its disk")
        self.down(node)
        shutil.rmtree(node.data_dir)
        shutil.copytree(self.copy, node.data_dir)
        self.up(node)

    def pause(self, node):
        self.note("pause", node)
        node.process.send_signal(signal.SIGSTOP)
        self.paused = node

    def resume(self):
        if self.paused:
            self.paused.process.send_signal(signal.SIGCONT)
            self.note("resume", self.paused)
            self.paused = None

    def set_clock(self, node, seconds):
        self.note("clock", node, seconds)
        clock_file(self.cluster.folder, node.name).write_text(str(seconds))


def clock_file(folder, name):
    return folder / f"{name}.clock"


def wrong_clock(folder, name):
    return {"LD_PRELOAD": str(preload()), "WRONG_CLOCK": str(clock_file(folder, name))}


def record(cluster, file, seconds):
    """Starts `quorate bench --record` against all nodes."""
    targets = ",".join(f"resp://{node.resp}" for node in cluster.nodes)
    words = ["--record", file, "--keyspace", "later", "--target", targets, "--clients", 12, "--rate", 400, "--seconds", int(seconds)]
    words += ["--settle", SETTLE_SECONDS, "--timeout", "3s", "--output", "json", *[word for level in LEVELS for word in ("--level", level)]]
    command = [str(BINARY), "bench", *map(str, words)]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)


def with_faults(file, faults, into):
    """Merges the faults into a recording by their time."""
    events = [json.loads(line) for line in file.read_text().splitlines()]
    events = sorted(events + faults, key=lambda event: event["time"])
    with open(into, "w") as out:
        for index, event in enumerate(events):
            out.write(json.dumps(event | {"index": index}) + "\n")
    return into


def judge(history, model):
    """What `quorate check` objects to in the history; empty if every promise was kept."""
    verdict = quorate("check", history, "--model", model, timeout=120)
    return "" if verdict.returncode == 0 else f"\n--- exit code {verdict.returncode}\n{verdict.stdout[:6000]}{verdict.stderr}"


def chaos(seconds, seed):
    with Cluster(3, ["--durability", "sync"], wrong_clock) as cluster:
        cluster.make_keyspace("later")
        recorded = cluster.folder / "recorded.jsonl"
        load = record(cluster, recorded, seconds)
        nemesis = Nemesis(cluster, seconds, seed)
        try:
            nemesis.run()
            said, noted = load.communicate(timeout=seconds + SETTLE_SECONDS + 60)
        finally:
            load.kill()
        assert load.returncode == 0, noted
        summary = json.loads(said.splitlines()[-1])
        print(f"    seed {seed}: {summary}, {len(nemesis.lines)} faults")
        history = with_faults(recorded, nemesis.lines, cluster.folder / "history.jsonl")
        wrong = [judge(history, model) for model in ("register", "set", "counter", "hash", "session", "converge")]
        keep_if_asked(cluster.folder)
        assert not any(wrong), "".join(wrong)
        assert summary["settled_s"] is not None, f"not converged within {SETTLE_SECONDS} s after the end"


def keep_if_asked(folder):
    """Keeps recordings and logs for debugging, in the folder QUORATE_CHAOS_KEEP, which must not exist yet."""
    if kept := os.environ.get("QUORATE_CHAOS_KEEP"):
        shutil.copytree(folder, kept)


def check_what_was_acknowledged_survives_chaos():
    chaos(SECONDS, SEED)
