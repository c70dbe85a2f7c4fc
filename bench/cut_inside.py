"""What clients see that are cut off together with the master that they write to: a row of redis_faults.py's table."""

import contextlib
import dataclasses
import threading
import time

from redis_client import Cluster, Redis, Refused, slot_tags
from redis_inside import client_inside
from redis_servers import until
from redis_writer import Ack, lost_of

BAD = ("**two took", "**lost")  # what a row must not end with
# What to expect, by kind.
EXPECTED = {
    "redis": "a primary goes on for as long as its lease (3 s), and is read-only before another is promoted; what it took alone is lost "
             "then: only what `WAIT` confirmed is certain",
    "redis-cluster": "Redis' own way, in which muster has no hand: a master that misses the others takes writes for `node_timeout` (5 s), "
                     "at most half of that longer; what it took alone is lost: only what `WAIT` confirmed is certain",
}


class FirstMaster(threading.Thread):
    """Which of some members first says that it is a master, and when: `who`, `at`."""

    def __init__(self, node):
        """`node`: (host, port) by name."""
        super().__init__(daemon=True)
        self.node, self.who, self.at, self.ended = node, None, None, threading.Event()

    def run(self):
        with contextlib.ExitStack() as stack:
            links = {}
            while not self.ended.wait(0.003):
                for name, node in self.node.items():
                    try:
                        if name not in links:
                            links[name] = stack.enter_context(Redis(*node, timeout=0.5))
                        role = links[name].ask("ROLE")[0]
                    except (OSError, Refused):
                        links.pop(name, None)
                        continue
                    if role == "master":
                        self.who, self.at = name, time.monotonic()
                        return

    def end(self):
        self.ended.set()
        self.join()


class Inside:
    """Two writers on the host of `scene.master`, which write to that one alone: one takes the answer for its acknowledgement, the
    other WAITs for a replica, too. And who takes its place meanwhile. A context ends them; then `read_back`."""

    def __init__(self, scene):
        self.scene, self.stack = scene, contextlib.ExitStack()
        self.tries, self.lost = {}, {}
        others = [name for name in scene.shard if scene.instances[name]["host"] != scene.host]
        self.heirs = FirstMaster({name: scene.node[name] for name in others})

    def __enter__(self):
        member, tag = self.scene.instances[self.scene.master], slot_tags()[self.scene.slots[self.scene.master][0]]
        with contextlib.ExitStack() as stack:
            for kind in ("plain", "wait"):
                self.tries[kind] = stack.enter_context(client_inside(
                    member, f"inside-{kind}:{{{tag}}}", self.scene.muster.folder / f"inside-{kind}.log", wait=kind == "wait"))
            until(lambda: all(len(taken(tries())) > 50 for tries in self.tries.values()), what="writes inside of the host")
            self.heirs.start()
            stack.callback(self.heirs.end)
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        """What they met is kept."""
        self.stack.close()
        self.tries = {kind: tries() for kind, tries in self.tries.items()}

    def read_back(self, single):
        """Each acknowledged write is looked for, from outside."""
        for kind, tries in self.tries.items():
            acks = [Ack(when, key, key.rpartition(":")[2], None) for when, key, answer in tries if answer == "taken"]
            with Cluster(self.scene.nodes, timeout=2, single=single) as reader:
                self.lost[kind] = lost_of(reader, acks, 30)[0]

    def row(self, began, cut):
        """`began`: when the cut was asked for; `cut`: when it was there."""
        return row(self.scene.kind, told(self.scene.master, began, cut, self.tries, self.lost, (self.heirs.who, self.heirs.at)))


def taken(tries):
    return [when for when, _, answer in tries if answer == "taken"]


@dataclasses.dataclass
class Told:
    """Seconds since the cut was asked for, and numbers of writes: (while it was there, before it was asked for, all)."""
    master: str
    heir: str  # None: nobody took its place
    heir_at: float
    last: float  # the last write that it took; negative: none after the cut
    refused_at: float  # None: never
    refusal: str
    acks: dict
    lost: dict

    @property
    def two_at_once(self):
        return self.heir is not None and (self.refused_at is None or self.heir_at <= self.refused_at or self.heir_at <= self.last)


def told(master, began, cut, tries, lost, heir):
    """`tries`: what came of each, and `lost`, acknowledged writes that aren't there, of the writers "plain" and "wait"."""
    def split(moments):
        return sum(when > cut for when in moments), sum(when <= began for when in moments), len(moments)
    after = [(when - began, answer) for when, _, answer in tries["plain"] if when > began]
    refused_at, refusal = next(((when, answer) for when, answer in after if answer != "taken"), (None, None))
    return Told(master, heir[0], heir[1] and heir[1] - began, max(taken(tries["plain"]), default=began) - began, refused_at, refusal,
                {kind: split(taken(of)) for kind, of in tries.items()},
                {kind: split([ack.at for ack in lost[kind]]) for kind in tries})


def row(kind, seen):
    def counts(writer):
        (acks, _, acks_all), (lost, _, lost_all) = seen.acks[writer], seen.lost[writer]
        return f"{lost_all} of {acks_all} (since the cut {lost} of {acks})"
    role = "primary" if kind == "redis" else "master"
    went_on = f"{seen.master} took writes for {seen.last:.1f} s more" if seen.last > 0 else f"{seen.master} took no write any more"
    went_on += f", then {seen.refusal}" if seen.refused_at is not None else ", and never refused one"
    if seen.heir is None:
        other = "nobody took its place"
    elif seen.two_at_once:
        other = (f"{seen.heir} was {role} {seen.heir_at:.1f} s after the cut, and {seen.master} took writes beside it"
                 + (f" for {max(seen.last, seen.refused_at) - seen.heir_at:.1f} s" if seen.refused_at is not None else ""))
    else:
        other = (f"{seen.heir} was {role} {seen.heir_at:.1f} s after the cut, {seen.heir_at - seen.refused_at:.1f} s after {seen.master} "
                 "refused writes")
    end = " **two took writes at once**" if kind == "redis" and seen.two_at_once else ""
    end += " **lost what was confirmed**" if seen.lost["wait"][2] else ""
    end += " **lost what was acknowledged before the cut**" if seen.lost["plain"][1] else ""
    return (f"| a {role}'s host is cut off, a writer inside of the cut | {went_on} | {counts('plain')} | {counts('wait')} | – | {other} | "
            f"{EXPECTED[kind]}{end} |").replace("| a primary's", "| the primary's")
