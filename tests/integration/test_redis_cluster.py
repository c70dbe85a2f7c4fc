"""A Redis Cluster from nothing, changed by role while a client writes, and scaled both ways with its keys."""

import os
import pathlib
import shutil
import stat

import pytest

from conftest import processes_below, wait_until
from redis_client import Redis, Refused
from redis_clusters import SERVER, Cache, Planned, apart, fill, has_all, needs_redis, order_of, without_loss

pytestmark = [needs_redis, pytest.mark.never_again]
PASSWORD = "s3cr3t-of-the-cache"


def test_it_comes_up_from_nothing_and_keeps_its_password_to_itself(muster):
    cache = Planned(muster, hosts=3, password=PASSWORD)
    cache.set_secret(PASSWORD)
    told = cache.up()
    cache.whole()
    told = told.stdout + told.stderr
    assert len(cache.primaries()) == len(cache.replicas()) == 3
    assert cache.slots() == [5461, 5461, 5462]
    apart(cache)
    roles = [one["role"] for one in cache.members().values()]
    assert sum(role.startswith("primary of ") for role in roles) == 3
    assert sum(role.startswith("replica of cache-") for role in roles) == 3
    checks = muster.json("verify", "--cluster", cache.key)
    assert PASSWORD not in str(checks)
    for name, one in cache.members().items():
        conf, secret = cache.folder(name) / "redis.conf", cache.folder(name) / "secret.conf"
        assert PASSWORD not in conf.read_text()
        assert PASSWORD in secret.read_text() and stat.S_IMODE(secret.stat().st_mode) == 0o600
        with pytest.raises(Refused, match="NOAUTH"):
            Redis(one["address"], one["ports"]["port"]).ask("GET", "a")
    with cache.writer() as writer:
        wait_until(lambda: len(writer.acks) > 100, what="writes")
    without_loss(writer, cache)
    told += muster.run("ps", "--cluster", cache.key, "--json").stdout
    told += muster.run("plan", cache.file(), "--rehearse", "--json").stdout
    told += muster.run("logs", "--cluster", cache.key).stdout + "".join(processes_below(muster.home).values())
    told += muster.run("history", "--cluster", cache.key).stdout + muster.run("audit", "--cluster", cache.key).stdout
    logs = [*pathlib.Path(muster.home).glob("m/server/*.log"), *pathlib.Path(muster.home).glob("m/hosts/*/*/agent.log"),
            *pathlib.Path(muster.home).glob("m/hosts/*/*/instances/*/logs/*")]
    assert len(logs) > 6
    assert PASSWORD not in told + "".join(log.read_text(errors="replace") for log in logs)
    pids = cache.pids()
    cache.up()
    assert cache.pids() == pids
    muster.run("down", "--cluster", cache.key)
    assert not [command for command in processes_below(muster.home).values() if "redis-server" in command]
    cache.up()
    cache.whole()
    assert not writer.read_back(), "data outlives a down"


def test_a_password_that_redis_conf_cannot_hold_starts_nothing(muster):
    cache = Cache(muster, password='pass"word\\')
    cache.set_secret(cache.password)
    refused = cache.up(code=None)
    told = refused.stdout + refused.stderr
    assert refused.returncode != 0 and "secret-unusable" in told and cache.password not in told
    cache.password = PASSWORD
    cache.set_secret(PASSWORD)
    cache.up()
    cache.whole()


def test_fewer_than_three_masters_are_refused(muster):
    cache = Cache(muster, masters=2)
    refused = muster.run("check", cache.file(), code=None)
    assert refused.returncode != 0 and "too-few-masters" in refused.stdout + refused.stderr
    assert cache.up(code=None).returncode != 0
    assert muster.json("status", "--all")["clusters"] == []


def test_hosts_are_added_and_removed_under_a_writer(muster):
    cache = Planned(muster, hosts=2)
    cache.up()
    cache.whole()
    apart(cache)
    assert {one["host"] for one in cache.members().values()} == {"h1", "h2"}
    with cache.writer() as writer:
        cache.hosts = 3
        cache.up()
        cache.whole()
        cache.hosts = [2, 3]
        cache.up()
        cache.whole()
        writer.cluster.nodes = cache.nodes()
        without_loss(writer, cache)
    assert {one["host"] for one in cache.members().values()} == {"h2", "h3"}
    assert cache.slots() == [5461, 5461, 5462]
    apart(cache)
    muster.run("verify", "--cluster", cache.key)


def test_settings_and_the_password_change_under_a_writer(muster):
    cache = Planned(muster, password=PASSWORD)
    cache.set_secret(PASSWORD)
    cache.up()
    cache.whole()
    with cache.writer() as writer:
        writer.cluster.passwords.append("another-one")
        wait_until(lambda: len(writer.acks) > 50, what="writes")
        # Live: nobody restarts.
        before = cache.members()
        cache.settings["maxmemory"] = "300mb"
        cache.settings["maxmemory-policy"] = "noeviction"
        cache.keys["node_timeout"] = "5100ms"
        said = cache.up().stdout
        assert order_of(said, "stopped") == [] and order_of(said, "step-down") == []
        cache.whole()
        for name, one in cache.members().items():
            assert (one["pid"], one["restarts"]) == (before[name]["pid"], before[name]["restarts"])
            assert cache.setting(name, "maxmemory") == str(300 * 1024 * 1024)
            assert cache.setting(name, "cluster-node-timeout") == "5100"
        # The password: nobody restarts either.
        cache.password = "another-one"
        cache.set_secret(cache.password)
        cache.up()
        cache.whole()
        assert cache.pids() == {name: one["pid"] for name, one in before.items()}
        assert all(cache.setting(name, "masterauth") == "another-one" for name in before)
        # One that only a start takes up: replicas first, each master once it has handed over.
        primaries, replicas = cache.primaries(), cache.replicas()
        cache.settings["io-threads"] = "2"
        said = cache.up().stdout
        cache.whole()
        stopped, stepped_down = order_of(said, "stopped"), order_of(said, "stepped down")
        assert sorted(stopped[:3]) == replicas and sorted(stopped[3:]) == primaries
        assert said.index(f"{stopped[2]}  ready") < said.index(f"{primaries[0]}  stepped down")
        assert set(primaries) <= set(stepped_down)
        for name in primaries:
            assert said.index(f"{name}  stepped down") < said.index(f"{name}  stopped")
        assert all(cache.setting(name, "io-threads") == "2" for name in before)
        assert not set(cache.pids().values()) & {one["pid"] for one in before.values()}
        without_loss(writer, cache)
    assert "another-one" not in said
    apart(cache)


def test_the_program_changes_goes_back_and_one_that_does_not_start_stops_the_roll(muster):
    old, new, broken = (pathlib.Path(muster.home, name) for name in ("redis-old", "redis-new", "redis-broken"))
    for path in (old, new):
        shutil.copy(SERVER, path)
    broken.write_text("#!/bin/sh\necho 'no such instruction' >&2\nexit 3\n")
    broken.chmod(0o755)
    cache = Planned(muster, program=old, restart="{ crashes: 2, first: 100ms }", update="{ deadline: 5s }")
    runs = lambda path: sum(os.readlink(f"/proc/{pid}/exe") == str(path) for pid in cache.pids().values() if pid)
    cache.up()
    cache.whole()
    assert runs(old) == 6
    with cache.writer() as writer:
        wait_until(lambda: len(writer.acks) > 50, what="writes")
        cache.keys["program"] = new
        cache.up()
        cache.whole()
        assert runs(new) == 6
        muster.run("rollback", "--cluster", cache.key, timeout=120)
        cache.keys["program"] = old
        cache.whole()
        assert runs(old) == 6
        muster.run("restart", "--cluster", cache.key, "cache", timeout=120)
        cache.whole()
        cache.keys["program"] = broken
        failed = cache.up(code=None)
        assert failed.returncode not in (0, 2), failed.stdout
        assert "no such instruction" in failed.stdout + failed.stderr + str(cache.members())
        ready = [name for name, one in cache.members().items() if one["state"] == "ready"]
        assert len(ready) == 5 and len(cache.primaries()) >= 3
        assert cache.service()["health"] == "yellow"
        writes = len(writer.acks)
        wait_until(lambda: len(writer.acks) > writes + 50, what="writes to go on")
        muster.run("rollback", "--cluster", cache.key, timeout=120)
        cache.keys["program"] = old
        cache.whole()
        without_loss(writer, cache)


def test_masters_and_replicas_are_scaled_both_ways_with_their_keys(muster):
    cache = Planned(muster)
    cache.up()
    fill(cache)
    with cache.writer() as writer:
        cache.keys["masters"] = 4
        muster.run("scale", "cache=4", "--cluster", cache.key, timeout=120)
        cache.whole()
        assert cache.slots() == [4096] * 4 and len(cache.replicas()) == 4
        apart(cache)
        has_all(cache)
        cache.keys["masters"] = 3
        cache.up()
        cache.whole()
        assert cache.slots() == [5461, 5461, 5462] and len(cache.replicas()) == 3
        writer.cluster.nodes = cache.nodes()
        has_all(cache)
        without_loss(writer, cache)
    apart(cache)


def test_masters_are_changed_by_hand_and_go_back_while_a_client_writes(muster):
    cache = Planned(muster)
    cache.up()
    cache.whole()
    fill(cache)
    with cache.writer() as writer:
        _, (replica,) = cache.shard(cache.primaries()[0])
        muster.run("switchover", "cache", "--to", replica, "--cluster", cache.key)
        cache.whole()
        assert replica in cache.primaries()
        muster.run("switchover", "cache", "--cluster", cache.key, timeout=70)
        cache.whole()
        members = cache.members()
        assert len({members[name]["host"] for name in cache.primaries()}) == 3
        has_all(cache)
        without_loss(writer, cache)
    refused = muster.run("failover", "cache", "--force", "--cluster", cache.key, code=None)
    assert refused.returncode != 0 and "primary-is-well" in refused.stdout + refused.stderr


def test_replicas_come_and_go(muster):
    cache = Cache(muster)
    cache.up()
    fill(cache)
    for replicas in (2, 1, 0, 1):
        cache.keys["replicas"] = replicas
        cache.up()
        cache.whole()
        assert len(cache.primaries()) == 3 and len(cache.replicas()) == 3 * replicas
        assert all(len(cache.shard(name)[1]) == replicas for name in cache.primaries())
        assert cache.slots() == [5461, 5461, 5462]
        has_all(cache)
        if replicas:
            apart(cache)
