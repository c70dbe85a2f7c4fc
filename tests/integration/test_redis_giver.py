"""The master that slots are taken from dies while their keys go: its replica takes its place and goes on. No write that was
acknowledged is lost; where both have values of their own, that is told."""

import contextlib
import threading
import time

import pytest

from conftest import wait_until
from redis_client import Cluster, Redis, Refused, slot_tags
from redis_clusters import Cache, kill, needs_redis

pytestmark = [needs_redis, pytest.mark.never_again]
HEAVY = (600, 601, 602, 1100, 1101, 1102)  # of the first master, and not among the first to go
KEYS = 2500  # of each of them: more than one MIGRATE takes, so that it is under way for a while
WRITTEN = 40  # of these


def key_of(slot, number):
    """Some are hashes, some are counters."""
    return f"{'hash' if number % 2 else 'count'}:{{{slot_tags()[slot]}}}:{number}"


def fill(cache):
    """All keys of the slots; hashes have a field from the beginning."""
    owner = next(name for name, one in cache.members().items() if one["role"].startswith("primary of 0-"))
    one = cache.members()[owner]
    with Redis(one["address"], one["ports"]["port"], timeout=20) as redis:
        for slot in HEAVY:
            keys = [key_of(slot, number) for number in range(KEYS)]
            answers = redis.pipeline([["HSET", key, "first", "1"] if key.startswith("hash") else ["SET", key, "0"] for key in keys])
            assert not [answer for answer in answers if isinstance(answer, Refused)]
    return owner


class Account(threading.Thread):
    """Writes a new field to each hash, and raises each counter, in turn; knows of each what a replica has acknowledged."""

    def __init__(self, nodes, slots):
        super().__init__(daemon=True)
        self.cluster = Cluster(nodes, timeout=8)
        self.keys = [key_of(slot, number) for number in range(WRITTEN) for slot in slots]
        self.fields = {key: {"first"} for key in self.keys}
        self.raised = dict.fromkeys(self.keys, 0)
        self.acknowledged, self.ended = 0, threading.Event()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.join()

    def run(self):
        number = 0
        while not self.ended.is_set():
            key, number = self.keys[number % len(self.keys)], number + 1
            words = ["HSET", key, number, number] if key.startswith("hash") else ["INCR", key]
            with contextlib.suppress(OSError, Refused):
                wrote, replicas = self.cluster.ask(*words, until=time.monotonic() + 0.5, after=[["WAIT", 1, 1000]])
                if isinstance(wrote, Refused) or isinstance(replicas, Refused) or replicas < 1:
                    continue
                self.acknowledged += 1
                self.fields[key].add(str(number))
                self.raised[key] += 1
            time.sleep(0.0005)
        self.cluster.close()


def goes(giver, takers):
    """(slot, taker) where some keys of a slot have gone and some haven't; None: there is none."""
    counts = [["CLUSTER", "COUNTKEYSINSLOT", slot] for slot in HEAVY]
    here = giver.pipeline(counts)
    for name, taker in takers.items():
        there = taker.pipeline(counts)
        for slot, left, gone in zip(HEAVY, here, there):
            if left > 0 and gone > 0:
                return slot, name
    return None


def takers_of(giver, known, links, takers):
    """Connections to the nodes that it has met since; asked of itself, since a command of muster's may take too long here."""
    for line in giver.ask("CLUSTER", "NODES").splitlines():
        host, _, port = line.split(" ")[1].partition("@")[0].rpartition(":")
        if (host, port) not in known and (host, port) not in takers:
            with contextlib.suppress(OSError):
                takers[host, port] = links.enter_context(Redis(host, port, timeout=20))
    return takers


def copies(cache, key):
    """What masters have of a key, whoever of them it belongs to."""
    found = []
    for name in cache.primaries():
        one = cache.members()[name]
        with Redis(one["address"], one["ports"]["port"], timeout=5) as redis:
            value = redis.pipeline([["ASKING"], ["HKEYS" if key.startswith("hash") else "GET", key]])[1]
        if value and not isinstance(value, Refused):
            found.append(value)
    return found


def missing(cache, accounts, differ):
    """What was acknowledged and isn't there; where copies may `differ`, in none of them."""
    gone = []
    with cache.client() as client:
        for account in accounts:
            for key in account.keys:
                has = copies(cache, key) if differ else [client.ask("HKEYS" if key.startswith("hash") else "GET", key)]
                if key.startswith("hash"):
                    lost = account.fields[key] - {field for fields in has for field in fields or ()}
                    gone += [(key, field) for field in sorted(lost)]
                elif sum(int(value or 0) for value in has) < account.raised[key]:
                    gone.append((key, has, account.raised[key]))
    return gone


def why(cache):
    return str(cache.service())


def test_the_master_that_slots_are_taken_from_dies_and_no_write_is_lost_silently(muster):
    cache = Cache(muster)
    cache.up()
    cache.whole()
    victim = cache.members()[fill(cache)]
    seat, pid = (victim["address"], victim["ports"]["port"]), victim["pid"]
    known = {(host, str(port)) for host, port in cache.nodes()}
    with contextlib.ExitStack() as stack:
        accounts = [stack.enter_context(Account(cache.nodes(), [slot])) for slot in HEAVY]
        cache.keys["masters"] = 4
        going = cache.begin_up()
        try:
            with Redis(*seat, timeout=20) as giver, contextlib.ExitStack() as links:
                takers = {}
                end = time.monotonic() + 60
                while not (caught := goes(giver, takers_of(giver, known, links, takers))):
                    assert time.monotonic() < end, "no slot was seen on its way"
                kill(pid)
            before = sum(account.acknowledged for account in accounts)
            wait_until(lambda: sum(account.acknowledged for account in accounts) > before + 300, 30, "writes to go on")
            going.communicate(timeout=180)
        finally:
            going.kill()
    cache.up(code=None)
    wait_until(lambda: cache.is_settled() or "has other values of" in why(cache), 90, f"it to be green, or to say why not: {caught}")
    differ = "has other values of" in why(cache)
    print("caught", caught, "differ", differ, "acknowledged", sum(account.acknowledged for account in accounts))
    assert missing(cache, accounts, differ) == [], (caught, why(cache))
    if not differ:
        cache.whole(60)
        assert cache.slots() == [4096] * 4 and len(cache.replicas()) == 4
