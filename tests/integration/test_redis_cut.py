"""A master of a Redis Cluster is cut off together with clients that write to it: what becomes of what it acknowledged to them."""

import contextlib
import os
import shutil
import time

import pytest

from conftest import wait_until
from redis_client import Redis, Refused, slot_tags
from redis_clusters import Cache, needs_redis
from redis_inside import client_inside

pytestmark = [needs_redis, pytest.mark.never_again,
              pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("nsenter"), reason="network namespaces need root")]
NODE_TIMEOUT = 2.0


def takes_writes(member, key, seconds=40):
    """Waits until this one takes a write of its own accord, which a replica doesn't."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError, Refused), Redis(member["address"], member["ports"]["port"], timeout=0.5) as redis:
            redis.ask("SET", key, "elsewhere")
            return
        time.sleep(0.01)  # a client that asks again
    raise AssertionError(f"{member['name']} took no write within {seconds} s")


def number_of(key):
    return key.rpartition(":")[2]


def test_a_cut_off_master_soon_refuses_writes_and_what_a_replica_had_confirmed_before_is_there(muster):
    muster.env["MUSTER_REHEARSAL_NETWORK"] = "namespaces"
    cache = Cache(muster, node_timeout=f"{NODE_TIMEOUT:.0f}s")
    cache.up()
    cache.whole()
    members, master = cache.members(), cache.primaries()[0]
    master, (replica,) = cache.shard(master)
    old, heir = members[master], members[replica]
    first = int(old["role"].removeprefix("primary of ").split("-")[0])
    tag = slot_tags()[first]
    with client_inside(old, f"plain:{{{tag}}}", muster.folder / "plain.log") as plain, \
            client_inside(old, f"wait:{{{tag}}}", muster.folder / "wait.log", wait=True) as waited:
        def taken(tries):
            return [(when, key) for when, key, answer in tries() if answer == "taken"]

        wait_until(lambda: len(taken(plain)) > 50 and len(taken(waited)) > 50, what="writes inside the host")
        begun = time.monotonic()
        muster.run("host", "cut", old["host"])
        cut = time.monotonic()
        takes_writes(heir, f"other:{{{tag}}}")
        refused = lambda tries: [when for when, _, answer in tries() if answer == "CLUSTERDOWN"]
        wait_until(lambda: refused(plain) and refused(waited), what="the one that is cut off to refuse writes")
        so_far = len(plain()), len(waited())
        wait_until(lambda: len(plain()) > so_far[0] + 50 and len(waited()) > so_far[1] + 5, what="more tries inside")
        last = max(when for when, _ in taken(plain))
        # It refuses for good once it has missed the others for as long as it may, and half of that until it asks them.
        assert cut < last < cut + 1.5 * NODE_TIMEOUT + 1, last - cut
        assert all(when < cut for when, _ in taken(waited)), "a write was confirmed by a replica that is out of reach"
        # Others chose; muster has no hand in it while it can't know what goes on there.
        did = [entry for entry in muster.json("audit", "--cluster", cache.key)["entries"] if entry["action"] == "take-over"]
        assert did == [] and os.path.exists(f"/proc/{old['pid']}")
        muster.run("host", "heal", old["host"])
        wait_until(lambda: replica in cache.primaries() and master in cache.replicas(), 30, "it to follow")
        written, confirmed = taken(plain), taken(waited)
    cache.whole(60)
    with cache.client() as client:
        gone = [(when, key) for when, key in written if client.ask("GET", key) != number_of(key)]
        assert [key for _, key in confirmed if client.ask("GET", key) != number_of(key)] == []
        assert client.ask("GET", f"other:{{{tag}}}") == "elsewhere"
    # Exactly what the one alone had.
    assert gone and all(begun < when <= last for when, _ in gone)
    assert all(key in [lost for _, lost in gone] for when, key in written if when > cut)
