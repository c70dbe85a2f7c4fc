"""A change of a Redis Cluster's shape is cancelled half-way: who stands keeps its name, its host and its ports, whatever is
brought up next, so that nobody empty gets where others look for their master."""

import signal

import pytest

from conftest import wait_until
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


def test_masters_that_leave_while_all_is_down_come_up_once_more_and_give_away_what_they_have(muster):
    cache = Cache(muster, masters=4)
    cache.up()
    cache.whole()
    fill(cache)
    before = set(cache.members())
    muster.run("down", "--cluster", cache.key, timeout=60)
    cache.keys["masters"] = 3
    said = cache.up().stdout
    assert "come up once more" in said, said
    wait_until(lambda: len(cache.members()) == 6, 60, "those that aren't wanted to have left")
    cache.whole(60)
    assert cache.slots() == [5461, 5461, 5462] and set(cache.members()) < before
    has_all(cache)


def test_a_change_that_a_down_cancelled_and_another_file_lose_nothing(muster):
    cache = Cache(muster, masters=4)
    cache.up()
    cache.whole()
    fill(cache)
    cache.hosts, cache.keys["masters"] = [1, 3], 3
    up = cache.begin_up()
    said = next((line for line in up.stdout if " settled" in line or " left" in line or " stopped" in line), "")
    muster.run("down", "--cluster", cache.key, timeout=60)
    rest, _ = up.communicate(timeout=60)
    assert up.returncode != 0, said + rest
    cache.hosts = 3
    cache.up(timeout=180)
    wait_until(lambda: len(cache.members()) == 6, 60, "those that aren't wanted to have left")
    cache.whole(60)
    has_all(cache)


def test_a_dropped_host_and_no_replicas_cancelled_and_taken_back_lose_no_key(muster):
    cache = Cache(muster)
    cache.up()
    cache.whole()
    fill(cache)
    before = seats(cache)

    cache.hosts, cache.keys["replicas"] = 2, 0
    cancel_after_the_first_stop(cache)
    muster.run("rollback", "--cluster", cache.key, timeout=120)
    cache.hosts, cache.keys["replicas"] = 3, 1
    cache.whole(60)
    assert seats(cache) == before
    has_all(cache)
    muster.run("down", "--cluster", cache.key, timeout=60)
    cache.up()
    cache.whole(60)
    assert seats(cache) == before
    has_all(cache)


def test_a_file_without_the_hosts_that_have_the_data_brings_up_nothing_that_is_empty(muster):
    cache = Cache(muster)
    cache.up()
    cache.whole()
    fill(cache)
    before = seats(cache)
    muster.run("down", "--cluster", cache.key, timeout=60)
    cache.hosts = [4, 5, 6]
    refused = cache.up(code=3)
    assert "data-left-behind" in refused.stderr and "cache-1 on h1" in refused.stderr, refused.stderr
    assert muster.status(cache.key)["down"]
    cache.hosts = 3
    cache.up()
    cache.whole(60)
    assert seats(cache) == before
    has_all(cache)
