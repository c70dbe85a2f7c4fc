"""Redis as its own tools show it: servers and a cluster made by hand, and what nodes say of themselves.

Nothing of it is muster's, so that what muster says of a Redis is held against somebody else's word.
"""

import contextlib
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from redis_client import SLOTS, Redis, Refused, key_slot

BUS = 10000  # how far above a member's port that of its bus is
PATIENCE = 30  # seconds that anything by hand may take


def nodes_of(host, port, password="", timeout=1.0):
    """CLUSTER NODES as a dict by id."""
    with Redis(host, port, password, timeout) as redis:
        text = redis.ask("CLUSTER", "NODES")
    nodes = {}
    for line in text.splitlines():
        words = line.split(" ")
        at, _, bus = words[1].partition(",")[0].partition("@")
        host_of, _, port_of = at.rpartition(":")
        slots = [word for word in words[8:] if not word.startswith("[")]
        nodes[words[0]] = {"id": words[0], "host": host_of, "port": int(port_of), "bus": int(bus), "flags": words[2].split(","),
                           "master": None if words[3] == "-" else words[3], "epoch": int(words[6]), "link": words[7], "slots": slots}
    return nodes


def agreed(view):
    """What of CLUSTER NODES is the same at all nodes when they agree: who is there, what each is and owns."""
    return sorted((one["id"], one["port"], one["master"] or "", tuple(one["slots"]), one["epoch"] if one["slots"] else 0,
                   tuple(sorted(set(one["flags"]) - {"myself"}))) for one in view.values())


def slots_in(ranges):
    """The numbers of ["0-5460", "5462"]."""
    found = []
    for one in ranges:
        first, _, last = one.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def info(host, port, section, password="", timeout=1.0):
    with Redis(host, port, password, timeout) as redis:
        lines = redis.ask("INFO", section).splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def free_ports(count):
    """`count` ports in a row whose bus ports are free as well; below those that the kernel gives away."""
    for _ in range(500):
        first = random.randrange(12000, 22000 - count)
        with contextlib.ExitStack() as stack:
            try:
                for port in (*range(first, first + count), *range(first + BUS, first + BUS + count)):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
        return first
    raise RuntimeError("no free ports")


class Servers:
    """redis-servers on 127.0.0.1, started by hand in a folder of their own. Nothing of them remains."""

    def __init__(self, count, settings=None, password="", port=None):
        """`settings`: lines of redis.conf beside those that each needs."""
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="/tmp/mt-redis-"))
        first = port or free_ports(count)
        self.ports, self.password, self.processes = list(range(first, first + count)), password, {}
        for one in self.ports:
            below = self.folder / str(one)
            below.mkdir()
            lines = {"port": one, "bind": "127.0.0.1", "dir": below, "cluster-enabled": "yes", "cluster-config-file": "nodes.conf",
                     "cluster-node-timeout": 1000, "save": '""', "repl-diskless-sync-delay": 0, **(settings or {})}
            if password:
                lines |= {"requirepass": f'"{password}"', "masterauth": f'"{password}"'}
            (below / "redis.conf").write_text("".join(f"{name} {value}\n" for name, value in lines.items()))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def nodes(self):
        return [("127.0.0.1", port) for port in self.ports]

    def start(self, port=None):
        for one in [port] if port else self.ports:
            below = self.folder / str(one)
            with open(below / "log", "ab") as log:
                self.processes[one] = subprocess.Popen(["redis-server", below / "redis.conf"], stdout=log, stderr=log)
        return self

    def redis(self, port, timeout=1.0):
        return Redis("127.0.0.1", port, self.password, timeout)

    def answers(self, port):
        with contextlib.suppress(OSError, Refused), self.redis(port) as redis:
            return redis.ask("PING") == "PONG"
        return False

    def create(self, replicas=0, ports=None):
        """As its documentation says: redis-cli --cluster create."""
        by_hand(*(f"127.0.0.1:{port}" for port in ports or self.ports), "--cluster-replicas", replicas, "--cluster-yes",
                verb="create", password=self.password)

    def signal(self, port, number=signal.SIGKILL):
        self.processes[port].send_signal(number)
        if number == signal.SIGKILL:
            self.processes[port].wait()

    def owner(self, key, asked=None):
        """(port, ids) of the master that has the slot of `key`, and of its replicas."""
        view = nodes_of("127.0.0.1", asked or self.ports[0], self.password)
        slot = key_slot(key)
        master = next(one for one in view.values() if one["slots"] and slot in slots_in(one["slots"]))
        return master["port"], [one["port"] for one in view.values() if one["master"] == master["id"]]

    def close(self):
        for process in self.processes.values():
            process.kill()
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def by_hand(*words, verb, password=""):
    """redis-cli --cluster VERB …; its output where it fails."""
    done = subprocess.run(["redis-cli", "--cluster", verb, *map(str, words)], capture_output=True, text=True,
                          env={**os.environ, **({"REDISCLI_AUTH": password} if password else {})}, timeout=600)
    assert done.returncode == 0, f"redis-cli --cluster {verb}: {done.stdout[-3000:]}{done.stderr[-1000:]}"
    return done.stdout


def until(condition, seconds=PATIENCE, pause=0.005, what="condition"):
    """Asks until it holds; a server that doesn't answer is one for which it doesn't."""
    end, last = time.monotonic() + seconds, None
    while True:
        try:
            value = condition()
            if value:
                return value
        except (OSError, Refused) as error:
            last = error
        assert time.monotonic() < end, f"waited {seconds} s for {what}: {last}"
        time.sleep(pause)


def serves(nodes, masters, password=""):
    """Whether each says cluster_state:ok, replicas' links are up, and there are `masters` with slots, all 16384 of them."""
    for host, port in nodes:
        with Redis(host, port, password) as redis:
            state, replication = redis.pipeline([["CLUSTER", "INFO"], ["INFO", "replication"]])
        if isinstance(state, Refused) or "cluster_state:ok" not in state:
            return False
        if "role:slave" in replication and "master_link_status:up" not in replication:
            return False
    view = nodes_of(*nodes[0], password)
    owners = [one for one in view.values() if one["slots"]]
    return len(view) == len(nodes) and len(owners) == masters and sum(len(slots_in(one["slots"])) for one in owners) == SLOTS


def settled(nodes, password=""):
    """Whether all have the same view."""
    views = [agreed(nodes_of(*node, password)) for node in nodes]
    return all(view == views[0] for view in views) and len(views[0]) == len(nodes)
