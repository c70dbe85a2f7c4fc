"""Members get ports that others of their host had before: nobody takes the data of who stands there now for its master's,
and all find each other again."""

import pytest

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
    cache = formed(muster)
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
