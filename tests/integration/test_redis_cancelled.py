"""A change of a Redis Cluster's shape is cancelled half-way: who stands keeps its name, its host and its ports, whatever is
brought up next, so that nobody empty gets where others look for their master."""

import signal

import pytest

from redis_clusters import Cache, fill, has_all, needs_redis

pytestmark = [needs_redis, pytest.mark.never_again]


def seats(cache):
    return {name: (one["host"], one["ports"]["port"]) for name, one in cache.members().items()}


def cancel_after_the_first_stop(cache):
    up = cache.begin_up()
    said = []
    for line in up.stdout:
        said.append(line)
        if " stopped" in line:
            up.send_signal(signal.SIGINT)
            break
    rest, _ = up.communicate(timeout=60)
    assert up.returncode == 130 and "cancelled" in rest, "".join(said) + rest


def test_who_stands_keeps_its_seat_and_its_keys_when_a_change_is_cancelled_and_goes_back(muster):
    cache = Cache(muster)
    cache.up()
    cache.whole()
    fill(cache)
    cache.hosts = [1, 2]
    cache.up()
    cache.whole()
    before = seats(cache)
    assert len(before) == 6 and {host for host, _ in before.values()} == {"h1", "h2"}

    cache.keys["replicas"] = 0
    cancel_after_the_first_stop(cache)
    muster.run("rollback", "--cluster", cache.key, timeout=120)
    cache.keys["replicas"] = 1
    cache.whole()
    assert seats(cache) == before
    has_all(cache)

    # The same with everything stopped in between, and with a file that is another again.
    cache.keys["replicas"] = 0
    cancel_after_the_first_stop(cache)
    muster.run("down", "--cluster", cache.key, timeout=60)
    cache.hosts, cache.keys["replicas"] = 3, 1
    cache.up()
    cache.whole(60)
    now = seats(cache)
    assert {name: now[name] for name in before} == before
    has_all(cache)
