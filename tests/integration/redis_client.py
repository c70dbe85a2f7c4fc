"""Redis as tests and benchmarks see it: a connection, a client that knows clusters, and a cluster made by hand.

Nothing of it is muster's, so that what muster says of a Redis is held against somebody else's word.
"""

import contextlib
import functools
import os
import pathlib
import random
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time

SLOTS = 16384
PATIENCE = 30  # seconds that anything by hand may take


class Refused(Exception):
    """What Redis says with a minus before it."""

    @property
    def code(self):
        return str(self).split(" ")[0]


class Redis:
    """One connection. Commands are lists of words; an error is raised by `ask` and returned among `pipeline`'s answers.
    OSError for all that isn't an answer in time; after that the connection is of no use any more."""

    def __init__(self, host, port, password="", timeout=1.0):
        self.where = (host, int(port))
        self.sock = socket.create_connection(self.where, timeout=timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.settimeout(timeout)
        self.file = self.sock.makefile("rb")
        if password:
            try:
                self.ask("AUTH", password)
            except BaseException:
                self.close()
                raise

    def close(self):
        with contextlib.suppress(OSError):
            self.file.close()
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def ask(self, *words):
        answer = self.pipeline([words])[0]
        if isinstance(answer, Refused):
            raise answer
        return answer

    def has_something(self):
        """Whether there is something to read, which without a question can only be the end."""
        return bool(select.select([self.sock], [], [], 0)[0])

    def pipeline(self, commands):
        self.sock.sendall(b"".join(encode(words) for words in commands))
        return [self.read() for _ in commands]

    def read(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError(f"{self.where[0]}:{self.where[1]} closed")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest.decode()
        if kind == b"-":
            return Refused(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            size = int(rest)
            if size < 0:
                return None
            data = self.file.read(size + 2)
            if len(data) < size + 2:
                raise ConnectionError("closed within an answer")
            return data[:-2].decode(errors="replace")
        if kind == b"*":
            return [self.read() for _ in range(int(rest))] if int(rest) >= 0 else None
        raise ConnectionError(f"no Redis: {line[:80]!r}")


def encode(words):
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        data = word if isinstance(word, bytes) else str(word).encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(data), data))
    return b"".join(parts)


@functools.cache
def crc_table():
    table = []
    for byte in range(256):
        crc = byte << 8
        for _ in range(8):
            crc = ((crc << 1) ^ (0x1021 if crc & 0x8000 else 0)) & 0xFFFF
        table.append(crc)
    return table


def key_slot(key):
    left = key.find("{")
    right = key.find("}", left + 1)
    if left >= 0 and right > left + 1:
        key = key[left + 1:right]
    crc, table = 0, crc_table()
    for byte in key.encode():
        crc = ((crc << 8) & 0xFFFF) ^ table[(crc >> 8) ^ byte]
    return crc % SLOTS


@functools.cache
def slot_tags():
    """For each slot a short word that belongs there, to be put in braces."""
    tags, number = {}, 0
    while len(tags) < SLOTS:
        tags.setdefault(key_slot(str(number)), str(number))
        number += 1
    return [tags[slot] for slot in range(SLOTS)]


class Cluster:
    """A client as libraries make them: it goes to the owner of a key's slot, follows MOVED and ASK, and asks another node
    where one is gone. Not for several threads at a time."""

    def __init__(self, nodes, password="", timeout=0.5, pause=0.002, single=False):
        """`nodes`: (host, port) of some. `timeout`: of a connection and of an answer. `pause`: before it tries again.
        `single`: no cluster, but a primary and its replicas; it goes to who says that it is the primary."""
        self.nodes, self.single = [(host, int(port)) for host, port in nodes], single
        self.password, self.timeout, self.pause = password, timeout, pause
        self.owners, self.links = {}, {}
        self.redirects, self.errors, self.answered_by = 0, [], None

    def close(self):
        for link in self.links.values():
            link.close()
        self.links.clear()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def link(self, node):
        link = self.links.get(node)
        # One that was closed while nobody used it is no error: pools look before they hand one out.
        if link and link.has_something():
            self.drop(node)
        if node not in self.links:
            self.links[node] = Redis(*node, self.password, self.timeout)
        return self.links[node]

    def drop(self, node):
        link = self.links.pop(node, None)
        if link:
            link.close()

    def choose(self, but=None):
        """Whom to ask for a slot whose owner isn't known: anybody, who tells who has it; or the primary."""
        others = [one for one in self.nodes if one != but] or self.nodes
        for node in random.sample(self.nodes, len(self.nodes)) if self.single else ():
            try:
                if self.link(node).ask("ROLE")[0] == "master":
                    return node
            except (OSError, Refused):
                self.drop(node)
        return random.choice(others)

    def learn(self, node):
        """All slots at once: where one has moved others have, too."""
        with contextlib.suppress(OSError, Refused):
            for first, last, owner, *_ in self.link(node).ask("CLUSTER", "SLOTS"):
                at = (owner[0] or node[0], owner[1])
                self.owners |= {slot: at for slot in self.owners if first <= slot <= last}

    def ask(self, *words, until=None, after=()):
        """The answer of the owner of words[1]'s slot. `until`: monotonic time to give up at (default: five seconds from
        now), with the last error. `after`: commands sent with it to the same node; then a list of all answers."""
        slot = 0 if self.single else key_slot(words[1])
        until = until or time.monotonic() + 5
        node, asking, hops = self.owners.get(slot) or self.choose(), False, 0
        while True:
            try:
                commands = ([["ASKING"]] if asking else []) + [words, *after]
                answers = self.link(node).pipeline(commands)[asking:]
            except OSError as error:
                self.drop(node)
                problem = error
            else:
                if not isinstance(answers[0], Refused):
                    if not asking:
                        self.owners[slot] = node
                    self.answered_by = node
                    return answers if after else answers[0]
                problem = answers[0]
                if problem.code in ("MOVED", "ASK"):
                    self.redirects += 1
                    host, _, port = str(problem).split(" ")[2].rpartition(":")
                    to, asking, hops = (host or node[0], int(port)), problem.code == "ASK", hops + 1
                    if not asking:
                        self.learn(to)
                        self.owners[slot] = to
                    if hops < 5:
                        node = to
                        continue
            if not self.errors or self.errors[-1][1] != str(problem):
                self.errors.append((time.monotonic(), str(problem)))
            if time.monotonic() >= until:
                raise problem
            self.owners.pop(slot, None)
            time.sleep(self.pause)
            node, asking, hops = self.choose(but=node), False, 0


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
    """`count` ports in a row whose bus ports, 10000 above, are free as well; below those that the kernel gives away."""
    for _ in range(500):
        first = random.randrange(12000, 22000 - count)
        with contextlib.ExitStack() as stack:
            try:
                for port in (*range(first, first + count), *range(first + 10000, first + 10000 + count)):
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
