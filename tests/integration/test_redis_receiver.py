"""The master that slots go to dies while they do: its replica takes its place, or it is waited for. No key is lost."""

import contextlib
import os
import signal

import pytest

from conftest import wait_until
from redis_client import Redis
from redis_clusters import Cache, needs_redis

pytestmark = [needs_redis, pytest.mark.never_again]
NEW = ("cache-7", "cache-8")


def receiver(cache, members):
    """The new master as soon as keys have come to it; "": none have."""
    for name in NEW:
        one = members[name]
        with contextlib.suppress(OSError), Redis(one["address"], one["ports"]["port"], timeout=2) as redis:
            if redis.ask("ROLE")[0] == "master" and redis.ask("DBSIZE") > 0:
                return name
    return ""


def test_the_master_that_slots_go_to_dies_and_no_key_is_lost(muster):
    cache = Cache(muster)
    cache.up()
    cache.whole()
    client = cache.client()
    for number in range(1500):
        client.ask("SET", f"key:{number}", number)
    with cache.writer(wait=True) as writer:
        cache.keys["masters"] = 4
        going = cache.begin_up()
        try:
            wait_until(lambda: all(cache.members().get(name, {}).get("ports") for name in NEW), 60, "the new members")
            members = cache.members()
            wait_until(lambda: receiver(cache, members), 60, "keys to come to the new master")
            os.kill(cache.pids()[receiver(cache, members)], signal.SIGKILL)
            before = len(writer.acks)
            wait_until(lambda: len(writer.acks) > before + 100, 30, "writes to go on")
            going.communicate(timeout=120)
        finally:
            going.kill()
        cache.up(code=None)
        cache.whole(60)
        assert cache.slots() == [4096] * 4 and len(cache.replicas()) == 4
    writer.cluster.nodes = cache.nodes()
    assert writer.end().read_back() == []
    found = [client.ask("GET", f"key:{number}") for number in range(1500)]
    client.close()
    assert found == [str(number) for number in range(1500)]
