"""Members get ports that others of their host had before: nobody takes the data of who stands there now for its master's,
and all find each other again."""

import pytest

import test_redis_primary as primaries
from conftest import free_ports
from redis_clusters import Cache, fill, has_all, needs_redis, without_loss

pytestmark = [needs_redis, pytest.mark.never_again]


def formed(muster, **keys):
    cache = Cache(muster, **keys)
    cache.keys["port"] += 2
    cache.up()
    cache.whole()
    # A master on the second port of its host, whose replica asks there.
    muster.run("switchover", "cache", "--cluster", cache.key, "--to", "cache-4", timeout=60)
    cache.whole()
    fill(cache)
    return cache


@pytest.mark.parametrize("by", [1, -1, 6])
def test_ports_move_on_one_member_at_a_time_under_a_writer(muster, by):
    cache = formed(muster, node_timeout="5s")  # a busy machine may stand still for a second
    writer = cache.writer()
    writer.cluster.nodes += [(host, port + by) for host, port in cache.nodes()]
    with writer:
        cache.keys["port"] += by
        cache.up(timeout=180)
        cache.whole(60)
        without_loss(writer, cache)
    has_all(cache)


@pytest.mark.parametrize("by", [1, -1, 6])
def test_ports_move_while_all_are_down(muster, by):
    cache = formed(muster)
    muster.run("down", "--cluster", cache.key, timeout=60)
    cache.keys["port"] += by
    cache.up(timeout=180)
    cache.whole(60)
    has_all(cache)


@pytest.mark.parametrize("down", [False, True], ids=["one at a time", "while all are down"])
@pytest.mark.parametrize("by", [1, -1, 4])
def test_the_ports_of_a_primary_and_its_replicas_move(muster, by, down):
    port = free_ports(10) + 1
    cache = primaries.Cache(muster, primaries.cluster_file(muster, hosts=1, replicas=2, port=port))
    cache.up()
    cache.settled()
    muster.run("switchover", "cache", "--cluster", cache.cluster, "--to", "cache-2", timeout=90)
    cache.settled()
    for number in range(20):
        cache.write_to_all(f"before:{number}", number)
    host = cache.addresses()[0].split(":")[0]
    writer = primaries.Writer([f"{host}:{port + at}" for at in range(-1, 8)])
    writer.wait_for()
    if down:
        muster.run("down", "--cluster", cache.cluster, timeout=60)
    cache.file = primaries.cluster_file(muster, hosts=1, replicas=2, port=port + by)
    cache.up()
    cache.settled()
    writer.wait_for()
    writer.stop()
    assert cache.lost(writer) == []
    for name in cache.members():
        assert cache.call(name, "GET", "before:19") == "19", name
    assert cache.plan_is_empty()[0], cache.plan_is_empty()[1]
