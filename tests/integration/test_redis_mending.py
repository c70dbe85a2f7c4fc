"""Members of a Redis Cluster die, hang and lose their data; what can be mended is, and what can't is said."""

import os
import re
import signal

import pytest

from conftest import wait_until
from redis_client import key_slot
from redis_clusters import (Cache, goes_on, kill, leave_behind, link_down_for, lose_link, needs_redis, regain_link,
                            with_program_of_its_own)

pytestmark = [needs_redis, pytest.mark.never_again]


def on_other_hosts(cache):
    members = cache.members()
    return all(members[one]["host"] != members[name]["host"]
               for name in cache.primaries() for one in cache.shard(name)[1])


def is_replaced(cache, old, pid):
    """Who was primary of a shard is a replica now, in another process."""
    one = cache.members()[old]
    return one["facts"].get("role") not in (None, "master") and one["pid"] not in (0, pid)


def test_masters_die_and_hang_and_none_of_what_two_had_is_lost(muster):
    cache = Cache(muster, health="{ every: 200ms, timeout: 300ms, fail_after: 2 }")
    cache.up()
    cache.whole()
    with cache.writer(wait=True) as writer:
        goes_on(writer)
        # Killed: its death is known, and its replica takes over.
        first = cache.primaries()[0]
        pid = cache.pids()[first]
        kill(pid)
        wait_until(lambda: first not in cache.primaries(), what="another primary")
        goes_on(writer)
        cache.whole()
        assert is_replaced(cache, first, pid)
        entries = muster.json("audit", "--cluster", cache.key)["entries"]
        assert any(entry["action"] == "take-over" and first in entry["detail"] and
                   ("(force)" in entry["detail"] or "(takeover)" in entry["detail"]) for entry in entries), entries
        # Frozen: its agent kills it first.
        frozen = cache.primaries()[0]
        pid = cache.pids()[frozen]
        kill(pid, how=signal.SIGSTOP)
        wait_until(lambda: cache.pids()[frozen] != pid, what="the frozen one to be killed")
        wait_until(lambda: frozen not in cache.primaries(), what="another primary")
        goes_on(writer)
        cache.whole()
        assert is_replaced(cache, frozen, pid)
        # Two at once: no majority of masters is left to vote.
        pids, two = cache.pids(), cache.primaries()[:2]
        kill(*(pids[name] for name in two))
        goes_on(writer)
        cache.whole()
        assert all(pids[name] != pid for name, pid in cache.pids().items() if name in two)
        # A replica: nobody but muster notices.
        errors, replica = len(writer.problems), cache.replicas()[0]
        pid = cache.pids()[replica]
        kill(pid)
        wait_until(lambda: cache.pids()[replica] not in (0, pid), what="its restart")
        cache.whole()
        assert len(writer.problems) == errors
    assert writer.end().read_back() == []
    assert len(cache.primaries()) == len(cache.replicas()) == 3
    assert on_other_hosts(cache) and cache.slots() == [5461, 5461, 5462]


def test_slots_whose_keys_are_lost_are_given_out_again_only_when_a_person_accepts_that(muster):
    cache, program = with_program_of_its_own(muster)
    cache.up()
    cache.whole()
    with cache.writer(wait=True) as writer:
        goes_on(writer)
    master, (replica,) = cache.shard(cache.primaries()[0])
    slots = cache.members()[master]["role"].removeprefix("primary of ")
    both, nodes = (master, replica), {name: one["facts"]["node"] for name, one in cache.members().items()}

    def accept(*more, code=None):
        return muster.run("failover", "cache", "--cluster", cache.key, "--accept-loss", *more, code=code)

    assert "primary-is-well" in accept("--confirm", cache.name, code=3).stderr
    program.chmod(0o644)  # nobody starts them before their data is away
    pids = cache.pids()
    kill(*(pids[name] for name in both))
    wait_until(lambda: not any(os.path.exists(f"/proc/{pids[name]}/exe") for name in both), what="their end")
    cache.empty(master)
    wait_until(lambda: cache.service()["health"] == "red", what="red")
    # The replica's folder is still there.
    assert "failover-refused" in accept("--confirm", cache.name, code=3).stderr
    cache.empty(replica)
    program.chmod(0o755)
    wait_until(lambda: all(cache.members()[name]["facts"].get("node") not in (None, nodes[name]) for name in both), 40,
               "both to begin anew")
    names = " and ".join(sorted(both))
    wait_until(lambda: any(f"slots {slots} are out: {names} had them" in reason and "--accept-loss" in reason
                           for reason in cache.service()["reasons"]), 20, f"who had {slots} to be told")
    # What is lost is told, and nothing is done.
    for asked in (accept(code=3), accept("--confirm", "another", code=3)):
        assert "confirm-name" in asked.stderr and f"slots {slots}, which {names} had" in asked.stderr, asked
    assert "--accept-loss" in muster.run("failover", "cache", "--cluster", cache.key, "--force", code=3).stderr
    assert cache.service()["health"] == "red"
    done = accept("--confirm", cache.name, code=0)
    assert "all keys in them are lost" in done.stderr and "primary now" in done.stdout, done
    cache.whole(60)
    assert cache.slots() == [5461, 5461, 5462] and on_other_hosts(cache)
    assert set(both) & set(cache.primaries())
    owned = details_of(muster, cache, "own")
    assert any(slots in detail and "is accepted" in detail for detail in owned), owned
    # Keys of other slots are all there, and these slots take writes.
    first, last = map(int, slots.split("-"))
    assert all(first <= key_slot(ack.key) <= last for ack in writer.read_back())
    with cache.writer(wait=True) as again:
        goes_on(again, 200)
    assert again.end().read_back() == []
    for name in cache.primaries():
        kill(cache.pids()[name])
    cache.whole(60)
    assert again.read_back() == []


@pytest.mark.parametrize("role", ["replica", "master"])
def test_a_member_whose_data_is_gone_gets_it_from_the_other(muster, role):
    cache, program = with_program_of_its_own(muster)
    cache.up()
    cache.whole()
    with cache.writer(wait=True) as writer:
        goes_on(writer)
    victim = (cache.primaries() if role == "master" else cache.replicas())[0]
    pid, node = cache.pids()[victim], cache.members()[victim]["facts"]["node"]
    program.chmod(0o644)  # so that nobody starts it before its data is away
    kill(pid)
    wait_until(lambda: not os.path.exists(f"/proc/{pid}/exe"), what="its end")
    cache.empty(victim)
    program.chmod(0o755)
    wait_until(lambda: cache.members()[victim]["facts"].get("node") not in (None, node), 40, "it to begin anew")
    if cache.members()[victim]["state"] == "failed":
        cache.up()
    cache.whole(60)
    assert len(cache.primaries()) == len(cache.replicas()) == 3
    assert cache.slots() == [5461, 5461, 5462] and on_other_hosts(cache)
    assert writer.read_back() == []
    # The copy of each is whole, too: the primaries of all shards go, and nothing is lost.
    pids = {cache.pids()[name] for name in cache.primaries()}
    kill(*pids)
    wait_until(lambda: not pids & set(cache.pids().values()), what="the ends of three to be known")
    cache.whole(60)
    assert writer.read_back() == []


def test_a_shard_that_is_gone_is_red_is_never_papered_over_and_comes_back_by_itself(muster):
    cache, program = with_program_of_its_own(muster)
    cache.up()
    cache.whole()
    with cache.writer(wait=True) as writer:
        goes_on(writer)
    master = cache.primaries()[0]
    master, (replica,) = cache.shard(master)
    role = cache.members()[master]["role"]
    slots = role.removeprefix("primary of ")
    program.chmod(0o644)
    pids = cache.pids()
    kill(pids[replica], pids[master])

    def red():
        one = cache.service()
        return one["health"] == "red" and any(slots in reason and "out" in reason for reason in one["reasons"])

    wait_until(red, what=f"red that names {slots}")
    reason = " ".join(cache.service()["reasons"])
    assert master in reason and replica in reason, reason
    # Nobody is given their slots, however long it takes: longer than Redis and muster take to replace a master.
    wait_until(lambda: cache.ask(cache.primaries()[-1], "CLUSTER", "INFO").count("cluster_state:fail") == 1,
               what="the others to know")
    seconds = cache.ask(cache.primaries()[-1], "INFO", "server").partition("uptime_in_seconds:")[2].split()[0]
    other = next(name for name in cache.primaries() if name != master)
    wait_until(lambda: int(cache.ask(other, "INFO", "server").partition("uptime_in_seconds:")[2].split()[0])
               > int(seconds) + 4, what="some seconds more")
    assert red()
    nodes = cache.ask(other, "CLUSTER", "NODES")
    taken = [line for line in nodes.splitlines() if slots in line.split()]
    assert all("fail" in line.split()[2] for line in taken) and taken, nodes
    program.chmod(0o755)
    cache.whole(60)
    assert writer.read_back() == []


@pytest.mark.parametrize("who", ["server", "agents", "all"])
def test_a_master_dies_together_with_who_would_mend_it(muster, who):
    cache = Cache(muster)
    cache.up()
    cache.whole()
    with cache.writer(wait=True) as writer:
        goes_on(writer)
        victim = cache.primaries()[0]
        pids = cache.pids()
        kill(*([muster.server_pid()] if who != "agents" else []), *(muster.agent_pids() if who != "server" else []),
             pids[victim])
        if who != "agents":
            muster.run("server", "start")
        wait_until(lambda: all(host["connected"] for host in muster.status(cache.key)["hosts"]), what="agents")
        goes_on(writer, seconds=40)
        cache.whole(60)
        now = cache.pids()
        assert {name: pid for name, pid in now.items() if name != victim} == \
            {name: pid for name, pid in pids.items() if name != victim}
        assert now[victim] != pids[victim]
    assert writer.end().read_back() == []
    assert len(cache.primaries()) == len(cache.replicas()) == 3


def test_a_run_and_the_mender_never_fight(muster):
    """During each step of a rolling restart somebody else dies. The run ends well, or pauses and is resumed."""
    cache = Cache(muster, restart="{ crashes: 100 }")
    cache.up()
    cache.whole()
    with cache.writer(wait=True) as writer:
        goes_on(writer)
        cache.settings["io-threads"] = "2"
        going = cache.begin_up()
        told, victims = [], []
        for line in going.stdout:  # one for each step that has ended: the next is under way
            told.append(line)
            step = re.match(r"\[(\d+)/\d+\] (\S+)", line)
            if not step or int(step[1]) % 2:
                continue  # each other step, so that not all are always away
            members = cache.members()
            others = [name for name, one in members.items() if name != step[2] and one["state"] == "ready" and one["pid"]]
            if others:
                victims.append(others[len(victims) % len(others)])
                kill(members[victims[-1]]["pid"])
        code = going.wait(60)
        assert len(victims) >= 8, told
        for _ in range(3):
            if code == 0:
                break
            wait_until(cache.is_settled, 60, "green")
            again = cache.up(code=None)
            told.append(again.stdout + again.stderr)
            code = again.returncode
        assert code == 0, "".join(told)
        cache.whole(60)
        goes_on(writer)
    assert writer.end().read_back() == []
    assert all(cache.setting(name, "io-threads") == "2" for name in cache.members())
    assert len(cache.primaries()) == len(cache.replicas()) == 3 and on_other_hosts(cache)
    assert cache.slots() == [5461, 5461, 5462]
    runs = muster.json("history", "--runs", "--cluster", cache.key)["runs"]
    assert runs[0]["state"] == "done" and not [run for run in runs if run["state"] == "running"], runs


def offset(cache, replica):
    return int(re.search(r"slave_repl_offset:(\d+)", cache.ask(replica, "INFO", "replication"))[1])


def details_of(muster, cache, action):
    entries = muster.json("audit", "--cluster", cache.key)["entries"]
    return [entry["detail"] for entry in entries if entry["action"] == action]


def test_a_master_whose_replica_lags_is_not_restarted_over_what_it_lacks(muster):
    cache = Cache(muster)
    cache.up()
    cache.whole()
    master = cache.primaries()[0]
    master, (replica,) = cache.shard(master)
    pid = cache.pids()[master]
    with cache.writer() as writer:  # what the master alone acknowledged counts
        goes_on(writer)
        # Longer than Redis waits for a handover: one at least comes to nothing.
        assert cache.ask(replica, "CLIENT", "PAUSE", "12000", "WRITE") == "OK"
        before = offset(cache, replica)
        goes_on(writer)
        assert offset(cache, replica) == before, "the replica doesn't lag"
        muster.run("restart", master, "--cluster", cache.key, timeout=180)
        goes_on(writer, seconds=40)
    cache.whole(60)
    assert cache.pids()[master] != pid and replica in cache.primaries()
    assert writer.end().read_back() == []
    taken = details_of(muster, cache, "take-over")
    assert taken and all("(plain)" in detail for detail in taken), taken


def test_of_two_replicas_the_one_that_has_what_was_waited_for_takes_over(muster):
    # What agents tell of offsets is older than the writes that count.
    cache = Cache(muster, replicas=2, node_timeout="5s", health="{ every: 4s, timeout: 1s, fail_after: 3 }")
    cache.up()
    cache.whole(90)
    master, replicas = cache.shard(cache.primaries()[0])
    lagging, whole = sorted(replicas)
    pid = cache.pids()[master]
    with cache.writer(wait=True) as writer:
        goes_on(writer)
        assert cache.ask(lagging, "CLIENT", "PAUSE", "12000", "WRITE") == "OK"
        before = offset(cache, lagging), offset(cache, whole)
        goes_on(writer, 150)
        # What is no write passes (a PING, a SELECT).
        assert offset(cache, lagging) < before[0] + 100 < before[1] + 500 < offset(cache, whole), "the replica doesn't lag"
        kill(pid)
        wait_until(lambda: whole in cache.primaries(), what="the one that has all to take over")
        goes_on(writer, seconds=40)
    cache.whole(90)
    assert writer.end().read_back() == []
    took, = [detail for detail in details_of(muster, cache, "take-over") if f"{master} died" in detail]
    assert took.startswith(f"{whole}: "), took


def test_a_replica_that_lost_its_link_before_is_not_put_in_place_of_its_master(muster):
    # Long enough that Redis' own vote doesn't come in between; what is acknowledged is on the master's disk.
    cache, program = with_program_of_its_own(muster, node_timeout="30s", password="{{secret.cache}}")
    cache.password = "pass word"
    cache.settings["appendfsync"] = "always"
    cache.set_secret(cache.password)
    cache.up()
    cache.whole()
    master, (replica,) = cache.shard(cache.primaries()[0])
    slots = cache.members()[master]["role"].removeprefix("primary of ")
    with cache.writer() as writer:
        goes_on(writer)
        lose_link(cache, replica, master, 5)
        goes_on(writer)
        pid = cache.pids()[master]
        program.chmod(0o644)  # so that it doesn't come back before anybody can say something
        kill(pid)

        def says_so():
            one = cache.service()
            return one["health"] == "red" and any(
                f"{replica} was not linked to it any more" in reason and slots in reason for reason in one["reasons"])

        wait_until(says_so, what=f"red that says why nobody has {slots}")
        asked = muster.run("failover", "cache", "--cluster", cache.key, code=None)
        assert asked.returncode != 0 and "failover-refused" in asked.stderr and master in asked.stderr, asked
        program.chmod(0o755)
        wait_until(lambda: master in cache.primaries() and cache.pids()[master] not in (0, pid), 30, "its return")
        goes_on(writer)
        regain_link(cache, replica)
        cache.whole(60)
    assert writer.end().read_back() == []
    assert not any("died" in detail for detail in details_of(muster, cache, "take-over"))


def test_a_server_that_has_just_been_started_knows_as_well_that_a_replica_had_lost_its_link(muster):
    cache, program = with_program_of_its_own(muster, password="{{secret.cache}}")
    cache.password = "pass word"
    master, replica, slots, writer, _ = leave_behind(cache)
    pid = cache.pids()[master]
    program.chmod(0o644)
    kill(muster.server_pid(), pid)
    muster.run("server", "start")

    def says_so():
        one = cache.service()
        return one["health"] == "red" and any(
            f"{replica} was not linked to it any more" in reason and " B behind" in reason and slots in reason
            for reason in one["reasons"])

    wait_until(says_so, what=f"red that says why nobody has {slots}")
    # For longer than muster or Redis would wait before one of them put the replica in its place.
    seconds = link_down_for(cache, replica)
    wait_until(lambda: link_down_for(cache, replica) > seconds + 8, what="some seconds more")
    assert says_so() and replica in cache.replicas()
    asked = muster.run("failover", "cache", "--cluster", cache.key, code=None)
    assert asked.returncode != 0 and "failover-refused" in asked.stderr and master in asked.stderr, asked
    muster.run("failover", "cache", "--force", "--cluster", cache.key)
    wait_until(lambda: replica in cache.primaries(), what="the replica in its place")
    program.chmod(0o755)
    regain_link(cache, replica)
    cache.whole(60)
    assert writer.read_back() != [], "what only the old master had is given up"


def test_a_master_that_keeps_nothing_on_disk_comes_back_after_another_has_its_slots_though_the_server_died_too(muster):
    cache = Cache(muster)
    cache.settings["appendonly"] = "no"
    cache.up()
    cache.whole()
    with cache.writer(wait=True) as writer:
        goes_on(writer)
        master, (replica,) = cache.shard(cache.primaries()[0])
        pids = cache.pids()
        kill(muster.server_pid(), pids[master])
        # Nobody but Redis itself can do something now, and it does before the master is there again.
        goes_on(writer, more=500, seconds=40)
        muster.run("server", "start")
        cache.whole(60)
        assert replica in cache.primaries() and is_replaced(cache, master, pids[master])
        goes_on(writer)
    assert writer.end().read_back() == []
    assert len(cache.primaries()) == len(cache.replicas()) == 3
