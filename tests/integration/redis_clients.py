"""A small client of Redis and Redis Cluster, and a writer that keeps account of what was acknowledged to it."""

import contextlib
import select
import socket
import threading
import time


class Refused(Exception):
    """What a Redis answers with a minus before it."""


class Link:
    """One connection to one server. OSError where it breaks or stays silent for `timeout` seconds."""

    def __init__(self, address, port, password="", timeout=2):
        self.socket = socket.create_connection((address, port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")
        try:
            if password:
                self.ask("AUTH", password)
        except (OSError, Refused):
            self.close()
            raise

    def ask(self, *words):
        return self.all_of([words])[0]

    def all_of(self, commands):
        """The answers to these commands, which are sent in one go. The first refusal is raised."""
        text = b""
        for words in commands:
            parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
            text += b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
        self.socket.sendall(text)
        answers = [self.read() for _ in commands]
        for answer in answers:
            if isinstance(answer, Refused):
                raise answer
        return answers

    def read(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("closed by the server")
        kind, rest = line[:1], line[1:-2].decode()
        if kind == b"+":
            return rest
        if kind == b"-":
            return Refused(rest)
        if kind == b":":
            return int(rest)
        if int(rest) < 0:
            return None
        if kind == b"$":
            return self.file.read(int(rest) + 2)[:-2].decode()
        return [self.read() for _ in range(int(rest))]

    def is_closed(self):
        """Whether the server has said good-bye while nothing was asked of it."""
        return bool(select.select([self.socket], [], [], 0)[0])

    def close(self):
        with contextlib.suppress(OSError):
            self.file.close()
            self.socket.close()


def slot_of(key):
    """CRC-16/XMODEM of the key, or of what stands in its first braces, modulo the number of slots."""
    tag = key.partition("{")[2].partition("}")[0] if "{" in key and "}" in key.partition("{")[2] else ""
    crc = 0
    for byte in (tag or key).encode():
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1) ^ 0x1021 if crc & 0x8000 else crc << 1
        crc &= 0xFFFF
    return crc % 16384


class ClusterClient:
    """Follows redirects as libraries do; learns the slots anew when it is redirected or a server is gone."""

    def __init__(self, seeds, passwords=("",), timeout=8):
        self.seeds = list(seeds)  # (address, port)
        self.passwords = list(passwords)  # the first that is taken counts
        self.timeout = timeout
        self.links = {}
        self.owners = {}  # slot -> (address, port)
        self.redirects = 0

    def link(self, where):
        if where not in self.links:
            for password in self.passwords:
                try:
                    self.links[where] = Link(*where, password, self.timeout)
                    break
                except Refused as refused:
                    if password == self.passwords[-1]:
                        raise OSError(f"{where}: {refused}") from refused
        return self.links[where]

    def drop(self, where):
        if where in self.links:
            self.links.pop(where).close()

    def learn(self, *first):
        for where in dict.fromkeys([*first, *self.seeds, *self.owners.values()]):
            try:
                slots = self.link(where).ask("CLUSTER", "SLOTS")
            except (OSError, Refused):
                self.drop(where)
                continue
            owners = {slot: (master[0], master[1]) for first, last, master, *_ in slots
                      for slot in range(first, last + 1)}
            if owners:
                self.owners = owners
                return
        raise ConnectionError("nobody tells the slots")

    def successor(self, slot, former):
        """Whom somebody knows to have the slot in place of this one; None: nobody does."""
        for seed in self.seeds:
            if seed == former:
                continue
            with contextlib.suppress(OSError):
                self.learn(seed)
                if self.owners.get(slot) not in (None, former):
                    return self.owners[slot]
        self.owners.clear()
        return None

    def once(self, key, *commands):
        """Asks who has the slot of `key`, following redirects; OSError or Refused where that fails."""
        slot = slot_of(key)
        where = self.owners.get(slot)
        if where in self.links and self.links[where].is_closed():
            self.drop(where)
            self.owners.clear()  # who left or was restarted may have handed over before
        if slot not in self.owners:
            self.learn()
        where, asking = self.owners.get(slot), False
        for _ in range(8):
            if where is None:
                raise Refused(f"nobody has slot {slot}")
            try:
                link = self.link(where)
                return link.all_of([("ASKING",), *commands] if asking else commands)[asking:]
            except Refused as refused:
                word, _, rest = str(refused).partition(" ")
                if rest == "Hash slot not served":  # it has heard that the former owner is one no more, and not of the new
                    self.redirects += 1
                    self.learn(*(seed for seed in self.seeds if seed != where))
                    where = self.owners.get(slot)
                    continue
                if word not in ("MOVED", "ASK"):
                    raise Refused(f"{refused} (says {where[0]}:{where[1]})") from None
                address, _, port = rest.split()[1].rpartition(":")
                where, asking = (address or where[0], int(port)), word == "ASK"
                self.redirects += 1
                if not asking:  # others may have moved along
                    self.learn(where)
                    self.owners[slot] = where
            except OSError as error:
                self.drop(where)
                self.owners.clear()
                former, where = where, None if isinstance(error, TimeoutError) else self.successor(slot, where)
                if where is None:
                    raise OSError(f"{error} ({former[0]}:{former[1]})") from error
                self.redirects += 1  # it had handed its slots over before it ended
                asking = False
        raise Refused(f"slot {slot} is redirected in circles")

    def ask(self, key, *words, seconds=20):
        """The answer to one command, tried again for so long."""
        end = time.monotonic() + seconds
        while True:
            try:
                return self.once(key, words)[0]
            except (OSError, Refused):
                if time.monotonic() > end:
                    raise
                time.sleep(0.02)  # between two tries of a cluster that is being mended

    def close(self):
        for where in list(self.links):
            self.drop(where)


class Writer(threading.Thread):
    """Sets keys of its own to rising numbers, one after the other, and notes what was acknowledged.

    `wait`: a write counts only once a replica has it, too (WAIT), so that it must outlive its master's death."""

    def __init__(self, seeds, password="", keys=60, wait=False, name="w"):
        super().__init__(daemon=True)
        self.client = ClusterClient(seeds, [password] if isinstance(password, str) else password)
        self.names = [f"{name}:{number}" for number in range(keys)]
        self.wait = wait
        self.kept = {}    # key -> the last number that was acknowledged
        self.tried = {}   # key -> the last number that was sent
        self.errors = []  # what wasn't a redirect
        self.writes = 0   # acknowledged ones
        self.began = 0.0
        self.ending = threading.Event()

    def run(self):
        number = 0
        self.began = time.monotonic()
        while not self.ending.is_set():
            number += 1
            key = self.names[number % len(self.names)]
            self.tried[key] = number
            commands = [("SET", key, number)]
            if self.wait:
                commands.append(("WAIT", 1, 1000))
            try:
                answers = self.client.once(key, *commands)
            except (OSError, Refused) as error:
                self.errors.append(f"{time.monotonic() - self.began:.3f} s: {key} of slot {slot_of(key)}: {type(error).__name__} {error}")
                self.ending.wait(0.01)  # before it tries again
                continue
            if not self.wait or answers[1] >= 1:
                self.kept[key] = number
                self.writes += 1
            self.ending.wait(0.002)  # a client's pace: tests share two cores with others

    def end(self):
        if self.is_alive():
            self.ending.set()
            self.join()
        return self

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.end()
        self.client.close()

    def lost(self):
        """The keys whose acknowledged write isn't there: an older value, or none. The writer has ended."""
        reader = ClusterClient(self.client.seeds, self.client.passwords)
        lost = {}
        for key, number in self.kept.items():
            found = int(reader.ask(key, "GET", key) or 0)
            if not number <= found <= self.tried[key]:
                lost[key] = (number, found)
        reader.close()
        return lost
