"""A Redis Cluster goes from Redis 7.0 to 8.0 while a client writes, and can't go back: its data has become Redis 8's."""

import pathlib
import re
import subprocess

import pytest

from conftest import BUILD, TOP, wait_until
from redis_clusters import SERVER, Planned, apart, fill, has_all, needs_redis, order_of, without_loss

pytestmark = [needs_redis, pytest.mark.never_again]


@pytest.fixture(scope="session")
def newer():
    """A redis-server of another line than the one installed."""
    path = pathlib.Path(BUILD, "redis-8", "redis-server")
    try:
        brought = subprocess.run([TOP / "tests/fetch-redis", path.parent], capture_output=True, text=True, timeout=180)
    except subprocess.TimeoutExpired:
        pytest.skip("tests/fetch-redis took too long")
    if brought.returncode != 0:
        pytest.skip(f"tests/fetch-redis: {brought.stderr.strip()[-200:]}")
    return path


def version(cache, name):
    return re.search(r"redis_version:(\d+)", cache.ask(name, "INFO", "server"))[1]


def test_it_is_upgraded_by_role_without_a_lost_write_and_a_way_back_that_is_none_costs_nothing(muster, newer):
    cache = Planned(muster, program=SERVER, restart="{ crashes: 2, first: 100ms }", update="{ deadline: 10s }")
    cache.up()
    cache.whole()
    old = version(cache, "cache-1")
    if old != "7":
        pytest.skip(f"redis-server is of Redis {old}")
    fill(cache)
    with cache.writer() as writer:
        wait_until(lambda: len(writer.acks) > 50, what="writes")
        primaries, replicas = cache.primaries(), cache.replicas()
        cache.keys["program"] = newer
        said = cache.up().stdout
        cache.whole()
        assert [version(cache, name) for name in cache.members()] == ["8"] * 6
        stopped, stepped_down = order_of(said, "stopped"), order_of(said, "stepped down")
        assert sorted(stopped[:3]) == replicas and sorted(stopped[3:]) == primaries
        assert set(primaries) <= set(stepped_down)
        assert all(said.index(f"{name}  stepped down") < said.index(f"{name}  stopped") for name in primaries)
        apart(cache)
        # Redis 7 reads nothing that Redis 8 has written anew. One replica at most finds that out.
        failed = muster.run("rollback", "--cluster", cache.key, timeout=120, code=None)
        assert failed.returncode not in (0, 2), failed.stdout
        assert "Can't handle RDB format version" in failed.stdout + failed.stderr
        assert [one["state"] for one in cache.members().values()].count("ready") == 5 and len(cache.primaries()) == 3
        assert cache.service()["health"] == "yellow"
        writes = len(writer.acks)
        wait_until(lambda: len(writer.acks) > writes + 50, what="writes to go on")
        cache.up()
        cache.whole()
        assert [version(cache, name) for name in cache.members()] == ["8"] * 6
        has_all(cache)
        without_loss(writer, cache)
