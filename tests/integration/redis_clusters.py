"""Redis Clusters for tests: a cluster file on free ports, and questions to muster and to the members."""

import pathlib
import re
import shutil

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


def order_of(said, word):
    """The instances of which an `up` told this ("stopped", "step-down done"), in its order."""
    return re.findall(rf"^\[\d+/\d+\] (\S+) +{word}", said, re.MULTILINE)
