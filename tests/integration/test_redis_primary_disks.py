"""Redis with one primary, and its disks: one that is full, and data folders that are gone."""

import os
import pathlib
import shutil
import signal

import pytest
from conftest import wait_until
from small_disk import SmallDisk
from test_redis_primary import Cache, Redis, RedisError, Writer, cluster_file
from test_redis_primary import pytestmark as as_there

pytestmark = [*as_there, pytest.mark.never_again]


@pytest.fixture
def disk(muster):
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    with SmallDisk(muster, "m/hosts", "kv@rehearsal", "h1") as small:
        yield small


def refuses_writes(cache, name):
    try:
        cache.call(name, "SET", "probe", "x")
    except RedisError as error:
        return "MISCONF" in str(error)
    return False


def test_a_primary_whose_disk_is_full_hands_over_and_loses_nothing(muster, disk):
    cache = Cache(muster, cluster_file(muster, extra="prefer: h1"))
    cache.up()
    assert cache.settled() == "cache-1"
    writer = Writer(cache.addresses())
    writer.wait_for(200)
    disk.fill()
    wait_until(lambda: cache.primary() in ("cache-2", "cache-3"), 30, "a primary whose disk takes writes")
    heir = cache.primary()
    writer.wait_for(200)
    disk.make_room()
    cache.settled(60)
    wait_until(lambda: cache.call("cache-1", "INFO", "replication").find("master_link_status:up") > 0, 30, "cache-1 to follow")
    assert cache.primary() == heir, "it was given back"
    writer.wait_for(200)
    writer.stop()
    assert not cache.lost(writer)
    assert cache.plan_is_empty()[0], cache.plan_is_empty()[1]


def test_a_primary_whose_disk_is_full_stays_where_nobody_could_take_over_and_that_is_said(muster, disk):
    cache = Cache(muster, cluster_file(muster, hosts=1, replicas=1))
    cache.up()
    primary = cache.settled()
    disk.fill()

    def told():
        refuses_writes(cache, primary)
        reasons = " ".join(cache.health()["reasons"])
        return "refuses writes: MISCONF" in reasons and "no replica on another host" in reasons

    wait_until(told, 30, "status to say so")
    assert cache.health()["health"] == "red"
    assert cache.primary() == primary
    disk.make_room()
    wait_until(cache.is_green, 40, "green again")
    assert cache.primary() == primary
    with Redis(cache.address(primary)) as redis:
        assert redis("SET", "after", "yes") == "OK"


def lose_data(cache, *names):
    """Disks that lost all, under servers that die of it."""
    members = cache.members()
    for name in names:
        os.kill(members[name]["pid"], signal.SIGSTOP)  # so that nothing is written meanwhile
    for name in names:
        folder = pathlib.Path(cache.muster.home, "m/hosts", cache.cluster, members[name]["host"], "instances", name, "data")
        for entry in folder.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    for name in names:
        os.kill(members[name]["pid"], signal.SIGKILL)
    wait_until(lambda: all(one["state"] == "ready" and one["pid"] != members[name]["pid"]
                           for name, one in cache.members().items() if name in names), 30, "them to start again")


def is_lost(cache):
    health = cache.health()
    return health["health"] == "red" and "all data is gone" in " ".join(health["reasons"])


def test_the_loss_of_all_data_is_red_and_waits_for_a_person(muster):
    cache = Cache(muster, cluster_file(muster))
    cache.up()
    cache.settled()
    cache.write_to_all("kept", "yes")
    lose_data(cache, *cache.members())
    wait_until(lambda: is_lost(cache), 20, "the loss to be told")
    assert "failover cache --accept-loss" in " ".join(cache.health()["reasons"])
    # Neither another server nor another start of the members makes it forgotten.
    os.kill(muster.server_pid(), signal.SIGKILL)
    wait_until(lambda: is_lost(cache), 20, "the next server to tell it, too")
    before = cache.members()["cache-1"]["pid"]
    cache.kill("cache-1")
    wait_until(lambda: cache.members()["cache-1"]["state"] == "ready" and cache.members()["cache-1"]["pid"] != before, 20,
               "cache-1 to start again")
    wait_until(lambda: is_lost(cache), 20, "it to be told still")
    assert cache.primary() is None
    for options in ([], ["--force"]):
        refused = muster.run("failover", "cache", *options, "--cluster", cache.cluster, code=3)
        assert "--accept-loss" in refused.stderr, refused.stderr
    muster.run("failover", "cache", "--accept-loss", "--cluster", cache.cluster, code=3)
    assert cache.primary() is None
    muster.run("failover", "cache", "--accept-loss", "--confirm", "kv", "--cluster", cache.cluster, timeout=60)
    cache.settled()
    cache.write_to_all("anew", "yes")
    # From then on all is as ever.
    primary = cache.primary()
    cache.kill(primary)
    try:
        wait_until(lambda: cache.primary() not in (None, primary), 20, "another primary")
    except AssertionError as error:
        audit = muster.run("audit", "--cluster", cache.cluster, code=None).stdout
        error.add_note(f"{cache.health()}\n{cache.members()}\n{audit}\n{muster.logs()}")
        raise
    cache.settled()
    assert cache.call(cache.primary(), "GET", "anew") == "yes"


def test_a_service_whose_data_was_deleted_on_purpose_begins_as_a_new_one(muster):
    cache = Cache(muster, cluster_file(muster))
    cache.up()
    cache.settled()
    cache.write_to_all("kept", "yes")
    muster.run("down", "--cluster", cache.cluster, "--delete-data", "--confirm", "kv", timeout=60)
    cache.up()
    cache.settled()
    assert cache.call(cache.primary(), "GET", "kept") is None


def test_what_was_never_kept_on_a_disk_is_no_loss_to_ask_about(muster):
    cache = Cache(muster, cluster_file(muster, extra="settings: { appendonly: no }"))
    cache.up()
    cache.settled()
    cache.write_to_all("kept", "yes")
    lose_data(cache, *cache.members())
    assert cache.settled()


def test_the_loss_of_all_snapshots_is_told_from_a_start_before_the_first(muster):
    cache = Cache(muster, cluster_file(muster, extra="settings: { appendonly: no, save: \"3600 1\" }"))
    cache.up()
    cache.settled()
    before = cache.members()
    for name in before:
        os.kill(before[name]["pid"], signal.SIGKILL)
    wait_until(lambda: all(one["state"] == "ready" and one["pid"] != before[name]["pid"]
                           for name, one in cache.members().items()), 30, "them to start again")
    cache.settled()
    cache.write_to_all("kept", "yes")
    lose_data(cache, *cache.members())
    wait_until(lambda: is_lost(cache), 20, "the loss to be told")
    assert cache.primary() is None
    muster.run("failover", "cache", "--accept-loss", "--confirm", "kv", "--cluster", cache.cluster, timeout=60)
    cache.settled()


def test_a_stale_replica_of_a_primary_that_lost_its_data_waits_for_a_person(muster):
    cache = Cache(muster, cluster_file(muster, hosts=2, replicas=1))
    cache.up()
    assert cache.settled() == "cache-1"
    cache.write_to_all("kept", "yes", replicas=1)
    # A password that its primary doesn't know keeps it from being linked again.
    cache.call("cache-2", "CONFIG", "SET", "masterauth", "nonsense")
    cache.call("cache-2", "CLIENT", "KILL", "TYPE", "master")
    wait_until(lambda: "not linked" in " ".join(cache.health()["reasons"]), 20, "the replica to have lost its link")
    # A primary that dies before its agent has looked again is taken for having had it until then.
    wait_until(lambda: not cache.members()["cache-1"]["facts"]["linked"], 20, "its primary to have noticed")
    cache.call("cache-1", "SET", "late", "yes")
    lose_data(cache, "cache-1")

    def told():
        return "cache-1, the last primary, has lost its data, and cache-2 lacks writes" in " ".join(cache.health()["reasons"])

    wait_until(told, 20, "status to say so")
    os.kill(muster.server_pid(), signal.SIGKILL)
    wait_until(told, 20, "the next server to say so, too")
    assert cache.primary() is None
    refused = muster.run("failover", "cache", "--cluster", cache.cluster, code=3)
    assert "--force" in refused.stderr, refused.stderr
    assert cache.primary() is None
    muster.run("failover", "cache", "--force", "--cluster", cache.cluster, timeout=60)
    assert cache.settled() == "cache-2"
    assert cache.call("cache-1", "GET", "kept") == "yes"
    assert cache.call("cache-2", "GET", "late") is None
