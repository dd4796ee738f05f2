"""What operators see of real processes: status, explanations, metrics, logs, manual pages."""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request

from cluster import BINARY, Cluster, Node, quorate, wait_until
from environment import promtool

OPS = pathlib.Path(__file__).resolve().parents[3] / "ops"
OPEN_METRICS = "application/openmetrics-text"


def metrics(node, accept=""):
    request = urllib.request.Request(f"http://{node.ready['http']}/metrics", headers={"Accept": accept} if accept else {})
    with urllib.request.urlopen(request, timeout=5) as answer:
        return answer.headers["Content-Type"], answer.read().decode()


def check_metrics_are_clean_in_both_forms():
    with Cluster(3) as cluster:
        node = cluster[0]
        for number in range(20):
            node.call("CL", "QUORUM", "SET", f"k{number}", number)
        # Figures of replicas are summed every five seconds.
        wait_until("rows are summed", lambda: re.search(r'^quorate_rows\{keyspace="default"\} [1-9]', metrics(node)[1], re.M), 15)
        kind, text = metrics(node)
        assert kind.startswith("text/plain; version=0.0.4"), kind
        checked = subprocess.run([promtool(), "check", "metrics"], input=text, capture_output=True, text=True)
        assert checked.returncode == 0, checked.stderr
        for sample in (
            'quorate_requests_total{keyspace="default",op="write",level="QUORUM",outcome="ok"} 20',
            'quorate_build_info{version="',
            "quorate_store_sync_duration_seconds_count ",
            'quorate_peer_rtt_seconds{node="b@dc2"} ',
            "process_resident_memory_bytes ",
            "quorate_nodes 3",
        ):
            assert sample in text, (sample, text)
        kind, text = metrics(node, OPEN_METRICS)
        assert kind.startswith(OPEN_METRICS), kind
        from prometheus_client.openmetrics.parser import text_string_to_metric_families

        families = {family.name for family in text_string_to_metric_families(text)}
        assert {"quorate_requests", "process_cpu_seconds", "quorate_rows"} <= families, families


def check_alert_rules_hold_their_tests():
    for words in (["check", "rules", "alerts.yml"], ["test", "rules", "alerts-test.yml"]):
        said = subprocess.run([promtool(), *words], capture_output=True, text=True, cwd=OPS)
        assert said.returncode == 0, said.stdout + said.stderr


def check_status_explains_what_is_amiss_and_waits():
    with Cluster(3) as cluster:
        http = ("--http", cluster[0].ready["http"])
        assert quorate("status", "--wait", "ready", *http).returncode == 0
        status = cluster[0].status()
        assert status["ready"] and status["converged"], status
        assert status["control"]["following"] == 3, status["control"]
        for node in status["nodes"]:
            assert node["version"] and node["address"] and node["load"]["memory_bytes"], node
        [keyspace] = status["keyspaces"]
        # A node in each datacenter: a majority of one replica is one copy.
        assert keyspace["defaults"] == {"read": "LOCAL_QUORUM", "write": "LOCAL_QUORUM", "copies": 1}, keyspace
        assert [levels["datacenter"] for levels in keyspace["levels"]] == ["dc1", "dc2", "dc3"], keyspace
        assert all("ALL" in levels["write"] for levels in keyspace["levels"]), keyspace
        cluster[2].kill()
        wait_until("c is down", lambda: cluster[0].status()["nodes"][2]["state"] == "down", 10)
        wait_until("c was noticed", lambda: cluster[0].status()["nodes"][2]["down_since"], 20)
        status = cluster[0].status()
        [keyspace] = status["keyspaces"]
        assert keyspace["lacking"] == [{"node": "c", "partitions": 64, "reason": "silent"}], keyspace
        [levels, _] = keyspace["levels"]
        assert "QUORUM" in levels["write"] and "ALL" not in levels["write"], levels
        all_copies = [unmet for unmet in levels["unmet"] if (unmet["level"], unmet["access"]) == ("ALL", "write")]
        assert all_copies == [{"level": "ALL", "access": "write", "partitions": 64, "required": 3, "answering": 2, "missing": ["c"]}]
        wait_until("a and b agree on a leader", lambda: cluster[0].status()["ready"], 20)
        begun = time.monotonic()
        late = quorate("status", "--wait", "converged", "--timeout", "1s", *http)
        assert late.returncode == 4 and "c has not answered for" in late.stderr, late
        assert 0.9 < time.monotonic() - begun < 5
        as_json = quorate("status", "--wait", "converged", "--timeout", "300ms", "--output", "json", *http)
        error = json.loads(as_json.stderr)["error"]
        assert (as_json.returncode, error["code"], error["exit_code"]) == (4, "not_reached", 4), as_json
        cluster[2].start()
        assert quorate("status", "--wait", "converged", "--timeout", "30s", *http).returncode == 0
        # Alone, a node knows nobody whom a majority follows.
        cluster[1].kill()
        cluster[2].kill()
        wait_until("no leader", lambda: cluster[0].status()["leader"] is None, 10)
        assert not cluster[0].status()["ready"]


def check_a_key_is_explained_by_every_replica():
    with Cluster(3) as cluster:
        cluster[0].call("CL", "ALL", "SET", "k", "v")
        http = ("--http", cluster[1].ready["http"])
        said = quorate("explain", "k", *http)
        assert said.returncode == 0 and "equal      yes" in said.stdout, said
        found = json.loads(quorate("explain", "k", "--output", "json", *http).stdout)
        assert [held["node"] for held in found["replicas"]] and found["equal"], found
        for held in found["replicas"]:
            [row] = held["replica"]["rows"]
            assert row["entries"][0]["value"] == {"text": "v"}, row
        cluster[2].kill()
        cluster[0].call("SET", "k", "w")
        found = json.loads(quorate("explain", "k", "--output", "json", *http).stdout)
        silent = [held["node"] for held in found["replicas"] if not held["answered"]]
        assert silent == ["c"] and not found["equal"], found


def check_logs_name_nodes_and_hold_no_colours():
    with Cluster(2) as cluster:
        cluster[1].kill()
        wait_until("a noticed", lambda: "b@dc2" in cluster[0].log.read_text(), 20)
        cluster[1].start()
        wait_until("a noticed again", lambda: "can be reached again" in cluster[0].log.read_text(), 20)
        text = cluster[0].log.read_text()
        assert "\x1b" not in text, text
        assert "this node founds a cluster" in text, text
        assert "this node comes back to its cluster" in cluster[1].log.read_text()
    with tempfile.TemporaryDirectory() as folder:
        node = Node("solo", pathlib.Path(folder) / "solo", "--found", "--log-format", "json", "--log", "info")
        node.start()
        node.stop()
        lines = [json.loads(line) for line in node.log.read_text().splitlines()]
        assert any(line["message"] == "this node founds a cluster" and line["node"] == "solo" for line in lines), lines
        wrong = quorate("start", "--log", "loud", "--data-dir", folder)
        assert wrong.returncode == 2 and "--log" in wrong.stderr, wrong


def check_a_service_manager_is_told():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(path)
            manager.settimeout(20)
            node = Node("solo", pathlib.Path(folder) / "solo", "--found")
            node.environment = {"NOTIFY_SOCKET": path}
            node.start()
            try:
                assert manager.recv(100) == b"READY=1\n"
                node.process.send_signal(signal.SIGTERM)
                assert manager.recv(100) == b"STOPPING=1\n"
            finally:
                node.stop()


def check_pages_and_completions_are_written():
    with tempfile.TemporaryDirectory() as folder:
        assert quorate("man", folder).returncode == 0
        pages = {page.name for page in pathlib.Path(folder).iterdir()}
        assert {"quorate.1", "quorate-status.1", "quorate-keyspace-create.1"} <= pages, pages
    for shell in ("bash", "zsh", "fish"):
        script = quorate("completions", shell)
        assert script.returncode == 0 and "explain" in script.stdout, script


def check_variables_choose_the_node():
    with Cluster(1) as cluster:
        ready = cluster[0].ready
        environment = {"QUORATE_HTTP": ready["http"], "QUORATE_RESP": ready["resp"], "QUORATE_CONSISTENCY": "ONE", "PATH": os.environ["PATH"]}

        def run(*words):
            return subprocess.run([str(BINARY), *words], capture_output=True, text=True, timeout=30, env=environment)

        assert run("set", "k", "v").stdout == "OK\n"
        assert run("get", "k").stdout == "v\n"
        assert run("status").returncode == 0
