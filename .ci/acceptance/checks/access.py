"""Who may talk to a node, and what nobody can use up."""

import json
import resource
import signal
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request

from cluster import BINARY, ENVIRONMENT, Cluster, Refused, wait_until
from environment import client
from resp import Connection, ReplyError


def run(*arguments, stdin=None, **environment):
    """Runs the binary with additional environment variables."""
    command = [str(BINARY), *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, env=ENVIRONMENT | environment)


def done(*arguments, **more):
    result = run(*arguments, **more)
    assert result.returncode == 0, (arguments, result)
    return result.stdout.strip()


def redis_cli(address, *words):
    host, port = address.rsplit(":", 1)
    result = subprocess.run([client("redis-cli"), "-h", host, "-p", port, "--no-auth-warning", *words], capture_output=True, text=True, timeout=30)
    return (result.stdout + result.stderr).strip()


# Limits


class Writer(threading.Thread):
    """Writes until it is stopped, and keeps every error."""

    def __init__(self, node):
        super().__init__(daemon=True)
        self.connection, self.stopped = node.connect(30), threading.Event()
        self.written, self.errors = 0, []

    def run(self):
        while not self.stopped.is_set():
            try:
                self.connection.call("SET", f"k{self.written % 5000}", "v" * 200)
                self.written += 1
            except (ReplyError, OSError) as error:
                self.errors.append(str(error))
                return

    def stop(self):
        self.stopped.set()
        self.join(30)
        self.connection.close()


def crowd(address, count):
    """Opens connections that say nothing, as far as they are taken. Those that are refused are kept too."""
    host, port = address.rsplit(":", 1)
    opened = []
    for _ in range(count):
        try:
            opened.append(socket.create_connection((host, int(port)), timeout=10))
        except OSError:
            pass
    return opened


def what_one_more_is_told(address, asks=b""):
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=10) as one:
        try:
            one.sendall(asks)
            return one.recv(4096)
        except ConnectionError:
            return b""


def check_two_thousand_connections_take_no_descriptor_from_a_writer():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    with Cluster(0) as cluster:
        node = cluster.make("a")
        node.wrapper = ["sh", "-c", 'ulimit -n 1024 && exec "$@"', "sh"]
        node.start("--found")
        for face, asks, told in (
            ("resp", b"", b"-ERR max number of clients reached"),
            ("http", b"GET /v1/kv/default/k HTTP/1.1\r\nHost: localhost\r\n\r\n", b"HTTP/1.1 503"),
        ):
            writer = Writer(node)
            writer.start()
            opened = crowd(node.ready[face], 2000)
            before = writer.written
            answer = what_one_more_is_told(node.ready[face], asks)
            assert answer.startswith(told), (face, answer)
            wait_until(f"the writer goes on beside 2000 connections of {face}", lambda: writer.written > before + 500, 30)
            for one in opened:
                one.close()
            writer.stop()
            assert not writer.errors and writer.written > 500, (face, writer.written, writer.errors)
            assert node.running(), node.log.read_text()[-2000:]
            wait_until("the places are free again", lambda: node.call("PING") == "PONG", 20)
        assert "no file descriptor" not in node.log.read_text()


def check_silent_connections_of_http_do_not_live_for_ever():
    with Cluster(1) as cluster:
        opened = crowd(cluster[0].ready["http"], 300)
        assert len(opened) == 300
        time.sleep(12)
        ended = 0
        for one in opened:
            one.settimeout(5)
            ended += one.recv(1) == b""
            one.close()
        assert ended == 300, f"{ended} of 300 were closed"


def check_a_bound_on_clients_is_kept():
    with Cluster(0) as cluster:
        node = cluster.make("a")
        node.start("--found", "--maxclients", "3")
        held = [node.connect() for _ in range(3)]
        assert held[0].call("CONFIG", "GET", "maxclients") == [b"maxclients", b"3"]
        assert what_one_more_is_told(node.resp).startswith(b"-ERR max number of clients reached")
        for connection in held:
            connection.close()


# Users


def check_users_and_their_roles():
    with Cluster(3) as cluster:
        a, b, c = cluster.nodes
        cluster.make_keyspace("carts")
        http = ("--http", a.ready["http"])
        refused = run("user", "create", "shop", "--role", "write", "--keyspace", "carts", *http)
        assert refused.returncode == 1 and "admin in every keyspace" in refused.stderr, refused
        root = done("user", "create", "root", "--role", "admin", *http)
        assert len(root) == 32, root
        # From now on everybody must say who it is, at every node.
        as_root = {"QUORATE_USER": "root", "QUORATE_PASSWORD": root}
        for node in (b, c):
            wait_until("the user is known everywhere", lambda: "NOAUTH" in redis_cli(node.resp, "GET", "k"), 10)
        assert run("status", *http).returncode == 1
        done("user", "create", "shop", "--role", "write", "--keyspace", "carts", "--password-file", "-", *http, stdin="correct horse\n", **as_root)
        shop = ("--user", "shop", "--pass", "correct horse")
        wait_until("the user is known everywhere", lambda: redis_cli(b.resp, *shop, "ACL", "WHOAMI") == "shop", 10)
        assert "NOPERM No permissions to access a key" in redis_cli(b.resp, *shop, "SET", "k", "v")
        assert "WRONGPASS" in redis_cli(b.resp, "--user", "shop", "--pass", "wrong", "SET", "k", "v")
        with c.connect() as connection:
            connection.call("AUTH", "shop+quorum", "correct horse")
            connection.call("SELECT", "carts")
            assert connection.call("SET", "k", "v") == "OK"
        as_shop = {"QUORATE_USER": "shop", "QUORATE_PASSWORD": "correct horse"}
        assert done("get", "k", "--keyspace", "carts", "--resp", a.resp, **as_shop) == "v"
        for words in (("user", "list"), ("node", "token"), ("keyspace", "drop", "carts"), ("user", "drop", "root")):
            denied = run(*words, *http, **as_shop)
            assert denied.returncode == 1 and "may not do this" in denied.stderr, (words, denied)
        # What a node is told is kept: it knows the users before it meets anybody.
        c.kill()
        c.start()
        assert redis_cli(c.resp, *shop, "ACL", "WHOAMI") == "shop"
        with b.connect() as connection:
            connection.call("AUTH", "shop", "correct horse")
            done("user", "drop", "shop", *http, **as_root)
            wait_until("the connection is nobody's", lambda: ends_with(connection, "NOAUTH"), 10)
        last = run("user", "drop", "root", *http, **as_root)
        assert last.returncode == 1 and "admin in every keyspace" in last.stderr, last
        audit = [line for line in a.log.read_text().splitlines() if "audit" in line]
        assert any("user=\"root\"" in line or "user=root" in line for line in audit), audit
        assert any("DELETE /v1/users/shop" in line for line in audit), audit
        assert "correct horse" not in a.log.read_text() and root not in a.log.read_text()


def ends_with(connection, code):
    try:
        connection.call("GET", "k")
    except ReplyError as error:
        return str(error).startswith(code)
    return False


# The network


def check_open_to_the_network_needs_tls_and_names_or_is_said():
    with Cluster(0) as cluster:
        for number, environment in enumerate(({}, {"QUORATE_PASSWORD": "s3cret"})):
            node = cluster.make(f"refused{number}", "dc1", "--resp", "0.0.0.0:0")
            node.environment = environment
            try:
                node.start("--found")
                raise AssertionError("it became ready")
            except Refused as refusal:
                assert refusal.code == 2 and "--tls-cert" in refusal.said and "--insecure" in refusal.said, refusal
            assert not node.data_dir.exists(), "a refused start leaves nothing behind"
        node = cluster.make("open", "dc1", "--resp", "0.0.0.0:0", "--insecure")
        node.start("--found")
        assert "whoever reaches this address may do everything" in node.log.read_text()


def openssl(folder, *words):
    made = subprocess.run(["openssl", *words], cwd=folder, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr


def authority(folder, name):
    openssl(folder, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem")  # fmt: skip
    return folder / f"{name}.pem"


def certificate(folder, name, issuer, addresses="DNS:localhost,IP:127.0.0.1"):
    """A certificate for these addresses, by default this machine's, signed by `issuer`."""
    extensions = folder / "san.cnf"
    extensions.write_text(f"subjectAltName={addresses}\nbasicConstraints=CA:FALSE\n")
    openssl(folder, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
            "-keyout", f"{name}.key", "-out", f"{name}.csr")  # fmt: skip
    openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-CA", f"{issuer}.pem", "-CAkey", f"{issuer}.key", "-CAcreateserial",
            "-days", "2", "-extfile", str(extensions), "-out", f"{name}.pem")  # fmt: skip
    return folder / f"{name}.pem", folder / f"{name}.key"


def check_tls_on_both_faces():
    with Cluster(0) as cluster:
        ca = authority(cluster.folder, "ca")
        cert, key = certificate(cluster.folder, "node", "ca")
        node = cluster.make("a", "dc1", "--tls-cert", str(cert), "--tls-key", str(key))
        node.environment = {"QUORATE_PASSWORD": "s3cret"}
        node.start("--found")
        secret = ("--tls", "--cacert", str(ca), "-a", "s3cret")
        assert redis_cli(node.resp, *secret, "SET", "k", "v") == "OK"
        assert redis_cli(node.resp, *secret, "-3", "GET", "k").strip('"') == "v"
        assert "OK" not in redis_cli(node.resp, "-a", "s3cret", "SET", "k", "w"), "it speaks nothing but TLS"
        trusting = {"QUORATE_TLS_CA": str(ca), "QUORATE_PASSWORD": "s3cret"}
        assert done("get", "k", "--resp", f"rediss://{node.resp}", **trusting) == "v"
        assert json.loads(done("status", "--output", "json", "--http", f"https://{node.ready['http']}", **trusting))["converged"]
        done("bench", "--target", f"rediss://{node.resp}", "--clients", "4", "--pipeline", "8", "--seconds", "1", "--warmup", "0", **trusting)
        other = authority(cluster.folder, "other")
        stranger = run("get", "k", "--resp", node.resp, QUORATE_TLS_CA=str(other), QUORATE_PASSWORD="s3cret")
        assert stranger.returncode == 1 and "certificate" in stranger.stderr, stranger
        reloads(cluster.folder, node, ca, other)


def reloads(folder, node, ca, other):
    """A new certificate by another authority is shown after SIGHUP; a broken one changes nothing."""
    certificate(folder, "new", "other")
    for end in ("pem", "key"):
        (folder / f"new.{end}").replace(folder / f"node.{end}")
    assert trusted(node, ca), "nothing is read before the signal"
    node.process.send_signal(signal.SIGHUP)
    wait_until("the new certificate is shown", lambda: trusted(node, other) and not trusted(node, ca), 10)
    (folder / "node.pem").write_text("nonsense")
    node.process.send_signal(signal.SIGHUP)
    wait_until("the node says what is wrong", lambda: "stays in use" in node.log.read_text(), 10)
    assert trusted(node, other) and node.running()


def trusted(node, ca):
    request = urllib.request.Request(f"https://{node.ready['http']}/healthz")
    try:
        with urllib.request.urlopen(request, timeout=5, context=ssl.create_default_context(cafile=str(ca))) as answer:
            return answer.status == 200
    except (urllib.error.URLError, ssl.SSLError):
        return False


def check_only_clients_with_a_certificate_are_let_in():
    with Cluster(0) as cluster:
        ca = authority(cluster.folder, "ca")
        cert, key = certificate(cluster.folder, "node", "ca")
        own, own_key = certificate(cluster.folder, "ann", "ca")
        node = cluster.make("a", "dc1", "--tls-cert", str(cert), "--tls-key", str(key), "--tls-client-ca", str(ca))
        node.start("--found")
        assert redis_cli(node.resp, "--tls", "--cacert", str(ca), "--cert", str(own), "--key", str(own_key), "PING") == "PONG"
        assert "PONG" not in redis_cli(node.resp, "--tls", "--cacert", str(ca), "PING")
        show = ("--tls-ca", ca, "--tls-cert", own, "--tls-key", own_key)
        done("put", "k", "v", "--resp", node.resp, *show)
        done("status", "--http", node.ready["http"], *show)
        assert run("status", "--http", node.ready["http"], "--tls-ca", ca).returncode == 1


def check_a_stranger_keeps_no_place_and_learns_nothing():
    with Cluster(0) as cluster:
        node = cluster.make("a")
        node.environment = {"QUORATE_PASSWORD": "s3cret"}
        node.start("--found")
        begun = time.monotonic()
        with Connection(node.resp, timeout=20) as silent:
            answer = silent.receive()
            assert isinstance(answer, ReplyError) and "in time" in str(answer) and 8 < time.monotonic() - begun < 15, answer
        with node.connect() as guesser:
            guesses, begun = 0, time.monotonic()
            while time.monotonic() - begun < 2:
                guesser.send(("AUTH", "default", f"guess{guesses}"))
                assert "WRONGPASS" in str(guesser.receive())
                guesses += 1
            assert guesses <= 25, f"{guesses} guesses in two seconds"
