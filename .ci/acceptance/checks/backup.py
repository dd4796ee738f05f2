"""Backups of running clusters: under load, interrupted, damaged, and restored into the same cluster or another one."""

import contextlib
import json
import os
import pathlib
import random
import subprocess
import threading
import time

from cluster import BINARY, ENVIRONMENT, Cluster, quorate, wait_until
from resp import ReplyError

NIGHTLY = os.environ.get("QUORATE_CHECKS") == "nightly"
KEYS = 3_000
MEMBERS = 1_000_000 if NIGHTLY else 150_000
MIB = 1024 * 1024


def backup(node, folder, *more, timeout=120):
    return quorate("backup", "--to", folder, "--http", node.ready["http"], *more, timeout=timeout)


def restore(node, folder, *more, timeout=120):
    return quorate("restore", "--from", folder, "--http", node.ready["http"], "--output", "json", *more, timeout=timeout)


def restored(node, folder, *more, **kinds):
    done = restore(node, folder, *more, **kinds)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return json.loads(done.stdout)


def saved(node, folder, *more, **kinds):
    done = backup(node, folder, "--output", "json", *more, **kinds)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return json.loads(done.stdout)


def fill(node, prefix="k"):
    with node.connect(60) as connection:
        answers = connection.pipeline([("CL", "QUORUM", "SET", f"{prefix}{n}", f"v{n}") for n in range(KEYS)], batch=500)
        assert answers == ["OK"] * KEYS
        connection.call("CL", "QUORUM", "SET", "leased", "v", "EX", 7200)
        connection.call("CL", "QUORUM", "HSET", "hash", *(word for n in range(500) for word in (f"f{n}", f"v{n}")))
        connection.call("CL", "QUORUM", "SADD", "set", *(f"m{n}" for n in range(500)))
        connection.call("CL", "QUORUM", "EXPIRE", "set", 7200)


def count_up(nodes, times=20):
    """A counter to which every node has added."""
    for node in nodes:
        for _ in range(times):
            node.call("CL", "QUORUM", "INCR", "counter")


def assert_filled(node, prefix="k"):
    with node.connect(60) as connection:
        values = connection.pipeline([("CL", "QUORUM", "GET", f"{prefix}{n}") for n in range(KEYS)], batch=500)
        wrong = [n for n, value in enumerate(values) if value != f"v{n}".encode()]
        assert not wrong, f"{len(wrong)} keys, such as {prefix}{wrong[0]}: {values[wrong[0]]!r}"
        assert connection.call("CL", "QUORUM", "HLEN", "hash") == 500 and connection.call("CL", "QUORUM", "SCARD", "set") == 500
        for key in ("leased", "set"):
            left = connection.call("CL", "QUORUM", "TTL", key)
            assert 6000 < left <= 7200, (key, left)


@contextlib.contextmanager
def load(nodes):
    """Writes through every node until the block ends. Yields what was acknowledged, by key."""
    stop, acknowledged = threading.Event(), {}

    def write(number, node):
        with node.connect(60) as connection:
            n = 0
            while not stop.is_set():
                key = f"live-{number}-{n % 500}"
                with contextlib.suppress(ReplyError):
                    if connection.call("CL", "QUORUM", "SET", key, n) == "OK":
                        acknowledged[key] = n
                n += 1

    threads = [threading.Thread(target=write, args=pair, daemon=True) for pair in enumerate(nodes)]
    for thread in threads:
        thread.start()
    try:
        yield acknowledged
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)


def check_a_backup_under_load_is_restored_into_a_cluster_of_another_size():
    with Cluster(3) as cluster:
        cluster.make_keyspace("carts")
        fill(cluster[0])
        count_up(cluster.nodes)
        folder = cluster.folder / "backup"
        with cluster[1].connect() as connection:
            connection.call("SELECT", "carts")
            connection.call("CL", "QUORUM", "SET", "in-carts", "yes")
        made = quorate("user", "create", "root", "--role", "admin", "--output", "json", "--http", cluster[0].ready["http"])
        assert made.returncode == 0, made.stderr
        password = json.loads(made.stdout)["password"]
        as_root = ("--user", "root", "--password", password)
        made = quorate("user", "create", "shop", "--role", "write", "--keyspace", "carts", "--http", cluster[0].ready["http"], *as_root)
        assert made.returncode == 0, made.stderr
        with load_as(cluster.nodes, "root", password) as acknowledged:
            wait_until("the load has begun", lambda: len(acknowledged) > 500, 30)
            before = dict(acknowledged)
            report = saved(cluster[2], folder, *as_root)
            assert acknowledged != before, "the load went on"
        assert report["keyspaces"] == 2 and report["users"] == 2 and report["keys"] >= KEYS + len(before), report
        with Cluster(1, arguments=["--partitions", "16"]) as other:
            node = other[0]
            first = restored(node, folder)
            assert first["inventory"]["keyspaces_made"] == ["carts"] and sorted(first["inventory"]["users_made"]) == ["root", "shop"], first
            with node.connect(60) as connection:
                connection.call("AUTH", "root", password)
                for key, value in before.items():
                    found = connection.call("GET", key)
                    assert found is not None and int(found) >= value, (key, found, value)
                assert connection.call("GET", "counter") == b"60"
                assert connection.call("SELECT", "carts") == "OK" and connection.call("GET", "in-carts") == b"yes"
            again = restored(node, folder, *as_root)
            assert again["restored"] == 0 and again["kept"] == first["restored"], (first, again)
            listed = quorate("keyspace", "list", "--output", "json", "--http", node.ready["http"], *as_root)
            assert {keyspace["name"]: keyspace["partitions"] for keyspace in json.loads(listed.stdout)} == {"default": 16, "carts": 64}
            users = quorate("user", "list", "--output", "json", "--http", node.ready["http"], *as_root)
            roles = {user["name"]: (user["role"], user["keyspaces"]) for user in json.loads(users.stdout)["users"]}
            assert roles == {"root": ("admin", {}), "shop": (None, {"carts": "write"})}, roles


@contextlib.contextmanager
def load_as(nodes, user, password):
    """As `load`, by a user."""
    plain = [node.connect for node in nodes]

    def connect(make):
        def made(timeout=15.0):
            connection = make(timeout)
            connection.call("AUTH", user, password)
            return connection

        return made

    for node, make in zip(nodes, plain):
        node.connect = connect(make)
    try:
        with load(nodes) as acknowledged:
            yield acknowledged
    finally:
        for node in nodes:
            del node.connect


def check_an_interrupted_backup_goes_on_where_it_was():
    with Cluster(3) as cluster:
        fill(cluster[0])
        with cluster[0].connect(120) as connection:
            for n in range(60):
                connection.call("CL", "QUORUM", "SET", f"long{n}", bytes([97 + n % 26]) * MIB)
        folder = cluster.folder / "backup"
        command = [str(BINARY), "backup", "--to", str(folder), "--http", cluster[1].ready["http"]]
        pages, kills = {}, 0
        for _ in range(30):
            with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
                # The first three are killed as soon as they have saved something.
                while process.poll() is None and (kills >= 3 or len(list(folder.rglob("*.page"))) <= len(pages)):
                    time.sleep(0.005)
                ended = process.poll() is not None
                process.kill()
            if ended:
                assert process.returncode == 0, process.returncode
                break
            kills += 1
            refused = restore(cluster[1], folder)
            assert refused.returncode == 1 and ("not finished" in refused.stderr or "holds no backup" in refused.stderr), refused.stderr
            # What is there whole is not saved again.
            now = {path: path.stat().st_mtime_ns for path in folder.rglob("*.page")}
            assert all(now[path] == written for path, written in pages.items())
            pages = now
        assert ended and kills >= 2 and pages, (kills, len(pages))
        refused = backup(cluster[1], folder)
        assert refused.returncode == 1 and "is finished" in refused.stderr, refused.stderr
        with Cluster(1) as other:
            restored(other[0], folder)
            assert_filled(other[0])
            assert other[0].call("STRLEN", "long59") == MIB


def check_a_damaged_backup_is_refused_whole():
    with Cluster(1) as cluster:
        fill(cluster[0])
        folder = cluster.folder / "backup"
        saved(cluster[0], folder)
        whole = quorate("restore", "--from", folder, "--check")
        assert whole.returncode == 0 and "is whole" in whole.stdout, whole.stderr
        with Cluster(1) as other:
            files = [path for path in folder.rglob("*") if path.is_file()]
            for path in random.sample(files, 6) + [folder / "manifest.json", folder / "manifest.sha256"]:
                bytes_ = path.read_bytes()
                at = random.randrange(len(bytes_))
                path.write_bytes(bytes_[:at] + bytes([bytes_[at] ^ 1 << random.randrange(8)]) + bytes_[at + 1 :])
                refused = restore(other[0], folder)
                assert refused.returncode == 1 and "checksum is wrong" in refused.stderr, (path, at, refused.stderr)
                path.write_bytes(bytes_)
            gone = random.choice([path for path in files if path.suffix == ".page"])
            gone.rename(gone.with_suffix(".gone"))
            refused = restore(other[0], folder)
            assert refused.returncode == 1 and gone.name in refused.stderr, refused.stderr
            assert other[0].call("DBSIZE") == 0, "nothing was restored"
            gone.with_suffix(".gone").rename(gone)
            restored(other[0], folder)
            assert_filled(other[0])


def check_a_restore_brings_back_what_is_gone_and_keeps_what_is_newer():
    with Cluster(3) as cluster:
        fill(cluster[0])
        count_up(cluster.nodes, 5)
        folder = cluster.folder / "backup"
        saved(cluster[0], folder)
        with cluster[1].connect(60) as connection:
            for n in range(0, 100):
                connection.call("CL", "QUORUM", "DEL", f"k{n}")
                connection.call("CL", "QUORUM", "SET", f"k{n + 100}", "newer")
            connection.call("CL", "QUORUM", "SREM", "set", "m1", "m2")
            connection.call("CL", "QUORUM", "INCR", "counter")
        with load(cluster.nodes) as acknowledged:
            report = restored(cluster[2], folder)
            time.sleep(0.5)
        assert report["restored"] == 102, report
        with cluster[1].connect(60) as connection:
            assert [connection.call("CL", "QUORUM", "GET", f"k{n}") for n in (0, 99)] == [b"v0", b"v99"]
            assert [connection.call("CL", "QUORUM", "GET", f"k{n}") for n in (100, 199)] == [b"newer"] * 2
            assert connection.call("CL", "QUORUM", "SCARD", "set") == 500
            assert connection.call("CL", "QUORUM", "GET", "counter") == b"16", "neither doubled nor set back"
            for key, value in acknowledged.items():
                assert int(connection.call("CL", "QUORUM", "GET", key)) >= value, key
        cluster.wait_converged(30)


def check_a_large_set_is_saved_and_restored_in_bounded_memory():
    with Cluster(1) as cluster:
        node = cluster[0]
        with node.connect(120) as connection:
            batches = [("SADD", "set", *(f"member-{n}" for n in range(at, at + 1000))) for at in range(0, MEMBERS, 1000)]
            assert set(connection.pipeline(batches, batch=10)) == {1000}
            connection.call("EXPIRE", "set", 7200)
        folder = cluster.folder / "backup"
        before, most, done = node.resident_bytes(), [0], threading.Event()

        def watch():
            while not done.wait(0.02):
                most[0] = max(most[0], node.resident_bytes())

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        report = saved(node, folder, timeout=600)
        done.set()
        watcher.join()
        assert report["keys"] >= 1 and report["bytes"] > MEMBERS * 10, report
        assert most[0] - before < 96 * MIB, f"{(most[0] - before) / MIB:.0f} MiB more than before"
        with Cluster(2) as other:
            report = restored(other[0], folder, timeout=600)
            # A page that took too long is sent again, and finds what of it had been restored.
            assert report["restored"] + report["kept"] == MEMBERS, report
            assert other[1].call("CL", "QUORUM", "SCARD", "set", timeout=120) == MEMBERS
            assert 6000 < other[1].call("CL", "QUORUM", "TTL", "set") <= 7200


def check_an_archive_on_stdout_is_a_backup():
    with Cluster(1) as cluster:
        fill(cluster[0])
        folder = cluster.folder / "unpacked"
        folder.mkdir()
        made = subprocess.run([str(BINARY), "backup", "--to", "-", "--http", cluster[0].ready["http"]], env=ENVIRONMENT, capture_output=True, timeout=60)
        assert made.returncode == 0, made.stderr
        subprocess.run(["tar", "-x", "-C", str(folder)], input=made.stdout, check=True)
        assert pathlib.Path(folder, "manifest.sha256").exists()
        summed = subprocess.run(["sha256sum", "-c", "manifest.sha256"], cwd=folder, capture_output=True, text=True)
        assert summed.returncode == 0, summed.stderr
        cluster[0].call("FLUSHDB")
        restored(cluster[0], folder)
        assert_filled(cluster[0])
        # Where nobody answers, nothing is begun.
        cluster[0].stop()
        refused = backup(cluster[0], cluster.folder / "none", "--patience", "1s")
        assert refused.returncode == 1 and not (cluster.folder / "none").exists(), refused.stderr
