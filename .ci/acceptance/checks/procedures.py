"""Runs the procedures of docs/operations.md as they are written there, each in a situation that it is for.

There is one check for each section that has console blocks, in the order of the page."""

import functools
import json
import shutil

import page
from checks.access import authority, certificate
from cluster import Refused, wait_until
from environment import preload
from machines import Site

HEADINGS = []
KEYS = 200


def procedure(heading):
    """Makes a check of a function that takes the section and a site. It fails if the function leaves a block out."""
    HEADINGS.append(heading)

    def wrap(body):
        @functools.wraps(body)
        def check():
            (section,) = [section for section in page.sections() if section.heading == heading]
            with Site() as site:
                body(section, site)
            section.assert_all_run()

        return check

    return wrap


def check_every_procedure_is_run_in_the_order_of_the_page():
    runnable = [section.heading for section in page.sections() if any(not block.not_run for block in section.blocks)]
    assert runnable == HEADINGS, (runnable, HEADINGS)
    # What this relies on: a block without a check is noticed, and one with a reason is passed over.
    planted = page.sections("## Task\n```console\n$ quorate status\nmore\n```\n\n```console\n$ reboot\n```\nNot run by the checks: it ends them.\n")
    (section,) = planted
    assert [command.shown for command in section.blocks[0].commands] == [["more"]] and section.blocks[1].not_run == "it ends them."
    try:
        section.assert_all_run()
    except AssertionError as noticed:
        assert "line [2]" in str(noticed), noticed
    else:
        raise AssertionError("a block that nothing runs was not noticed")


def write(machine, prefix="k", level="QUORUM"):
    machine.run(f"(for n in $(seq {KEYS}); do echo CL {level} SET {prefix}$n $n; done) | redis-cli -p 7379 | sort | uniq -c | grep -q '{KEYS} OK'")


def read(machine, prefix="k", level="QUORUM"):
    """All that `write` has written is there."""
    found = machine.run(f"(for n in $(seq {KEYS}); do echo CL {level} GET {prefix}$n; done) | redis-cli -p 7379").splitlines()
    wrong = [(number, answer) for number, answer in enumerate(found, 1) if answer != str(number)]
    assert not wrong and len(found) == KEYS, f"{machine.name} lacks some of {prefix}, such as {wrong[:3]}"


@procedure("Who is in the cluster?")
def check_who_is_in_the_cluster(section, site):
    site.found()
    site.c.stop("KILL")
    site.wait_down("c")
    listed = site.follow_all(section.block(0))[0]
    (down,) = [line.split() for line in listed.splitlines() if line.startswith("c ")]
    assert down[3:6] == ["10.0.0.3:7381", "?", "down"], down
    assert wait_until("c has been down since", lambda: site.a.nodes()["c"]["down_since"], 10) > 1_700_000_000_000


@procedure("How is the cluster?")
def check_how_is_the_cluster(section, site):
    site.found()
    waits, looks, watch = section.block(1).commands
    assert "--watch" in watch.text
    site.follow(waits)
    site.follow(looks)
    seen = site.a.run(f"timeout -s INT 4 {watch.text}", code=124)
    assert seen == "", seen
    site.c.stop("KILL")
    wait_until("c was noticed", lambda: site.a.nodes()["c"]["down_since"], 20)
    said = site.follow_all(section.block(0))[0]
    for word in ("down       c has not answered for", "lacking    default: c cannot be asked", "one copy   default:"):
        assert word in said, (word, said)
    # Each word that the summary may begin a line with is explained below it.
    text = page.PAGE.read_text()
    for line in said.split("\n\n")[0].splitlines():
        word = line[:11].strip()
        if word not in ("cluster", "epoch", "leader", "nodes"):
            assert f"| `{word}` |" in text, word


@procedure("What happened to this key?")
def check_what_happened_to_this_key(section, site):
    site.found(2)
    site.a.run("redis-cli -p 7379 CL ALL SET cart:7 apples")
    said = site.follow_all(section.block(0))[0]
    assert "equal      yes" in said and said.count("apples") == 2, said


@procedure("What is in the log?")
def check_what_is_in_the_log(section, site):
    site.follow_all(section.block(0))
    site.a.stop()
    lines = [json.loads(line) for line in site.a.log.read_text().splitlines()]
    assert any("founds a cluster" in line["message"] for line in lines), lines


@procedure("It is slow: what do I look at?")
def check_it_is_slow(section, site):
    site.found(1)
    site.a.run("redis-cli -p 7379 SET k v")
    site.a.run("redis-cli -p 7379 CONFIG SET slowlog-log-slower-than 0")
    site.a.run("redis-cli -p 7379 GET k")
    figures, slow = section.block(0).commands
    assert "quorate_store_sync_duration_seconds_sum" in site.follow(figures)
    assert "GET" in site.follow(slow)


@procedure("A clock is wrong")
def check_a_clock_is_wrong(section, site):
    clock = site.folder / "clock"
    clock.write_text("3600")
    site.found()
    site.c.stop()
    site.c.exported = {"LD_PRELOAD": str(preload()), "WRONG_CLOCK": str(clock)}
    site.start_again("c")
    wait_until("the clock of c is named", lambda: "clock      c" in site.a.run("quorate status"), 20)
    (named,) = section.block(0).commands
    assert "3600" in site.follow(named), "how far it is off"
    refused = site.c.run("redis-cli -p 7379 SET k v")
    assert "CLOCK" in refused and "nothing was applied" in refused, refused
    clock.write_text("0")
    wait_until("c writes again", lambda: site.c.run("redis-cli -p 7379 SET k v") == "OK\n", 20)
    wait_until("nothing is named", lambda: "clock  " not in site.a.run("quorate status"), 20)


@procedure("A disk is full")
def check_a_disk_is_full(section, site):
    site.a.run("mkdir a && mount -t tmpfs -o size=192m disk a")
    site.found(1)
    site.a.run("redis-cli -p 7379 PING")
    wait_until("a refuses", lambda: site.a.run("redis-cli -p 7379 SET k v").startswith("OOM"), 20)
    free = json.loads(site.follow_all(section.block(0))[0])
    assert free["name"] == "a" and 0 < free["free"] < 192 << 20, free
    site.a.run("mount -o remount,size=600m a")
    wait_until("a writes again, without a start", lambda: site.a.run("redis-cli -p 7379 SET k v") == "OK\n", 20)


@procedure("The first node")
def check_the_first_node(section, site):
    site.follow_all(section.block(0))
    write(site.a, level="ONE")
    site.a.stop()
    # Without its disk it founds no second cluster.
    site.a.run("mv a mounted")
    try:
        site.a.start("quorate start --node a --datacenter dc1 --data-dir a --quic 10.0.0.1:7381")
    except Refused as refused:
        assert "a holds no node; to make a new cluster, start with --found" in refused.said, refused
    else:
        raise AssertionError("it founded another cluster")
    site.a.run("mv mounted a")
    (ready,) = site.follow_all(section.block(1))
    assert ready["quic"] == "node-a.example.com:7381", ready
    read(site.a, level="ONE")


@procedure("A node joins")
def check_a_node_joins(section, site):
    site.found()
    made, joins = section.block(0).commands
    site.follow(made)
    site.follow(joins)
    assert site.a.nodes()["d"]["datacenter"] == "dc3"
    wait_until("d holds partitions", lambda: site.a.nodes()["d"]["partitions"], 20)
    site.a.run("rm token")
    site.d.stop()
    # The command line is that of every later start.
    site.follow(joins)
    listing, revoking = section.block(1).commands
    token = site.a.run("quorate node token --uses 2")
    (id,) = [line.split()[0] for line in site.follow(listing).splitlines() if line.split()[1] == "2"]
    site.follow(revoking, ID=id)
    site.d.stop()
    (site.folder / "revoked").write_text(token)
    try:
        site.d.start("quorate start --node e --datacenter dc3 --data-dir e --quic 10.0.0.4:7381 --join 10.0.0.1:7381 --token-file revoked")
    except Refused as refused:
        assert "token is not known" in refused.said, refused
    else:
        raise AssertionError("a token that was revoked let a node in")


@procedure("A datacenter is added")
def check_a_datacenter_is_added(section, site):
    site.found(2)
    write(site.a)
    made, joins = section.block(0).commands
    site.follow(made)
    site.follow(joins)
    site.a.run("quorate keyspace create carts --replication dc1=1,dc2=1")
    site.follow_all(section.block(1))
    site.wait_converged()
    read(site.d, level="LOCAL_QUORUM")
    assert '"dc4":1' in site.a.run("quorate keyspace describe carts --output json").replace(" ", "")


@procedure("A node leaves")
def check_a_node_leaves(section, site):
    site.found()
    write(site.c, level="ONE")
    site.follow_all(section.block(0))
    site.c.stop()
    assert sorted(site.a.nodes()) == ["a", "b"]
    site.wait_converged()
    read(site.a, level="ONE")


@procedure("A node is dead")
def check_a_node_is_dead(section, site):
    site.found()
    write(site.a)
    site.c.stop("KILL")
    site.wait_down("c", [site.a, site.b])
    site.follow_all(section.block(0))
    site.wait_converged()
    read(site.c, level="LOCAL_QUORUM")


@procedure("A key is to be changed")
def check_a_key_is_to_be_changed(section, site):
    site.found()
    write(site.a)
    shutil.copytree(site.folder / "c", site.folder / "copy")
    site.c.stop()
    site.start_again("c", "--http 10.0.0.3:7380 --insecure")
    said = site.follow_all(section.block(0))[0]
    assert said.startswith("c has the key "), said
    site.a.run("quorate status --wait converged")
    read(site.c, level="LOCAL_QUORUM")
    # It comes back under the new key, and the copy does not.
    site.c.stop()
    site.start_again("c")
    site.wait_converged()
    site.c.stop()
    try:
        site.d.start("quorate start --node c --datacenter dc3 --data-dir copy --quic 10.0.0.4:7381 --join 10.0.0.1:7381", seconds=8)
    except Refused:
        pass
    wait_until("a refuses it", lambda: "not that of a member" in site.a.log.read_text(), 10)


@procedure("A key fell into the wrong hands")
def check_a_key_fell_into_the_wrong_hands(section, site):
    site.found()
    write(site.a)
    shutil.copytree(site.folder / "c", site.folder / "stolen")
    removes, stops, made, joins = section.block(0).commands
    site.follow(removes)
    site.follow(stops, on=site.c)
    site.c.node.wait(20)
    site.follow(made)
    site.follow(joins)
    site.wait_converged()
    read(site.c, level="LOCAL_QUORUM")
    # The thief is not talked to.
    try:
        site.d.start("quorate start --node c --datacenter dc3 --data-dir stolen --quic 10.0.0.4:7381 --join 10.0.0.1:7381", seconds=8)
    except Refused:
        pass
    wait_until("a refuses it", lambda: "not that of a member" in site.a.log.read_text(), 10)


def name_the_node(site):
    """A certificate for the name db1.example.org, of the authority ca.pem."""
    authority(site.folder, "ca")
    certificate(site.folder, "node", "ca", "DNS:db1.example.org")


@procedure("Other machines are to reach the client ports")
def check_other_machines_reach_the_client_ports(section, site):
    name_the_node(site)
    site.a.exported = {"QUORATE_PASSWORD": "s3cret"}
    site.follow_all(section.block(0))
    client, becomes, shows = section.block(1).commands
    assert "PONG" in site.follow(client, on=site.b, stdin="s3cret\nPING\n")
    site.follow(becomes, on=site.b, PASSWORD="s3cret")
    said = site.follow(shows, on=site.b)
    assert "ready      yes" in said, said
    site.a.stop()
    site.a.exported = {}
    try:
        site.follow(section.block(0).commands[0])
    except Refused as refused:
        assert refused.code == 2 and "--insecure" in refused.said, refused
    else:
        raise AssertionError("everybody may do everything")


@procedure("A certificate is about to expire")
def check_a_certificate_is_about_to_expire(section, site):
    name_the_node(site)
    site.a.exported = {"QUORATE_PASSWORD": "s3cret"}
    site.a.start("quorate start --resp 0.0.0.0:7379 --http 0.0.0.0:7380 --tls-cert node.pem --tls-key node.key")

    def shown():
        asked = "openssl s_client -connect db1.example.org:7380 </dev/null 2>/dev/null | openssl x509 -noout -serial"
        return site.b.run(asked)

    before = shown()
    certificate(site.folder, "node", "ca", "DNS:db1.example.org")
    site.follow_all(section.block(0))
    wait_until("the new certificate is shown", lambda: shown() != before, 10)
    assert "new connections use the certificate as it is now" in site.a.log.read_text()


@procedure("Several people or programs use the cluster")
def check_several_people_use_the_cluster(section, site):
    site.found()
    for name in ("carts", "stock"):
        site.a.run(f"quorate keyspace create {name} --replication dc1=1,dc2=1,dc3=1")
    root, becomes, *others = section.block(0).commands
    password = site.follow(root).strip()
    site.follow(becomes, PASSWORD=password)
    shop, _monitor, listed = [site.follow(command) for command in others]
    assert all(name in listed for name in ("root", "shop", "monitor")), listed
    client, reads, nothing, renews, drops = section.block(1).commands

    def as_shop(asks, password=shop):
        return site.follow(client, stdin=f"{password}{asks}\n")

    wait_until("shop is known", lambda: as_shop("SELECT carts\nSET k v").endswith("OK\nOK\n"), 10)
    assert "NOPERM" in as_shop("SELECT stock\nGET k")
    site.follow(reads)
    wait_until("shop reads stock", lambda: "NOPERM" not in as_shop("SELECT stock\nGET k"), 10)
    assert "NOPERM" in as_shop("SELECT stock\nSET k v")
    site.follow(nothing)
    wait_until("shop has lost carts", lambda: "NOPERM" in as_shop("SELECT carts\nSET k v"), 10)
    new = site.follow(renews)
    wait_until("the old password opens nothing", lambda: "PONG" not in as_shop("PING"), 10)
    assert "PONG" in as_shop("PING", new)
    site.follow(drops)
    assert "shop" not in site.a.run("quorate user list")
    assert site.a.log.read_text().count("audit") >= 6, "every act is in the log"


@procedure("Addresses change")
def check_addresses_change(section, site):
    site.found()
    write(site.a)
    for machine in site.machines[:3]:
        machine.stop()
    site.follow_all(section.block(0))
    site.wait_converged()
    read(site.c)
    wait_until("the cluster has the new addresses", lambda: [node["address"] for node in site.b.nodes().values()] == [f"10.1.0.{n}:7381" for n in (1, 2, 3)], 20)


@procedure("A dead node is replaced")
def check_a_dead_node_is_replaced(section, site):
    site.found()
    write(site.a)
    site.c.stop("KILL")
    site.wait_down("c", [site.a, site.b])
    site.follow_all(section.block(0))
    assert sorted(site.a.nodes()) == ["a", "b", "d"]
    site.wait_converged()
    read(site.d, level="LOCAL_QUORUM")


@procedure("A machine is serviced")
def check_a_machine_is_serviced(section, site):
    site.found()
    write(site.a)
    site.follow_all(section.block(0))
    assert site.a.nodes()["c"]["partitions"] == 0
    site.c.stop()
    read(site.a)
    site.start_again("c")
    site.follow_all(section.block(1))
    wait_until("c holds partitions", lambda: site.a.nodes()["c"]["partitions"], 20)
    site.wait_converged()


@procedure("A majority of the voters is lost for good")
def check_a_majority_is_lost(section, site):
    site.found()
    write(site.a, level="ALL")
    for machine in (site.b, site.c):
        machine.stop("KILL")
        machine.run(f"rm -r {machine.name}")
    site.a.stop()
    (looks,) = section.block(0).commands
    said = site.a.run(looks.text, code=2)
    assert "nothing was changed" in said, said
    assert "Lost for good:  b, c" in site.follow(looks, types="yes")
    for command in section.block(1).commands:
        site.follow(command)
    # A newcomer is not read before it is filled.
    site.wait_converged()
    read(site.a)
    assert sorted(site.a.nodes()) == ["a", "b"]


@procedure("Upgrade")
def check_upgrade(section, site):
    site.found()
    write(site.a)
    said = site.follow_all(section.block(0))[0]
    shown = section.blocks[0].commands[0].shown
    assert said.splitlines() == shown, (said, shown)
    stops, starts, waits = section.block(1).commands
    site.follow(stops)
    site.a.node.wait(20)
    site.follow(starts)
    site.follow(waits)
    read(site.a)


@procedure("Backup and restore")
def check_backup_and_restore(section, site):
    site.found()
    write(site.a)
    site.a.run("quorate keyspace create carts --replication dc1=1,dc2=1,dc3=1")
    site.a.run("(echo SELECT carts; echo CL QUORUM SET cart apples; echo CL QUORUM INCR visits) | redis-cli -p 7379")
    said = site.follow_all(section.block(0))[0]
    assert f"saved {KEYS + 2} keys in 2 keyspaces at QUORUM" in said, said
    site.follow_all(section.block(1))
    site.a.run("test -f tuesday/manifest.sha256")
    site.a.run("redis-cli -p 7379 CL QUORUM DEL k1 k2 k3")
    checked, said = site.follow_all(section.block(2))
    assert "is whole" in checked and said.startswith("restored 3 rows"), (checked, said)
    read(site.b)
    site.a.run("(echo SELECT carts; echo CL QUORUM SET cart pears; echo CL QUORUM INCR visits) | redis-cli -p 7379")
    site.follow_all(section.block(3))
    found = site.c.run("(echo SELECT carts; echo CL QUORUM GET cart; echo CL QUORUM GET visits) | redis-cli -p 7379")
    assert found.split() == ["OK", "apples", "1"], found


@procedure("A data directory was restored from a backup")
def check_a_data_directory_was_restored(section, site):
    site.found()
    write(site.a)
    site.c.stop()
    shutil.copytree(site.folder / "c", site.folder / "copy")
    site.start_again("c")
    site.wait_converged()
    site.c.stop()
    shutil.rmtree(site.folder / "c")
    (site.folder / "copy").rename(site.folder / "c")
    site.start_again("c")
    wait_until("c is named", lambda: "may be forgotten by c" in site.a.run("quorate status"), 20)
    stops, *others = section.block(0).commands
    site.follow(stops, on=site.c)
    site.c.node.wait(20)
    site.wait_down("c", [site.a, site.b])
    for command in others:
        site.follow(command)
    site.wait_converged()
    assert sorted(site.a.nodes()) == ["a", "b", "c2"]
    wait_until("all votes are kept", lambda: "forgotten" not in site.a.run("quorate status"), 20)


@procedure("May another node fail?")
def check_may_another_node_fail(section, site):
    site.found()
    quorum, verify, diagnose = site.follow_all(section.block(0))
    assert quorum.splitlines()[0].startswith("topology: 3 of 3 voters answer and 2 are needed; "), quorum
    assert verify.splitlines() == section.blocks[0].commands[1].shown, verify
    assert diagnose.splitlines() == section.blocks[0].commands[2].shown, diagnose
    (said,) = site.follow_all(section.block(1))
    assert said.splitlines() == section.blocks[1].commands[0].shown, said


@procedure("Another node should lead")
def check_another_node_should_lead(section, site):
    site.found()
    wait_until("b can lead", lambda: site.a.status()["control"]["following"] == 3, 20)
    led, status = site.follow_all(section.block(0))
    assert led == "b leads\n" and "b leads in term" in status, (led, status)


@procedure("There are two machines")
def check_there_are_two_machines(section, site):
    site.found(2)
    site.follow_all(section.block(0))
    wait_until("all three vote", lambda: site.a.status()["control"]["following"] == 3, 20)
    witness = site.a.nodes()["w"]
    assert witness["witness"] and witness["partitions"] == 0, witness


@procedure("A keyspace changes")
def check_a_keyspace_changes(section, site):
    site.found()
    site.a.run("quorate keyspace create carts --replication dc1=1")
    site.a.run("redis-cli -p 7379 -n 0 SET k v")
    describes, plans, alters, drops = section.block(0).commands
    before = site.follow(describes)
    planned = site.follow(plans)
    assert {"a", "b", "c"} <= {word for line in planned.splitlines() for word in line.split()}, planned
    assert site.follow(describes) == before, "the plan has changed something"
    site.follow(alters)
    said = wait_until("the move is over", lambda: (found := site.follow(describes)).splitlines()[1].endswith(" 0") and found, 30)
    assert "dc1=1,dc2=1,dc3=1" in said and "QUORUM" in said, said
    site.follow(drops)
    assert "carts" not in site.a.run("quorate keyspace list")
