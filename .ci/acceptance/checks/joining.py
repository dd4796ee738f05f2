"""Who may join, and what everyone else is told."""

from checks.hostile_input import refused
from cluster import Cluster


def check_a_wrong_token():
    with Cluster(1) as cluster:
        token = cluster[0].ready["join_token"]
        flipped = "A" if token[-8] != "A" else "B"
        for wrong in (token[:-8] + flipped + token[-7:], token[:-4], "nonsense", ""):
            said = refused(cluster.make(f"x{len(cluster.nodes)}"), "--join", cluster[0].ready["quic"], "--token", wrong)
            assert "token" in said, said
        assert len(cluster[0].status()["nodes"]) == 1


def check_a_used_up_token():
    with Cluster(1) as cluster:
        join = ["--join", cluster[0].ready["quic"], "--token", cluster[0].make_token(1)]
        cluster.make("b", "dc2").start(*join)
        said = refused(cluster.make("c", "dc3"), *join)
        assert "used" in said, said


def check_a_token_of_another_cluster():
    with Cluster(1) as cluster, Cluster(1) as other:
        said = refused(cluster.make("x"), "--join", cluster[0].ready["quic"], "--token", other[0].ready["join_token"])
        assert "cluster" in said, said
        assert len(cluster[0].status()["nodes"]) == 1


def check_nobody_at_the_address():
    with Cluster(1) as cluster, Cluster(1) as gone:
        address, token = gone[0].ready["quic"], gone[0].ready["join_token"]
        gone[0].kill()
        said = refused(cluster.make("x"), "--join", address, "--token", token)
        assert address in said, said


def check_a_name_that_is_taken():
    with Cluster(1) as cluster:
        twin = cluster.make("a")
        twin.data_dir = cluster.folder / "twin"
        said = refused(twin, "--join", cluster[0].ready["quic"], "--token", cluster[0].ready["join_token"])
        assert "name" in said or "taken" in said, said
