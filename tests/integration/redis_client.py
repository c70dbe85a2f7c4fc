"""Redis as tests and benchmarks use it: a connection, and a client that knows clusters. Nothing of it is muster's."""

import contextlib
import functools
import random
import select
import socket
import time

SLOTS = 16384
HOPS = 8  # redirects that one question may take


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
    """A client as libraries make them: it goes to the owner of a key's slot, and on to whom that one or another names instead.
    Not for several threads at a time.

    What counts as a redirect: MOVED and ASK; and a node that says that nobody has the slot, while another one knows who has it by
    now. Connections that end while a question is under way, or that nobody takes, are counted by themselves; it goes on at once
    to whom another node names. Where nobody names one, and for all else, it is an error, of which the same twice in a row counts
    once."""

    def __init__(self, nodes, password="", timeout=0.5, pause=0.002, patience=5, single=False):
        """`nodes`: (host, port) of some. `timeout`: of a connection and of an answer. `pause`: before it tries again, for so long
        as `patience`. `single`: no cluster, but a primary and its replicas; it goes to who says that it is the primary."""
        self.nodes, self.single = [(host, int(port)) for host, port in nodes], single
        self.passwords = [password]  # the first that is taken counts
        self.timeout, self.pause, self.patience = timeout, pause, patience
        self.owners, self.links, self.failed = {}, {}, None
        self.redirects, self.errors, self.answered_by = 0, [], None
        self.resets, self.refused, self.closed = [], [], 0  # (when, text) of those that ended or weren't taken; ended while unused

    def close(self):
        for link in self.links.values():
            link.close()
        self.links.clear()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def connect(self, node):
        for password in self.passwords:
            try:
                return Redis(*node, password, self.timeout)
            except Refused:
                if password == self.passwords[-1]:
                    raise

    def is_closed(self, node):
        return node in self.links and self.links[node].has_something()

    def link(self, node):
        # One that was closed while nobody used it is no error: pools look before they hand one out.
        if self.is_closed(node):
            self.closed += 1
            self.drop(node)
        if node not in self.links:
            self.links[node] = self.connect(node)
        return self.links[node]

    def drop(self, node):
        link = self.links.pop(node, None)
        if link:
            link.close()

    def leave(self, node):
        """It is gone, or another now than it was: its slots may be somebody else's."""
        self.drop(node)
        self.owners = {slot: owner for slot, owner in self.owners.items() if owner != node}
        self.failed = node

    def choose(self):
        """Whom to ask for a slot whose owner isn't known: anybody, who tells who has it; or the primary."""
        for node in random.sample(self.nodes, len(self.nodes)) if self.single else ():
            try:
                if self.link(node).ask("ROLE")[0] == "master":
                    return node
            except (OSError, Refused):
                self.drop(node)
        return random.choice([node for node in self.known() if node != self.failed] or self.nodes)

    def known(self):
        """Those that it was told of, and those that it has learned of."""
        return list(dict.fromkeys([*self.nodes, *self.owners.values()]))

    def learn(self, node, slot):
        """Whom this node takes for the owner of `slot`, if anybody. What it says of all other slots counts as well: where one has
        moved others have, too."""
        try:
            ranges = self.link(node).ask("CLUSTER", "SLOTS")
        except (OSError, Refused):
            self.drop(node)
            return None
        found = None
        for first, last, owner, *_ in ranges:
            at = (owner[0] or node[0], owner[1])
            self.owners |= {one: at for one in self.owners if first <= one <= last}
            found = at if first <= slot <= last else found
        return found

    def successor(self, slot, former):
        """Whom somebody knows to have the slot in place of this one; None: nobody does."""
        others = [node for node in self.known() if node != former and not self.single]
        return next((owner for owner in (self.learn(node, slot) for node in others) if owner not in (None, former)), None)

    def once(self, commands):
        """The answers to `commands`, the first of which has a key, by the owner of its slot. OSError, or Refused, where no redirect
        leads to somebody who takes it."""
        slot = 0 if self.single else key_slot(commands[0][1])
        if self.is_closed(self.owners.get(slot)):
            self.closed += 1
            self.leave(self.owners[slot])  # it may have handed over before
        node, asking = self.owners.get(slot) or self.choose(), False
        for _ in range(HOPS):
            said_by = f"({node[0]}:{node[1]})"
            try:
                answers = self.link(node).pipeline([["ASKING"], *commands] if asking else commands)[asking:]
            except (OSError, Refused) as error:
                self.leave(node)
                self.note_end(error, said_by)
                to = None if isinstance(error, TimeoutError) else self.successor(slot, node)
                if to is None:
                    raise OSError(f"{error} {said_by}") from error
                node, asking, self.owners[slot] = to, False, to
                continue
            else:
                problem = answers[0]
                if not isinstance(problem, Refused):
                    if not asking:
                        self.owners[slot] = node
                    self.answered_by = node
                    return answers
                to, asking = self.named_by(problem, slot, node), problem.code == "ASK"
                if to is None:
                    self.owners.pop(slot, None)
                    self.failed = node
                    raise Refused(f"{problem} {said_by}")
            self.redirects += 1
            if not asking:
                self.owners[slot] = to
            node = to
        self.owners.pop(slot, None)
        raise Refused(f"slot {slot} is redirected in circles")

    def note_end(self, error, said_by):
        """Of a connection: it was reset or closed, or not taken; else it isn't noted here."""
        if isinstance(error, ConnectionError):
            kind = self.refused if isinstance(error, ConnectionRefusedError) else self.resets
            kind.append((time.monotonic(), f"{error} {said_by}"))

    def other_errors(self):
        """Those errors that aren't a connection's end."""
        ends = {text for _, text in [*self.resets, *self.refused]}
        return [(when, text) for when, text in self.errors if text not in ends]

    def named_by(self, problem, slot, node):
        """Who has the slot that this node refuses, as it or others tell; None: nobody tells."""
        if problem.code in ("MOVED", "ASK"):
            host, _, port = str(problem).split(" ")[2].rpartition(":")
            to = (host or node[0], int(port))
            if problem.code == "MOVED":
                self.learn(to, slot)
            return to
        # It has heard that the former owner is one no more, and not of the new one.
        return self.successor(slot, node) if str(problem).endswith("Hash slot not served") else None

    def ask(self, *words, until=None, after=()):
        """The answer of the owner of words[1]'s slot, asked for until the monotonic time `until` (default: as long as it is
        patient); then the last error is raised. `after`: commands sent with it to the same node; then a list of all answers."""
        until = until or time.monotonic() + self.patience
        while True:
            try:
                answers = self.once([words, *after])
                return answers if after else answers[0]
            except (OSError, Refused) as problem:
                if not self.errors or self.errors[-1][1] != str(problem):
                    self.errors.append((time.monotonic(), str(problem)))
                if time.monotonic() >= until:
                    raise
            time.sleep(self.pause)
