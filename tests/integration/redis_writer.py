"""Writes to a Redis Cluster while something happens to it, with an account of what was acknowledged.

For each range of slots there are two writers: one takes the answer to a write for its acknowledgement, the other WAITs for a
replica as well. Each write has a key of its own, so that one which is gone is found out.
"""

import dataclasses
import threading
import time

from redis_client import SLOTS, Cluster, Redis, Refused, key_slot, slot_tags
from redis_servers import nodes_of, slots_in

TAGS = 8  # slots of a range that are written to
READ_BACK = 500  # keys asked for at a time


@dataclasses.dataclass
class Ack:
    at: float
    key: str
    value: str
    node: tuple


class Writer(threading.Thread):
    """Writes to the slots of `tags` until told to stop. What fails is tried again with the same key, so that none is left
    out; what was WAITed for in vain counts as not acknowledged, and the next is written. A context ends it."""

    def __init__(self, name, nodes, tags, password="", wait=False, pause=0.001, timeout=0.3, wait_ms=200, single=False):
        super().__init__(name=name, daemon=True)
        self.tags, self.wait, self.pause, self.wait_ms = tags, wait, pause, wait_ms
        self.cluster = Cluster(nodes, password, timeout=timeout, single=single)
        self.ended = threading.Event()
        self.acks, self.unconfirmed, self.lost, self.unreadable = [], 0, [], False

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.end()

    def end(self):
        self.ended.set()
        if self.is_alive():
            self.join()
        return self

    def run(self):
        number = 0
        after = [["WAIT", 1, self.wait_ms]] if self.wait else ()
        while not self.ended.is_set():
            tag, value = self.tags[number % len(self.tags)], str(number)
            key = f"{self.name}:{{{tag}}}:{number}"
            try:
                answers = self.cluster.ask("SET", key, value, until=time.monotonic() + 0.5, after=after)
            except (OSError, Refused):
                continue  # noted by the client
            if not self.wait or (isinstance(answers[1], int) and answers[1] >= 1):
                self.acks.append(Ack(time.monotonic(), key, value, self.cluster.answered_by))
            else:
                self.unconfirmed += 1
            number += 1
            time.sleep(self.pause)  # leaves the machine to those that are measured
        self.cluster.close()

    @property
    def problems(self):
        """(when, text) of all that a client had to deal with but redirects; the same twice in a row counts once."""
        return self.cluster.errors

    def longest_gap(self, since=0.0, until=None):
        """Seconds between two acknowledged writes, of which the second came after `since`; `until`: when writing ended."""
        times = [ack.at for ack in self.acks]
        if not times:
            return (until or time.monotonic()) - since
        gaps = [later - earlier for earlier, later in zip(times, times[1:]) if later > since]
        if until:
            gaps.append(until - times[-1])
        return max(gaps, default=0.0)

    def first_after(self, moment, not_by=None):
        """Seconds from `moment` to the first write acknowledged after it by another node than `not_by`; None: there is none."""
        return next((ack.at - moment for ack in acknowledged_after(self.acks, moment) if ack.node != not_by), None)


    def read_back(self, seconds=30):
        """Looks for each acknowledged write; what isn't there, or is another value, is `lost`, and returned. Where nobody has an
        answer for `seconds`, all that wasn't looked at counts as lost, and the writer as `unreadable`."""
        with Cluster(self.cluster.nodes, timeout=2, single=self.cluster.single) as reader:
            reader.passwords = self.cluster.passwords
            self.lost, self.unreadable = lost_of(reader, self.acks, seconds)
        return self.lost


def spread_tags(count):
    """Tags of `count` slots, evenly among all."""
    return [slot_tags()[SLOTS * number // count] for number in range(count)]


def acknowledged_after(acks, moment):
    """In their order; there are few of them and many before."""
    first = len(acks)
    while first > 0 and acks[first - 1].at > moment:
        first -= 1
    return acks[first:]


class Writers:
    """All writers of a cluster, or of a primary and its replicas."""

    def __init__(self, nodes, password="", with_wait=True, name="w", single=False, **more):
        """`nodes`: (host, port) of all. Ranges are those of the masters of now; where it is `single` one, of all slots."""
        self.nodes, self.password, self.single = nodes, password, single
        owned = [["0-16383"]] if single else [one["slots"] for one in answer_of_any(nodes, password).values() if one["slots"]]
        self.ranges, self.all = {}, []
        for ranges in sorted(owned, key=lambda one: slots_in(one)[0]):
            slots, label = slots_in(ranges), ",".join(ranges)
            tags = [slot_tags()[slots[len(slots) * i // TAGS]] for i in range(TAGS)]
            kinds = [Writer(f"{name}{slots[0]}{'w' if wait else 'p'}", nodes, tags, password, wait=wait, single=single, **more)
                     for wait in ((False, True) if with_wait else (False,))]
            self.ranges[label] = kinds
            self.all += kinds
        for one in self.all:
            one.start()
        self.ended_at = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def of_slot(self, slot):
        """The writers (plain, waiting) of the range that has `slot`."""
        return next(kinds for label, kinds in self.ranges.items() if slot in slots_in(label.split(",")))

    def acknowledge(self, count=20, seconds=10):
        """Waits until each of them has had `count` more writes acknowledged."""
        goals = {one: len(one.acks) + count for one in self.all}
        end = time.monotonic() + seconds
        while any(len(one.acks) < goal for one, goal in goals.items()):
            if time.monotonic() > end:
                return False
            time.sleep(0.005)
        return True

    def end(self):
        """Stops them all; when they have ended is `ended_at`."""
        if self.ended_at is None:
            self.ended_at = time.monotonic()
            for one in self.all:
                one.ended.set()
        for one in self.all:
            one.join()
        return self

    def read_back(self, seconds=30):
        for one in self.all:
            one.read_back(seconds)
        return self

    def connections(self, since=0.0):
        """(reset, refused, other errors): texts of what clients met since then beside redirects, each with its writer's name."""
        def of(noted):
            return [f"{one.name}: {text}" for one in self.all for when, text in noted(one.cluster) if when > since]
        return of(lambda client: client.resets), of(lambda client: client.refused), of(lambda client: client.other_errors())

    def count(self, what, wait):
        """Numbers of all writers of a kind: of "acks", "lost"."""
        return sum(len(getattr(one, what)) for one in self.all if one.wait == wait)


def lost_of(cluster, acks, seconds):
    by_slot = {}
    for ack in acks:
        by_slot.setdefault(key_slot(ack.key), []).append(ack)
    parts = [of_slot[begin:begin + READ_BACK] for of_slot in by_slot.values() for begin in range(0, len(of_slot), READ_BACK)]
    lost = []
    for number, part in enumerate(parts):
        try:
            answers = cluster.ask("GET", part[0].key, until=time.monotonic() + seconds, after=[["GET", ack.key] for ack in part[1:]])
            answers = answers if len(part) > 1 else [answers]
            for at, (ack, answer) in enumerate(zip(part, answers)):
                if isinstance(answer, Refused):  # it moved meanwhile
                    answers[at] = cluster.ask("GET", ack.key, until=time.monotonic() + seconds)
        except (OSError, Refused):
            return lost + [ack for left in parts[number:] for ack in left], True
        lost += [ack for ack, answer in zip(part, answers) if answer != ack.value]
    return lost, False


def answer_of_any(nodes, password=""):
    problem = None
    for host, port in nodes:
        try:
            return nodes_of(host, port, password)
        except (OSError, Refused) as error:
            problem = error
    raise problem


def fill(nodes, count, password="", size=32, name="k"):
    """`count` keys over all slots, as fast as pipelining goes."""
    view = answer_of_any(nodes, password)
    tags, value = slot_tags(), "x" * size
    for master in (one for one in view.values() if one["slots"]):
        slots = slots_in(master["slots"])
        with Redis(master["host"], master["port"], password, timeout=60) as redis:
            mine = [number for slot in slots for number in range(slot, count, SLOTS)]
            for begin in range(0, len(mine), 10000):
                commands = [("SET", f"{name}:{{{tags[number % SLOTS]}}}:{number}", value) for number in mine[begin:begin + 10000]]
                bad = [answer for answer in redis.pipeline(commands) if isinstance(answer, Refused)]
                if bad:
                    raise bad[0]


def keys_in(nodes, password=""):
    """Of all masters together."""
    total = 0
    for master in (one for one in answer_of_any(nodes, password).values() if one["slots"]):
        with Redis(master["host"], master["port"], password) as redis:
            total += redis.ask("DBSIZE")
    return total
