"""Members of a Redis Cluster die, hang and lose their data; what can be mended is, and what can't is said."""

import contextlib
import os
import pathlib
import re
import shutil
import signal

import pytest

from conftest import wait_until
from redis_clusters import SERVER, Cache, needs_redis

pytestmark = needs_redis


def kill(*pids, how=signal.SIGKILL):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, how)


def goes_on(writer, more=50, seconds=20):
    before = len(writer.acks)
    wait_until(lambda: len(writer.acks) > before + more, seconds, "writes to go on")


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
        assert any(entry["action"] == "take-over" and first in entry["detail"] for entry in entries), entries
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
        kill(cache.pids()[replica])
        cache.whole()
        assert len(writer.problems) == errors
    assert writer.end().read_back() == []
    assert len(cache.primaries()) == len(cache.replicas()) == 3
    assert on_other_hosts(cache) and cache.slots() == [5461, 5461, 5462]


@pytest.mark.parametrize("role", ["replica", "master"])
def test_a_member_whose_data_is_gone_gets_it_from_the_other(muster, role):
    program = pathlib.Path(muster.home, "redis")
    shutil.copy(SERVER, program)
    cache = Cache(muster, program=program)
    cache.up()
    cache.whole()
    with cache.writer(wait=True) as writer:
        goes_on(writer)
    victim = (cache.primaries() if role == "master" else cache.replicas())[0]
    pid, node = cache.pids()[victim], cache.members()[victim]["facts"]["node"]
    program.chmod(0o644)  # so that nobody starts it before its data is away
    kill(pid)
    wait_until(lambda: not os.path.exists(f"/proc/{pid}/exe"), what="its end")
    data, = [path for path in cache.folder(victim).glob("**/data")]
    for path in data.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    program.chmod(0o755)
    wait_until(lambda: cache.members()[victim]["facts"].get("node") not in (None, node), 40, "it to begin anew")
    if cache.members()[victim]["state"] == "failed":
        cache.up()
    cache.whole(60)
    assert len(cache.primaries()) == len(cache.replicas()) == 3
    assert cache.slots() == [5461, 5461, 5462] and on_other_hosts(cache)
    assert writer.read_back() == []
    # The copy of each is whole, too: the primaries of all shards go, and nothing is lost.
    for name in cache.primaries():
        kill(cache.pids()[name])
    cache.whole(60)
    assert writer.read_back() == []


def test_a_shard_that_is_gone_is_red_is_never_papered_over_and_comes_back_by_itself(muster):
    program = pathlib.Path(muster.home, "redis")
    shutil.copy(SERVER, program)
    cache = Cache(muster, program=program, restart="{ first: 200ms, most: 1s, crashes: 100 }")
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
