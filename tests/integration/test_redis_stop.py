"""Redis that is to stop, and doesn't hear it."""

import os
import signal
import time

import pytest
from conftest import wait_until
from test_redis_primary import Cache, cluster_file
from test_redis_primary import pytestmark as as_there

pytestmark = [*as_there, pytest.mark.never_again]


def stop(cache, name):
    """Long before it would be killed for not having ended: what it said since."""
    began = time.monotonic()
    cache.muster.run("stop", name, "--cluster", cache.cluster, timeout=60)
    assert time.monotonic() - began < 15, "it was killed after 30 s"
    return cache.muster.run("logs", name, "--cluster", cache.cluster, "--tail", "200").stdout


def test_a_member_that_refuses_to_stop_while_it_writes_its_first_append_only_file_is_asked_again(muster):
    cache = Cache(muster, cluster_file(muster, hosts=2, replicas=1))
    cache.up()
    assert cache.settled() == "cache-1"
    for number in range(100):
        cache.call("cache-1", "SET", f"key:{number}", "x")
    wait_until(lambda: cache.call("cache-2", "DBSIZE") == 100, what="the replica to have all")
    # As after it has taken over its primary's data anew, but slow: 20 ms a key.
    for name, value in (("appendonly", "no"), ("rdb-key-save-delay", "20000"), ("appendonly", "yes")):
        cache.call("cache-2", "CONFIG", "SET", name, value)
    assert "aof_rewrite_in_progress:1" in cache.call("cache-2", "INFO", "persistence")
    said = stop(cache, "cache-2")
    assert "can't exit" in said and "ready to exit" in said.split("can't exit")[-1], said
    muster.run("start", "cache-2", "--cluster", cache.cluster)
    cache.settled()


def test_one_that_is_frozen_is_killed_as_others_may_have_its_place(muster):
    # It isn't killed as hung in the meantime.
    cache = Cache(muster, cluster_file(muster, hosts=2, replicas=1, extra="health: { every: 250ms, timeout: 1s, fail_after: 200 }"))
    cache.up()
    assert cache.settled() == "cache-1"
    os.kill(cache.members()["cache-2"]["pid"], signal.SIGSTOP)
    assert "SIGTERM" not in stop(cache, "cache-2")
    muster.run("start", "cache-2", "--cluster", cache.cluster)
    cache.settled()
