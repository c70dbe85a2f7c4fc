"""Redis with one primary: forming, failover, switchover, restarts, and a primary that is cut off."""

import contextlib
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest
from conftest import free_ports, wait_until

pytestmark = [pytest.mark.skipif(not shutil.which("redis-server"), reason="redis-server is not installed"),
              pytest.mark.never_again]


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
    lines += ["services:", "  cache:", "    kind: redis", f"    replicas: {replicas}", f"    port: {port}"]
    lines += ["    health: { every: 250ms }"] if "health:" not in extra else []
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

    def write_to_all(self, name, value, replicas=2):
        """To the primary; returns once all replicas have it. WAIT is for what the same connection wrote."""
        with Redis(self.address(self.primary())) as redis:
            assert redis("SET", name, value) == "OK"
            assert redis("WAIT", replicas, 5000) == replicas

    def plan_is_empty(self):
        done = self.muster.run("plan", self.file, "--rehearse", code=None)
        return done.returncode == 0, done.stdout

    def kill(self, name):
        os.kill(self.members()[name]["pid"], signal.SIGKILL)

    def lost(self, writer):
        with Redis(self.address(self.primary())) as redis:
            return [number for number in writer.acknowledged if redis("GET", f"key:{number}") is None]


def formed(muster):
    one = Cache(muster, cluster_file(muster))
    one.up()
    one.settled()
    # Where a replica said that it has loaded before its primary knew the transfer's child ended, Redis sends it nothing
    # until it says so again, a second later: a primary that dies then takes its first writes along.
    one.write_to_all("formed", 1)
    with Redis(one.address(one.primary())) as redis:
        redis("DEL", "formed")
    return one


@pytest.fixture
def cache(muster):
    return formed(muster)


def test_it_forms_and_replicates_and_is_verified(cache):
    primary = cache.primary()
    assert primary == "cache-1"
    cache.write_to_all("greeting", "hello")
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
    cache.muster.run("switchover", "cache", "--cluster", cache.cluster, "--to", "cache-3", timeout=90)
    assert cache.primary() == "cache-3"
    writer.wait_for()
    cache.muster.run("switchover", "cache", "--cluster", cache.cluster, timeout=90)
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


def test_a_frozen_primary_is_killed_by_its_agent_and_writes_go_on(cache):
    """On a replica, or on itself where it is back before a replica was chosen: it has all of the data then."""
    primary = cache.primary()
    writer = Writer(cache.addresses())
    writer.wait_for()
    os.kill(cache.members()[primary]["pid"], signal.SIGSTOP)
    wait_until(lambda: cache.members()[primary]["restarts"] == 1, 30, "its restart")
    cache.settled()
    writer.wait_for()
    writer.stop()
    assert cache.members()[primary]["last_exit"].startswith("killed as hung")
    assert writer.outage < 15, writer.outage
    assert len(cache.lost(writer)) < 50
    assert cache.plan_is_empty()[0], cache.plan_is_empty()[1]


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
        cache.write_to_all(f"kept:{number}", number)
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
    cache.muster.run("switchover", "cache", "--cluster", cache.cluster, "--to", "cache-2", timeout=90)
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
    cache.muster.run("switchover", "cache", "--cluster", cache.cluster, "--to", "cache-3", timeout=90)
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


def test_a_primary_that_died_while_the_server_was_gone_takes_no_write_until_the_next_server_says_who_does(cache):
    primary = cache.primary()
    cache.write_to_all("kept", "yes")
    pid, address = cache.members()[primary]["pid"], cache.address(primary)
    os.kill(cache.muster.server_pid(), signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)

    def refuses():
        with contextlib.suppress(OSError), Redis(address) as redis:
            with pytest.raises(RedisError, match="READONLY"):
                redis("SET", "kept", "no")
            return True
        return False

    wait_until(refuses, 20, "its agent to start it again, fenced")
    new = cache.settled()  # this starts a server; any of them may be it, for all have all
    assert cache.call(new, "GET", "kept") == "yes"
    cache.write_to_all("kept", "still")
    assert cache.plan_is_empty()[0], cache.plan_is_empty()[1]


def test_a_primary_that_neither_the_server_nor_a_majority_follows_lets_go(cache):
    primary = cache.primary()
    replicas = [one["pid"] for name, one in cache.members().items() if name != primary]
    pid, address = cache.members()[primary]["pid"], cache.address(primary)
    os.kill(cache.muster.server_pid(), signal.SIGKILL)
    for replica in replicas:
        os.kill(replica, signal.SIGKILL)  # they start again, and nobody tells them whom to follow

    def refuses():
        with Redis(address) as redis:
            try:
                redis("SET", "taken", "yes")
            except RedisError as error:
                assert str(error).startswith("READONLY"), error
                return True
        return False

    begin = time.monotonic()
    wait_until(refuses, 20, "the end of its lease")
    assert time.monotonic() - begin < 10
    assert os.path.exists(f"/proc/{pid}")
    # What it took alone, nobody else has.
    assert cache.settled() == primary
    for name in cache.members():
        assert cache.call(name, "GET", "taken") == "yes"


# Runs inside a host: tries to write, by a new connection each time one breaks, and prints when what came of it.
STUBBORN = """
import socket, sys, time
address, port = sys.argv[1], int(sys.argv[2])
link, number = None, 0
while True:
    try:
        if link is None:
            link = socket.create_connection((address, port), timeout=0.5)
        number += 1
        link.sendall(b"SET alone:%d 1\\r\\n" % number)
        answer = link.recv(100).decode().strip() or "closed"
    except OSError as error:
        answer = type(error).__name__
    if answer == "closed" or not answer.startswith(("+", "-")):
        link = None
    print(time.monotonic(), answer.split()[0], flush=True)
    time.sleep(0.005)
"""


@contextlib.contextmanager
def stubborn_writer(member, log):
    """Keeps writing to `member` from inside its host's network; gives what came of it so far: [(when, answer)]."""
    with open(log, "w") as out:
        process = subprocess.Popen(["nsenter", f"--net=/proc/{member['pid']}/ns/net", "python3", "-c", STUBBORN,
                                    member["address"], str(member["ports"]["port"])], stdout=out)
    try:
        yield lambda: [(float(line.split()[0]), line.split()[1]) for line in log.read_text().splitlines()
                       if len(line.split()) == 2]
    finally:
        process.kill()
        process.wait()


def first_write_to(addresses, seconds=40):
    """When one of `addresses` first took a write."""
    begin = time.monotonic()
    while time.monotonic() < begin + seconds:
        for address in addresses:
            with contextlib.suppress(OSError, RedisError), Redis(address, timeout=0.5) as redis:
                redis("SET", "elsewhere", "1")
                return time.monotonic()
        time.sleep(0.01)  # a client that asks again
    raise AssertionError(f"nobody else took a write within {seconds} s")


def role_changes(muster):
    return [f"{one['action']} {one['detail']}" for one in reversed(muster.json("audit", "-c", "kv@rehearsal")["entries"])
            if one["who"] == "muster"]


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("nsenter"), reason="network namespaces need root")
def test_a_cut_off_primary_is_read_only_before_its_replica_is_promoted(muster):
    muster.env["MUSTER_REHEARSAL_NETWORK"] = "namespaces"
    cache = Cache(muster, cluster_file(muster))
    cache.up()
    primary = cache.settled()
    old = cache.members()[primary]
    others = [cache.address(name) for name in cache.members() if name != primary]
    cache.write_to_all("before", "kept")
    with stubborn_writer(old, muster.folder / "stubborn.log") as tries:
        wait_until(lambda: any(answer == "+OK" for _, answer in tries()), 20, "a write inside the host")
        muster.run("host", "cut", old["host"])
        cut = time.monotonic()
        promoted = first_write_to(others)
        so_far = len(tries())
        wait_until(lambda: len(tries()) > so_far + 50, 20, "more tries inside the host that is cut off")
        last_taken = max(when for when, answer in tries() if answer == "+OK")
        refused = [when for when, answer in tries() if answer == "-READONLY"]
        assert last_taken > cut  # it did go on for as long as it might
        assert refused and refused[0] < promoted, role_changes(muster)
        assert last_taken < promoted, (last_taken - cut, promoted - cut)
        assert promoted - cut < 20, role_changes(muster)
        assert os.path.exists(f"/proc/{old['pid']}")  # told, not killed

        muster.run("host", "heal", old["host"])
        wait_until(lambda: cache.members()[primary].get("role", "").startswith("replica of"), 30, "it to follow")
    new = cache.settled()
    assert new != primary
    wait_until(lambda: len({cache.call(name, "DBSIZE") for name in cache.members()}) == 1, 20, "all to have the same")
    for name in cache.members():
        assert cache.call(name, "GET", "before") == "kept" and cache.call(name, "GET", "elsewhere") == "1"
    assert cache.plan_is_empty()[0], cache.plan_is_empty()[1]


@pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")
def test_on_two_hosts_it_is_left_to_a_person_what_to_do_about_one_that_is_cut_off(muster):
    muster.env["MUSTER_REHEARSAL_NETWORK"] = "namespaces"
    cache = Cache(muster, cluster_file(muster, hosts=2, replicas=1))
    cache.up()
    primary = cache.settled()
    old = cache.members()[primary]
    other = next(name for name in cache.members() if name != primary)
    cache.write_to_all("before", "kept", replicas=1)
    muster.run("host", "cut", old["host"])
    command = "muster failover cache --force"
    wait_until(lambda: any(command in reason for reason in cache.health()["reasons"]), 30, "muster to leave it to a person")
    refused = muster.run("failover", "cache", "--cluster", cache.cluster, code=None)
    assert refused.returncode != 0 and "failover-refused" in refused.stderr, refused.stderr
    with pytest.raises(RedisError, match="READONLY"):
        cache.call(other, "SET", "elsewhere", "1")
    muster.run("failover", "cache", "--force", "--cluster", cache.cluster)
    assert cache.primary() == other
    assert cache.call(other, "GET", "before") == "kept"
    cache.call(other, "SET", "elsewhere", "1")
    muster.run("host", "heal", old["host"])
    wait_until(lambda: cache.members()[primary].get("role", "").startswith(f"replica of {other}"), 30, "it to follow")
    cache.settled()
    assert cache.call(primary, "GET", "elsewhere") == "1"


class Acceptors:
    """Tries to write to every member at once, and keeps who took a write when."""

    def __init__(self, addresses):
        self.taken = []  # (when it was acknowledged, address)
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(address,), daemon=True) for address in addresses]
        for thread in self.threads:
            thread.start()

    def run(self, address):
        connection = None
        while not self.stopping.is_set():
            try:
                connection = connection or Redis(address, timeout=0.5)
                connection("SET", "who", address)
                self.taken.append((time.monotonic(), address))
            except RedisError:
                pass
            except OSError:
                if connection:
                    connection.close()
                connection = None
            time.sleep(0.002)  # a client that asks again

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(10)
        return sorted(self.taken)


def test_blow_after_blow_there_is_never_more_than_one_that_takes_writes(cache):
    chance = random.Random(11)
    names = list(cache.members())
    cache.write_to_all("kept", "yes")
    acceptors = Acceptors(cache.addresses())
    for blow in range(8):
        victim = cache.primary() if blow % 2 == 0 else chance.choice(names)
        pid = victim and cache.members()[victim].get("pid")
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, chance.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGSTOP]))
        if blow % 3 == 2:
            cache.settled()
        else:
            begin = len(acceptors.taken)
            wait_until(lambda begin=begin: len(acceptors.taken) > begin + 5, 30, "somebody to take writes")
    cache.settled()
    taken = acceptors.stop()
    turns = sum(one[1] != next_one[1] for one, next_one in zip(taken, taken[1:]))
    promotions = [change for change in role_changes(cache.muster) if change.startswith("promote ")]
    # Two at once would take turns all the time.
    assert turns < len(promotions), (turns, promotions)
    assert cache.call(cache.primary(), "GET", "kept") == "yes"
    assert cache.plan_is_empty()[0], cache.plan_is_empty()[1]


def test_another_password_is_taken_up_without_a_restart_and_they_stay_linked(muster):
    def set_password(value):
        muster.run("secret", "set", "cache", "--cluster", "kv@rehearsal", input=value + "\n")

    def ask(name, password, *words):
        with Redis(cache.address(name)) as redis:
            assert redis("AUTH", password) == "OK"
            return redis(*words)

    cache = Cache(muster, cluster_file(muster, extra='password: "{{secret.cache}}"'))
    set_password("the first")
    cache.up()
    primary = cache.settled()
    pids = {name: one["pid"] for name, one in cache.members().items()}
    set_password("the second")
    cache.up()
    cache.settled()
    assert cache.primary() == primary
    assert {name: one["pid"] for name, one in cache.members().items()} == pids
    assert ask(primary, "the second", "SET", "key", "1") == "OK"
    for name in pids:
        with pytest.raises(RedisError, match="WRONGPASS|invalid password"):
            ask(name, "the first", "PING")
    # Who follows anew has the second, too.
    cache.kill(primary)
    wait_until(lambda: cache.primary() not in (None, primary), 20, "another primary")
    new = cache.settled()
    assert ask(new, "the second", "WAIT", 2, 5000) == 2
    assert cache.plan_is_empty()[0], cache.plan_is_empty()[1]


def test_a_redis_does_not_become_a_redis_cluster_by_its_name(muster):
    cache = formed(muster)
    cache.write_to_all("kept", "yes")
    text = pathlib.Path(cache.file).read_text()
    other = pathlib.Path(cache.file).with_name("other.yaml")
    other.write_text(text.replace("kind: redis", "kind: redis-cluster").replace("replicas: 2", "masters: 3\n    replicas: 0"))
    for command in ("plan", "up"):
        refused = muster.run(command, other, "--rehearse", code=None)
        assert refused.returncode == 1 and "[kind-changed]" in refused.stderr, refused
    assert cache.call(cache.settled(), "GET", "kept") == "yes"
    assert cache.plan_is_empty()[0], cache.plan_is_empty()[1]
