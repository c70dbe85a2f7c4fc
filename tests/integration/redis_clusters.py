"""Redis Clusters for tests: a cluster file on free ports, and questions to muster and to the members."""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import time

import pytest

from conftest import wait_until
from redis_client import SLOTS, Cluster, Redis
from redis_servers import free_ports
from redis_writer import Writer, spread_tags

needs_redis = pytest.mark.skipif(not shutil.which("redis-server"), reason="needs the package redis-server")
SERVER = shutil.which("redis-server")


class Cache:
    """One rehearsed Redis Cluster in a home of its own."""

    def __init__(self, muster, hosts=3, name="cache", password="", **keys):
        self.muster = muster
        self.name = name
        self.key = f"{name}@rehearsal"
        self.hosts = hosts
        self.password = password
        self.keys = {"masters": 3, "replicas": 1, "port": free_ports(12), "node_timeout": "1s", **keys}
        self.settings = {"appendfsync": "everysec"}

    # --- The cluster file and what is done with it.

    def text(self):
        lines = [f"cluster: {self.name}", "hosts:"]
        hosts = range(1, self.hosts + 1) if isinstance(self.hosts, int) else self.hosts
        lines += [f"  h{host}: {{ address: 10.0.0.{host} }}" for host in hosts]
        lines += ["services:", "  cache:", "    kind: redis-cluster"]
        lines += [f"    {key}: {value}" for key, value in self.keys.items() if value is not None]
        if self.password:
            lines += ['    password: "{{secret.cache}}"']
        lines += ["    settings:"] + [f"      {key}: {value}" for key, value in self.settings.items()]
        return "\n".join(lines) + "\n"

    def file(self):
        return self.muster.file(self.text())

    def set_secret(self, value):
        self.muster.run("secret", "set", "--cluster", self.key, "cache", input=value + "\n")

    def up(self, *args, **more):
        more.setdefault("timeout", 120)
        return self.muster.run("up", self.file(), "--rehearse", *args, **more)

    def begin_up(self, *args):
        return self.muster.start("up", self.file(), "--rehearse", *args)

    def whole(self, seconds=40):
        """Waits until all is green and settled, and asks for no more than that `plan` has nothing to do."""
        wait_until(self.is_settled, seconds, f"{self.name} to be green and settled: {self.service()}")
        self.muster.run("plan", self.file(), "--rehearse", code=0)
        return self

    # --- What muster says of it.

    def service(self):
        return self.muster.status(self.key)["services"][0]

    def is_settled(self):
        one = self.service()
        return one["health"] == "green" and not one["unsettled"]

    def members(self):
        return self.muster.instances(self.key)

    def primaries(self):
        return sorted(name for name, one in self.members().items() if one["facts"].get("role") == "master")

    def replicas(self):
        return sorted(name for name, one in self.members().items() if one["facts"].get("role") == "slave"
                      or one["facts"].get("role") == "replica")

    def shard(self, name):
        """(primary, [replicas]) of the shard that this member is of."""
        members = self.members()
        node = members[name]["facts"].get("node", "unknown")
        primary = members[name]["facts"].get("primary") or node
        return (next((other for other, one in members.items() if one["facts"].get("node") == primary), name),
                [other for other, one in members.items() if one["facts"].get("primary") == primary])

    def pids(self):
        return {name: one["pid"] for name, one in self.members().items()}

    def folder(self, name):
        found, = pathlib.Path(self.muster.home).glob(f"m/hosts/{self.key}/*/instances/{name}")
        return found

    def data(self, name):
        found, = self.folder(name).glob("**/data")
        return found

    def turns(self):
        """What its members wrote down of the cluster's state, of each other and of their roles, of late."""
        telling = re.compile(r"Cluster state|FAIL|failover|MASTER MODE|REPLICAOF|configEpoch|Ready to accept|User requested|fsync")
        said = []
        for name in self.members():
            for path in sorted(self.folder(name).glob("**/*.log")):
                lines = path.read_text(errors="replace").splitlines()
                said += [f"{name}: {line}" for line in lines if telling.search(line)][-20:]
        return "\n".join(said)

    def empty(self, name):
        """Its data folder; nobody may be at it."""
        for path in self.data(name).iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    # --- What its members say.

    def nodes(self):
        return [(one["address"], one["ports"]["port"]) for one in self.members().values() if one.get("ports")]

    def client(self):
        return Cluster(self.nodes(), self.password, timeout=8, patience=20)

    def writer(self, wait=False):
        """At a client's pace: tests share two cores with others."""
        return Writer("w", self.nodes(), spread_tags(60), self.password, wait=wait, pause=0.002, timeout=8, wait_ms=1000)

    def ask(self, name, *words):
        one = self.members()[name]
        with Redis(one["address"], one["ports"]["port"], self.password, timeout=2) as redis:
            return redis.ask(*words)

    def setting(self, name, word):
        return self.ask(name, "CONFIG", "GET", word)[1]

    def slots(self):
        """How many slots each primary has, as the first member tells it."""
        counts = {}
        for first, last, primary, *_ in self.ask(next(iter(self.members())), "CLUSTER", "SLOTS"):
            counts[primary[2]] = counts.get(primary[2], 0) + last - first + 1
        assert sum(counts.values()) == SLOTS, counts
        return sorted(counts.values())


class Planned(Cache):
    """One that is changed while all live, so that its clients may see redirects and nothing else. A disk that stalls for a second
    is no death; and a master that hears of one which has handed over, and of its heir only some milliseconds later on a busy
    machine, refuses no command for slots of its own meanwhile."""

    def __init__(self, muster, **keys):
        super().__init__(muster, **{"node_timeout": "5s", **keys})
        self.settings["cluster-require-full-coverage"] = "no"


def kill(*pids, how=signal.SIGKILL):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, how)


def with_program_of_its_own(muster, **keys):
    """(cache, program): who takes the program's right to run away keeps members from starting."""
    program = pathlib.Path(muster.home, "redis")
    shutil.copy(SERVER, program)
    return Cache(muster, program=program, restart="{ first: 200ms, most: 1s, crashes: 100 }", **keys), program


def goes_on(writer, more=50, seconds=20):
    before = len(writer.acks)
    wait_until(lambda: len(writer.acks) > before + more, seconds, "writes to go on")


def order_of(said, word):
    """The instances of which an `up` told this ("stopped", "stepped down"), in its order."""
    return re.findall(rf"^\[\d+/\d+\] (\S+) +{word}", said, re.MULTILINE)


def apart(cache):
    """Each replica stands on another host than its master."""
    members = cache.members()
    for name in cache.primaries():
        primary, replicas = cache.shard(name)
        assert replicas and all(members[one]["host"] != members[primary]["host"] for one in replicas), members


def fill(cache, count=300):
    client = cache.client()
    for number in range(count):
        client.ask("SET", f"key:{number}", number)
    client.close()


def has_all(cache, count=300):
    client = cache.client()
    found = [client.ask("GET", f"key:{number}") for number in range(count)]
    client.close()
    assert found == [str(number) for number in range(count)]


def without_loss(writer, cache):
    """The writer was redirected at most, and what was acknowledged to it is there."""
    assert len(writer.end().acks) > 20
    assert not writer.problems, f"{writer.problems} until {time.monotonic():.1f}, {time.ctime()}\n{cache.turns()}"
    assert writer.read_back() == []


def lose_link(cache, replica, master, seconds):
    """The replica is without its master until regain_link; waits until it has been so for so long."""
    cache.ask(replica, "CONFIG", "SET", "masterauth", "bad")
    cache.ask(master, "CLIENT", "KILL", "TYPE", "replica")
    wait_until(lambda: link_down_for(cache, replica) >= seconds, 30, "the link to be down for a while")


def leave_behind(cache):
    """Brings it up, and one of its replicas loses its link while it is written to, for longer than Redis itself takes it for as
    good as its master: (master, replica, slots, the writer, which has ended, since when it may have lacked something)."""
    cache.settings |= {"cluster-replica-validity-factor": "1", "repl-ping-replica-period": "1"}
    cache.set_secret(cache.password)
    cache.up()
    cache.whole()
    master, (replica,) = cache.shard(cache.primaries()[0])
    with cache.writer() as writer:
        goes_on(writer)
        since = time.monotonic()
        lose_link(cache, replica, master, 6)
        goes_on(writer)
    return master, replica, cache.members()[master]["role"].removeprefix("primary of "), writer, since


def regain_link(cache, replica):
    cache.ask(replica, "CONFIG", "SET", "masterauth", cache.password)


def link_down_for(cache, replica):
    """Seconds that it has been without its master; -1: it isn't."""
    info = cache.ask(replica, "INFO", "replication")
    found = re.search(r"master_link_down_since_seconds:(-?\d+)", info)
    return int(found[1]) if found else -1
