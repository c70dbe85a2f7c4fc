"""A Redis Cluster gets another shape in one change of its file, while a client writes."""

import pytest

from conftest import wait_until
from redis_clusters import Planned, apart, fill, has_all, needs_redis, without_loss

pytestmark = [needs_redis, pytest.mark.never_again]


def test_masters_become_replicas_where_fewer_have_more_of_them(muster):
    cache = Planned(muster, masters=6, replicas=1)
    cache.up()
    cache.whole()
    assert cache.slots() == [2730, 2730, 2731, 2731, 2731, 2731] and len(cache.replicas()) == 6
    fill(cache)
    before = cache.pids()
    with cache.writer() as writer:
        wait_until(lambda: len(writer.acks) > 50, what="writes")
        cache.keys |= {"masters": 4, "replicas": 2}
        planned = muster.run("plan", cache.file(), "--rehearse", code=None)
        assert planned.returncode == 2, planned.stdout
        cache.up()
        cache.whole()
        assert cache.slots() == [4096] * 4
        assert all(len(cache.shard(name)[1]) == 2 for name in cache.primaries()) and len(cache.primaries()) == 4
        assert cache.pids() == before, "as many members as before: nobody has to go or to come"
        apart(cache)
        has_all(cache)
        without_loss(writer, cache)
