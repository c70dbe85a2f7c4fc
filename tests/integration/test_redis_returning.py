"""A redis goes down with writes under way, and comes up by a file that has no place for who was primary: what only that
one has is handed over before it leaves, whoever dies meanwhile."""

import os
import signal
import threading

import pytest

from conftest import free_ports, wait_until
from redis_clusters import needs_redis
from test_redis_primary import Cache, Writer, cluster_file

pytestmark = [needs_redis, pytest.mark.never_again]


def went_down_under_writes(muster):
    """Returns it and its writer. Its primary is cache-3, and has what others may lack: they stopped before it or beside it."""
    port = free_ports(4)
    cache = Cache(muster, cluster_file(muster, replicas=2, port=port))
    cache.up()
    cache.settled()
    muster.run("switchover", "cache", "--cluster", cache.cluster, "--to", "cache-3", timeout=90)
    cache.settled()
    writer = Writer([cache.address("cache-3")])
    writer.wait_for()
    muster.run("down", "--cluster", cache.cluster, timeout=60)
    writer.stop()
    cache.file = cluster_file(muster, replicas=0, port=port)
    return cache, writer


def left(cache):
    wait_until(lambda: set(cache.members()) == {"cache-1"}, 60, "who isn't wanted to have left")
    assert cache.settled() == "cache-1"


def test_a_primary_that_is_not_wanted_comes_up_once_more_hands_over_and_leaves(muster):
    cache, writer = went_down_under_writes(muster)
    said = cache.up().stdout
    assert "come up once more" in said, said
    left(cache)
    assert cache.lost(writer) == []
    assert cache.plan_is_empty()[0], cache.plan_is_empty()[1]


@pytest.mark.parametrize("at", ["cache-3  installed", "cache-1  ready", "cache-3  ready", "ready after"])
def test_a_server_that_dies_meanwhile_leaves_it_to_whoever_resumes(muster, at):
    cache, writer = went_down_under_writes(muster)
    up = muster.start("up", cache.file, "--rehearse")
    said = [next(line for line in up.stdout if at in line)]
    os.kill(muster.server_pid(), signal.SIGKILL)
    said.append(up.communicate(timeout=60)[0])

    def paused():
        return "is paused" in muster.run("status", "--cluster", cache.cluster, code=None).stdout

    # It dies in the run, or in the one that follows, or between them: then the next one begins that by itself.
    wait_until(lambda: paused() or set(cache.members()) == {"cache-1"}, 60, "the next server to say what becomes of it")
    if paused():
        muster.run("resume", "--cluster", cache.cluster)
    left(cache)
    assert cache.lost(writer) == [], said


@pytest.mark.parametrize("who", ["cache-1", "cache-3"])
def test_a_member_that_dies_meanwhile_loses_nothing(muster, who):
    cache, writer = went_down_under_writes(muster)
    up = muster.start("up", cache.file, "--rehearse")
    reader = threading.Thread(target=up.stdout.read, daemon=True)
    reader.start()
    pid = wait_until(lambda: cache.members().get(who, {}).get("pid"), 30, f"{who} to run")
    os.kill(pid, signal.SIGKILL)
    up.wait(120)
    reader.join(10)
    left(cache)
    assert cache.lost(writer) == []
