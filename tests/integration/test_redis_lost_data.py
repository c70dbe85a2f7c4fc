"""Members of a Redis Cluster lose their data folders: nothing begins anew, and nobody takes over with less, unless a person
says so."""

import os
import re

import pytest

from conftest import wait_until
from redis_client import Redis, key_slot
from redis_clusters import fill, goes_on, has_all, kill, leave_behind, link_down_for, needs_redis, regain_link, with_program_of_its_own

pytestmark = [needs_redis, pytest.mark.never_again]


def lose_data(cache, program, names):
    """These end at once, and begin anew in empty folders."""
    members = cache.members()
    pids, nodes = ({name: members[name][what] for name in names} for what in ("pid", "facts"))
    program.chmod(0o644)
    kill(*pids.values())
    wait_until(lambda: not any(os.path.exists(f"/proc/{pid}/exe") for pid in pids.values()), what="their end")
    for name in names:
        cache.empty(name)
    program.chmod(0o755)
    began_anew = lambda one, name: one["state"] == "ready" and one["facts"].get("node") not in (None, nodes[name]["node"])
    wait_until(lambda: (now := cache.members()) and all(began_anew(now[name], name) for name in names), 40, "all to begin anew")


def uptime(cache, name):
    return int(re.search(r"uptime_in_seconds:(\d+)", cache.ask(name, "INFO", "server"))[1])


def assigned(cache, name):
    return int(re.search(r"cluster_slots_assigned:(\d+)", cache.ask(name, "CLUSTER", "INFO"))[1])


def test_where_all_data_folders_are_lost_nothing_begins_anew_before_a_person_says_so(muster):
    cache, program = with_program_of_its_own(muster)
    cache.up()
    cache.whole()
    with cache.writer(wait=True) as writer:
        goes_on(writer)
    lose_data(cache, program, list(cache.members()))

    def says_so():
        one = cache.service()
        return one["health"] == "red" and any("all data folders are lost" in reason and "--accept-loss" in reason
                                              for reason in one["reasons"])

    wait_until(says_so, what="red that says why")
    # A server that has just been started knows it as well, and forms nothing for as long as forming takes by far.
    kill(muster.server_pid())
    muster.run("server", "start")
    first = next(iter(cache.members()))
    seconds = uptime(cache, first)
    wait_until(lambda: uptime(cache, first) > seconds + 5, what="some seconds more")
    wait_until(says_so, what="red that says why")
    assert [assigned(cache, name) for name in cache.members()] == [0] * 6

    def accept(*more, code):
        return muster.run("failover", "cache", "--cluster", cache.key, "--accept-loss", *more, code=code)

    for asked in (accept(code=3), accept("--confirm", "another", code=3)):
        assert "confirm-name" in asked.stderr and "all keys are lost" in asked.stderr, asked
    assert [assigned(cache, name) for name in cache.members()] == [0] * 6
    accept("--confirm", cache.name, code=0)
    cache.whole(60)
    assert cache.slots() == [5461, 5461, 5462] and len(cache.primaries()) == len(cache.replicas()) == 3
    assert [cache.ask(name, "DBSIZE") for name in cache.members()] == [0] * 6
    with cache.writer(wait=True) as again:
        goes_on(again)
    assert again.end().read_back() == []


def test_a_replica_that_lacks_what_its_master_had_takes_over_when_a_person_says_so_once_that_has_lost_its_data(muster):
    cache, program = with_program_of_its_own(muster, password="pass word")
    master, replica, slots, writer, linked = leave_behind(cache)
    lose_data(cache, program, [master])

    def says_so():
        one = cache.service()
        return one["health"] == "red" and any(
            f"{master} lost its data, and {replica} was not linked to it any more: slots {slots} are out" in reason
            and "muster failover cache --force" in reason for reason in one["reasons"])

    wait_until(says_so, what=f"red that says why nobody has {slots}")
    seconds = link_down_for(cache, replica)
    wait_until(lambda: link_down_for(cache, replica) > seconds + 4, what="some seconds more")
    assert says_so() and replica in cache.replicas()

    def ask(*more, code):
        return muster.run("failover", "cache", "--cluster", cache.key, *more, code=code)

    # What would be lost is told, and empty slots are no answer where somebody has most of the keys.
    for refused in (ask(code=3), ask("--accept-loss", "--confirm", cache.name, code=3)):
        assert "failover-refused" in refused.stderr and replica in refused.stderr and "--force" in refused.stderr, refused
    assert f"what was written to slots {slots} since is lost" in ask(code=3).stderr
    assert replica in cache.replicas()
    ask("--force", code=0)
    wait_until(lambda: replica in cache.primaries(), what="the replica in its place")
    regain_link(cache, replica)
    cache.whole(60)
    assert len(cache.primaries()) == len(cache.replicas()) == 3
    lost = writer.read_back()
    first, last = map(int, slots.split("-"))
    assert lost and all(ack.at > linked and first <= key_slot(ack.key) <= last for ack in lost)


def test_who_begins_anew_while_nobody_decides_does_not_empty_its_replica(muster):
    """A replica asks the address of its master for its data, whatever node answers there."""
    cache, program = with_program_of_its_own(muster, node_timeout="10s")
    cache.up()
    cache.whole()
    fill(cache)
    master, (replica,) = cache.shard(cache.primaries()[0])
    seats = {name: (one["address"], one["ports"]["port"]) for name, one in cache.members().items()}
    pid, node = cache.pids()[master], cache.members()[master]["facts"]["node"]
    keys = cache.ask(replica, "DBSIZE")
    assert keys > 50

    def ask(name, *words):
        try:
            with Redis(*seats[name], timeout=2) as redis:
                return redis.ask(*words)
        except OSError:
            return ""

    kill(muster.server_pid())
    program.chmod(0o644)
    kill(pid)
    wait_until(lambda: not os.path.exists(f"/proc/{pid}/exe"), what="its end")
    cache.empty(master)
    program.chmod(0o755)
    wait_until(lambda: ask(master, "CLUSTER", "MYID") not in ("", node), 40, "it to begin anew")

    def waits_for():
        """Seconds that the replica has been without its master."""
        assert ask(replica, "DBSIZE") == keys
        found = re.search(r"master_link_down_since_seconds:(-?\d+)", ask(replica, "INFO", "replication"))
        return int(found[1]) if found else -1

    wait_until(lambda: waits_for() >= 0 and "state=wait_bgsave" in ask(master, "INFO", "replication"),
               20, "the replica to ask for its data")
    seconds = waits_for()
    wait_until(lambda: waits_for() > seconds + 3, what="some seconds more")
    muster.run("server", "start")
    cache.whole(60)
    assert replica in cache.primaries()
    has_all(cache)


def test_a_replica_that_is_not_elected_yet_keeps_its_keys_where_its_master_begins_anew_at_once(muster):
    """Redis lets nobody ask for votes again within four times the node timeout. By then its master is back, empty, and
    others have use for that one."""
    timeout_s = 4
    cache, _ = with_program_of_its_own(muster, node_timeout=f"{timeout_s}s")
    cache.up()
    cache.whole()
    fill(cache)
    master, (replica,) = cache.shard(cache.primaries()[0])
    kill(cache.pids()[master])
    wait_until(lambda: replica in cache.primaries(), 20, "the replica in its place")
    cache.whole()
    muster.run("switchover", "cache", "--to", master, "--cluster", cache.key)
    cache.whole()
    # Who voted then may vote again; who was elected may not ask yet.
    wait_until(lambda: uptime(cache, master) >= 2 * timeout_s + 2, what="some seconds more")
    assert uptime(cache, master) < 4 * timeout_s and master in cache.primaries()
    pid = cache.pids()[master]
    cache.empty(master)
    kill(pid)
    wait_until(lambda: replica in cache.primaries(), 20, "the replica in its place again")
    cache.whole(60)
    has_all(cache)
