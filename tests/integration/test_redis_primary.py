"""Redis with one primary: forming, failover, switchover, restarts, and a primary that is cut off."""

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest
from conftest import free_ports, wait_until

pytestmark = pytest.mark.skipif(not shutil.which("redis-server"), reason="redis-server is not installed")


class Redis:
    """One connection; errors of Redis are raised as RedisError."""

    def __init__(self, address, timeout=2):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=timeout)
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        with contextlib.suppress(OSError):
            self.file.close()
            self.socket.close()

    def __call__(self, *words):
        parts = [str(word).encode() for word in words]
        self.socket.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts))
        return self.read()

    def read(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("closed")
        kind, rest = line[:1], line[1:-2].decode()
        if kind == b"-":
            raise RedisError(rest)
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == "-1" else self.file.read(int(rest) + 2)[:-2].decode()
        if kind == b"*":
            return [self.read() for _ in range(int(rest))]
        return rest


class RedisError(Exception):
    pass


class Writer:
    """Writes counted keys to whoever takes them, and keeps what was acknowledged. `outage` is the longest time between
    two acknowledged writes."""

    def __init__(self, addresses):
        self.addresses = addresses
        self.acknowledged = []
        self.outage = 0.0
        self.errors = set()
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        number, last, connection, at = 0, time.monotonic(), None, 0
        while not self.stopping.is_set():
            try:
                if connection is None:
                    connection = Redis(self.addresses[at % len(self.addresses)], timeout=0.5)
                connection("SET", f"key:{number}", number)
                now = time.monotonic()
                self.outage = max(self.outage, now - last)
                last = now
                self.acknowledged.append(number)
                number += 1
            except (OSError, RedisError) as error:
                self.errors.add(str(error)[:30])
                if connection:
                    connection.close()
                connection, at, number = None, at + 1, number + 1
                time.sleep(0.002)  # a client that asks again, not a wait for a state

    def wait_for(self, more=200, seconds=20):
        goal = len(self.acknowledged) + more
        wait_until(lambda: len(self.acknowledged) >= goal, seconds, "writes to be taken")

    def stop(self):
        self.stopping.set()
        self.thread.join(10)
        assert not self.thread.is_alive()
        return self


def cluster_file(muster, hosts=3, replicas=2, port=None, extra="", name="kv"):
    port = port or free_ports(hosts + 1)
    lines = [f"cluster: {name}", "hosts:"]
    lines += [f"  h{host}: {{ address: 10.0.0.{host} }}" for host in range(1, hosts + 1)]
    lines += ["services:", "  cache:", "    kind: redis", f"    replicas: {replicas}", f"    port: {port}",
              "    health: { every: 250ms }"]
    lines += ["    " + line for line in extra.strip().splitlines()]
    return muster.file("\n".join(lines) + "\n")


class Cache:
    def __init__(self, muster, file, cluster="kv@rehearsal"):
        self.muster, self.file, self.cluster = muster, file, cluster

    def up(self, *more):
        return self.muster.run("up", self.file, "--rehearse", *more, timeout=120)

    def members(self):
        found = self.muster.json("ps", "--cluster", self.cluster)["instances"]
        return {one["name"]: one for one in found}

    def primary(self):
        names = [name for name, one in self.members().items() if one.get("role") == "primary" and one["state"] == "ready"]
        return names[0] if len(names) == 1 else None

    def health(self):
        return self.muster.status(self.cluster)["services"][0]

    def is_green(self):
        return self.health()["health"] == "green"

    def settled(self, seconds=30):
        wait_until(lambda: self.is_green() and self.primary(), seconds, f"green: {self.health()}")
        return self.primary()

    def addresses(self):
        return [f"{one['address']}:{one['ports']['port']}" for one in self.members().values()]

    def address(self, name):
        one = self.members()[name]
        return f"{one['address']}:{one['ports']['port']}"

    def call(self, name, *words):
        with Redis(self.address(name)) as redis:
            return redis(*words)

    def plan_is_empty(self):
        done = self.muster.run("plan", self.file, "--rehearse", code=None)
        return done.returncode == 0, done.stdout

    def kill(self, name):
        os.kill(self.members()[name]["pid"], signal.SIGKILL)

    def lost(self, writer):
        with Redis(self.address(self.primary())) as redis:
            return [number for number in writer.acknowledged if redis("GET", f"key:{number}") is None]


@pytest.fixture
def cache(muster):
    one = Cache(muster, cluster_file(muster))
    one.up()
    one.settled()
    return one


def test_it_forms_and_replicates_and_is_verified(cache):
    primary = cache.primary()
    assert primary == "cache-1"
    assert cache.call(primary, "SET", "greeting", "hello") == "OK"
    assert cache.call(primary, "WAIT", 2, 5000) == 2
    for name in ("cache-2", "cache-3"):
        assert cache.call(name, "GET", "greeting") == "hello"
        with pytest.raises(RedisError, match="READONLY"):
            cache.call(name, "SET", "greeting", "x")
    verified = cache.muster.json("verify", "--cluster", cache.cluster)
    assert verified["passed"], verified
    assert any("takes a write" in check["name"] for check in verified["checks"])
    roles = {name: one["role"] for name, one in cache.members().items()}
    assert roles["cache-2"].startswith("replica of cache-1, ") and roles["cache-2"].endswith(" behind"), roles
    assert cache.plan_is_empty()[0], cache.plan_is_empty()[1]


def test_a_killed_primary_is_replaced_at_once_and_rejoins(cache):
    primary = cache.primary()
    writer = Writer(cache.addresses())
    writer.wait_for()
    cache.kill(primary)
    writer.wait_for(seconds=20)
    new = wait_until(lambda: cache.primary() not in (None, primary) and cache.primary(), 20, "another primary")
    cache.settled()
    writer.wait_for()
    writer.stop()
    assert cache.primary() == new
    assert cache.members()[primary]["role"].startswith(f"replica of {new}")
    assert writer.outage < 3, writer.outage
    lost = cache.lost(writer)
    assert len(lost) < 50, len(lost)  # replication doesn't wait; what was on its way may go
    assert cache.plan_is_empty()[0], cache.plan_is_empty()[1]


def test_a_primary_that_restarts_alone_takes_writes_again_with_all_it_had(muster):
    cache = Cache(muster, cluster_file(muster, hosts=1, replicas=0, extra="settings: { appendfsync: always }"))
    cache.up()
    cache.settled()
    cache.call("cache-1", "SET", "kept", "yes")
    cache.kill("cache-1")
    wait_until(lambda: cache.members()["cache-1"]["restarts"] == 1, 20, "its restart")
    cache.settled()
    assert cache.call("cache-1", "GET", "kept") == "yes"
    assert cache.call("cache-1", "SET", "kept", "still") == "OK"


def test_switchover_loses_no_write(cache):
    writer = Writer(cache.addresses())
    writer.wait_for()
    cache.muster.run("switchover", "cache", "--cluster", cache.cluster, "--to", "cache-3")
    assert cache.primary() == "cache-3"
    writer.wait_for()
    cache.muster.run("switchover", "cache", "--cluster", cache.cluster)
    writer.wait_for()
    cache.settled()
    writer.stop()
    assert cache.primary() != "cache-3"
    assert cache.lost(writer) == []
    assert writer.outage < 2, writer.outage
    assert cache.plan_is_empty()[0]


def test_failover_of_a_primary_that_is_well_is_refused(cache):
    refused = cache.muster.run("failover", "cache", "--cluster", cache.cluster, code=None)
    assert refused.returncode != 0 and "primary-is-well" in refused.stderr + refused.stdout


def test_a_frozen_primary_is_killed_by_its_agent_and_replaced(cache):
    primary = cache.primary()
    writer = Writer(cache.addresses())
    writer.wait_for()
    os.kill(cache.members()[primary]["pid"], signal.SIGSTOP)
    wait_until(lambda: cache.primary() not in (None, primary), 30, "another primary")
    writer.wait_for()
    cache.settled()
    writer.stop()
    assert len(cache.lost(writer)) < 50
    assert cache.plan_is_empty()[0]


def test_a_rolling_restart_loses_no_write(cache):
    writer = Writer(cache.addresses())
    writer.wait_for()
    cache.muster.run("restart", "cache", "--cluster", cache.cluster, timeout=180)
    writer.wait_for()
    cache.settled()
    writer.stop()
    assert cache.lost(writer) == []
    assert writer.outage < 3, writer.outage
    assert cache.plan_is_empty()[0], cache.plan_is_empty()[1]


def test_a_member_whose_data_was_wiped_is_rebuilt_and_never_chosen(cache):
    primary = cache.primary()
    for number in range(100):
        cache.call(primary, "SET", f"kept:{number}", number)
    assert cache.call(primary, "WAIT", 2, 5000) == 2
    folder = pathlib.Path(cache.muster.home, "m/hosts/kv@rehearsal", cache.members()[primary]["host"], "instances", primary,
                          "data")
    pid = cache.members()[primary]["pid"]
    os.kill(pid, signal.SIGSTOP)  # so that nothing is written meanwhile
    for entry in folder.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: cache.primary() not in (None, primary), 20, "another primary")
    cache.settled()
    for name in cache.members():
        assert cache.call(name, "DBSIZE") == 100, name


def test_down_and_up_keeps_the_data_of_who_was_primary(cache):
    cache.muster.run("switchover", "cache", "--cluster", cache.cluster, "--to", "cache-2")
    cache.settled()
    cache.call("cache-2", "SET", "kept", "yes")
    cache.muster.run("down", "--cluster", cache.cluster, timeout=60)
    cache.up()
    cache.settled()
    assert cache.call(cache.primary(), "GET", "kept") == "yes"


def test_it_scales_and_whoever_leaves_hands_over_first(muster):
    port = free_ports(4)
    cache = Cache(muster, cluster_file(muster, replicas=1, port=port))
    cache.up()
    cache.settled()
    cache.file = cluster_file(muster, replicas=2, port=port)
    cache.up()
    cache.settled()
    assert len(cache.members()) == 3
    cache.muster.run("switchover", "cache", "--cluster", cache.cluster, "--to", "cache-3")
    cache.settled()
    writer = Writer(cache.addresses())
    writer.wait_for()
    cache.file = cluster_file(muster, replicas=1, port=port)
    cache.up()
    cache.settled()
    writer.wait_for()
    writer.stop()
    assert set(cache.members()) == {"cache-1", "cache-2"}
    assert cache.lost(writer) == []


def test_a_setting_is_set_while_it_runs(muster):
    port = free_ports(4)
    cache = Cache(muster, cluster_file(muster, port=port))
    cache.up()
    cache.settled()
    pids = {name: one["pid"] for name, one in cache.members().items()}
    cache.file = cluster_file(muster, port=port, extra="settings: { maxmemory: 50mb, maxmemory-policy: allkeys-lru }")
    cache.up()
    cache.settled()
    assert {name: one["pid"] for name, one in cache.members().items()} == pids
    for name in pids:
        assert cache.call(name, "CONFIG", "GET", "maxmemory") == ["maxmemory", str(50 << 20)]


def test_a_server_that_is_gone_leaves_the_primary_to_its_majority(cache):
    """Nothing is decided without it, and nothing is taken away."""
    primary, addresses = cache.primary(), cache.addresses()
    os.kill(cache.muster.server_pid(), signal.SIGKILL)
    begin = time.monotonic()
    writer = Writer(addresses)
    wait_until(lambda: time.monotonic() - begin > 5, 10, "more than a lease")
    writer.wait_for()
    writer.stop()
    assert writer.outage < 1, writer.outage
    assert cache.settled() == primary
    assert cache.lost(writer) == []
