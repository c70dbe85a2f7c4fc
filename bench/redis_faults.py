#!/usr/bin/python3
"""What becomes of Redis and of its users' writes when something breaks: tools/dev redis-faults [NAME…]

Each fault meets a cluster of its own on three rehearsed hosts, each with a network of its own, brought up by muster, green and
settled. While it happens, two writers write to each master's slots: one takes the answer for its acknowledgement, the other WAITs
for a replica, too; where a host is cut off, two more are cut off along with it. Afterwards each acknowledged write is read back.
Prints a page in Markdown; how far it is goes to standard error. With names only those, and no report. Needs root: for networks that
can be cut, and for disks that can be full.
"""

import argparse
import contextlib
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

TOP = pathlib.Path(__file__).resolve().parents[1]
REPORT = TOP / "docs" / "reports" / "redis-faults.md"
sys.path.insert(0, str(TOP / "tests" / "integration"))
os.environ.setdefault("MUSTER_REHEARSAL_NETWORK", "namespaces")

import cut_inside  # noqa: E402
from conftest import Muster, processes_below  # noqa: E402
from redis_bench import machine  # noqa: E402
from redis_client import Redis, Refused  # noqa: E402
from redis_servers import free_ports, info, nodes_of, serves, settled, slots_in, until  # noqa: E402
from redis_writer import Writers  # noqa: E402
from small_disk import SmallDisk  # noqa: E402

BAD = ("**failed", "**not whole", "**green**", "**`plan`", *cut_inside.BAD)  # what a row must not end with
KEY = "faults@rehearsal"
AFTERWARDS = 200  # writes of each writer, once all is as it is to stay
SMALL_DISK = "96m"
# Steps the clock of whoever it is preloaded to by the seconds in the file that CLOCK_STEP names.
CLOCK = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static long none;
static volatile long* step = &none;
__attribute__((constructor)) static void begin(void) {
  int fd = open(getenv("CLOCK_STEP"), O_RDONLY | O_CLOEXEC);
  void* seen = mmap(0, sizeof *step, PROT_READ, MAP_SHARED, fd, 0);
  if (seen == MAP_FAILED) _exit(9);
  step = seen;
  close(fd);
}
int clock_gettime(clockid_t clock, struct timespec* now) {
  int status = syscall(SYS_clock_gettime, clock, now);
  if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) now->tv_sec += *step;
  return status;
}
int gettimeofday(struct timeval* now, void* zone) {
  struct timespec exact;
  clock_gettime(CLOCK_REALTIME, &exact);
  now->tv_sec = exact.tv_sec;
  now->tv_usec = exact.tv_nsec / 1000;
  return (void)zone, 0;
}
time_t time(time_t* at) {
  struct timespec exact;
  clock_gettime(CLOCK_REALTIME, &exact);
  if (at) *at = exact.tv_sec;
  return exact.tv_sec;
}
"""
PROGRAM = """#!/bin/sh
export CLOCK_STEP="{folder}/step.$(basename "$(dirname "$1")")" LD_PRELOAD="{folder}/clock.so"
exec redis-server "$@"
"""


class Local(http.client.HTTPConnection):
    """HTTP over the server's Unix socket: a command would start a server where none is."""

    def __init__(self, path):
        super().__init__("muster", timeout=5)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(5)
        self.sock.connect(self.path)


class Watch(threading.Thread):
    """What `muster status` says, each time that it says something else: "settling" where all is green, and not yet as it is to
    stay."""

    def __init__(self, scene):
        super().__init__(daemon=True)
        self.scene, self.said, self.ended = scene, [], threading.Event()
        self.start()

    def look(self):
        try:
            with contextlib.closing(Local(self.scene.muster.home + "/m/server/api.sock")) as connection:
                connection.request("GET", "/v1/clusters/" + KEY)
                status = json.loads(connection.getresponse().read())
        except (OSError, ValueError, http.client.HTTPException):
            return "no server", ()
        service = next(one for one in status["services"] if one["name"] == "cache")
        silent = tuple(f"{host['name']} is not heard" for host in status["hosts"] if not host["connected"])
        settling = service["health"] == "green" and (service["unsettled"] or silent)
        reasons = tuple(service["unsettled"]) if settling else tuple(service["reasons"])
        return ("settling" if settling else service["health"]), reasons + silent

    def run(self):
        while not self.ended.wait(0.03):
            now = self.look()
            if not self.said or self.said[-1][1:] != now:
                self.said.append((time.monotonic(), *now))

    def now(self):
        return self.said[-1][1] if self.said else ""

    def end(self):
        self.ended.set()
        self.join()


class Scene:
    """A Redis Cluster to break something in: three masters and three replicas."""

    kind, members, settings = "redis-cluster", 6, "masters: 3\n    replicas: 1\n    node_timeout: 5s"

    def __init__(self, fault):
        self.muster, self.disk = Muster(), None
        more = ""
        if fault.clock:
            more = f"\n    program: {self.clock_program()}"
        if fault.disk:
            self.disk = SmallDisk(self.muster, "m/hosts", KEY, "h1", size=SMALL_DISK)
        self.file = self.muster.file(f"""
cluster: faults
hosts:
  h1: {{ address: 10.0.0.1 }}
  h2: {{ address: 10.0.0.2 }}
  h3: {{ address: 10.0.0.3 }}
services:
  cache:
    kind: {self.kind}
    port: {free_ports(self.members)}
    {self.settings}{more}
""")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if not self.disk:
            self.muster.close()
        else:
            self.disk.close()
            shutil.rmtree(self.muster.home, ignore_errors=True)

    def clock_program(self):
        folder = self.muster.folder
        (folder / "clock.c").write_text(CLOCK)
        subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", folder / "clock.so", folder / "clock.c"], check=True)
        for number in range(1, self.members + 1):
            (folder / f"step.cache-{number}").write_bytes(bytes(8))
        program = folder / "redis-server-with-a-clock"
        program.write_text(PROGRAM.format(folder=folder))
        program.chmod(0o755)
        return program

    def up(self):
        self.muster.run("up", self.file, "--rehearse", timeout=120)
        self.look()
        until(self.whole, seconds=60, pause=0.05, what="all to be whole")
        until(lambda: self.muster.status(KEY)["health"] == "green", what="green")
        self.look()
        self.tell_roles()
        self.host = self.instances[self.master]["host"]

    def look(self):
        self.instances = self.muster.instances(KEY)
        self.node = {name: (one["address"], one["ports"]["port"]) for name, one in self.instances.items()}
        self.nodes = list(self.node.values())

    def whole(self):
        """By its members' own word: whoever was a master is back as a replica that is linked, and all see the same."""
        roles = [info(*node, "replication") for node in self.nodes]
        linked = sum(one["role"] == "slave" and one["master_link_status"] == "up" for one in roles)
        return linked == 3 and serves(self.nodes, 3) and settled(self.nodes)

    def is_whole(self):
        """The same; a member that doesn't answer isn't."""
        try:
            return self.whole()
        except (OSError, Refused):
            return False

    def tell_roles(self):
        """Names by their part in the story: whose slots, `master` and `replica` to break, all of that `shard`."""
        name_of = {node: name for name, node in self.node.items()}
        view = nodes_of(*self.nodes[0])
        at = {identity: name_of[(one["host"], one["port"])] for identity, one in view.items() if (one["host"], one["port"]) in name_of}
        self.slots = {at[identity]: slots_in(one["slots"]) for identity, one in view.items() if one["slots"]}
        self.masters = sorted(self.slots, key=lambda name: self.slots[name][0])
        replica_of = {at[one["master"]]: at[identity] for identity, one in view.items() if one["master"]}
        # On h1, which is the host that things happen to.
        self.master = next((name for name in self.masters if self.instances[name]["host"] == "h1"), self.masters[0])
        self.replica = replica_of[self.master]
        self.shard = [self.master, self.replica]

    # What can be done to it

    def send(self, name, number=signal.SIGKILL):
        os.kill(self.instances[name]["pid"], number)

    def wipe(self, *names):
        """A disk that lost all, under a server that dies of it."""
        for name in names:
            folder = next(pathlib.Path(self.muster.home).glob(f"m/hosts/*/*/instances/{name}/data"))
            self.send(name, signal.SIGSTOP)
            for path in folder.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        for name in names:
            self.send(name)

    def kill_server(self):
        os.kill(next(pid for pid, command in processes_below(self.muster.home).items() if " server run" in command), signal.SIGKILL)

    def kill_agent(self, number=signal.SIGKILL):
        os.kill(next(pid for pid, command in processes_below(self.muster.home).items()
                     if " agent run " in command and f"--host {self.host} " in command + " "), number)

    def back(self):
        """The next command starts a server."""
        self.muster.run("status", code=None)

    def step_clock(self, seconds):
        for name, one in self.instances.items():
            if one["host"] == self.host:
                with open(self.muster.folder / f"step.{name}", "r+b") as file:
                    file.write(int(seconds).to_bytes(8, "little", signed=True))
        with Redis(*self.node[self.master]) as redis:
            off = int(redis.ask("TIME")[0]) - time.time()
        assert abs(off - seconds) < 5, f"its clock is off by {off:.0f} s"

    def of_host(self):
        return [name for name in self.masters if self.instances[name]["host"] == self.host]


class PrimaryScene(Scene):
    """A primary and two replicas."""

    kind, members, settings = "redis", 3, "replicas: 2\n    prefer: h1"

    def whole(self):
        roles = [info(*node, "replication") for node in self.nodes]
        linked = sum(one["role"] == "slave" and one["master_link_status"] == "up" for one in roles)
        return linked == 2 and sum(one["role"] == "master" and one["connected_slaves"] == "2" for one in roles) == 1

    def tell_roles(self):
        self.master = next(name for name, node in self.node.items() if info(*node, "replication")["role"] == "master")
        self.masters, self.slots = [self.master], {self.master: range(16384)}
        self.shard = [self.master, *(name for name in self.node if name != self.master)]
        self.replica = self.shard[1]


class Fault:
    """`act` breaks something; `hit` names the masters whose slots it concerns; after `watch` seconds, or once all is green again
    where that is later (and who is to mend it is there, `patient`), `heal` undoes what doesn't end by itself. `inside`: with a row
    for clients on that host."""

    def __init__(self, name, what, act, hit=lambda scene: [scene.master], heal=None, watch=4, disk=False, clock=False, recovers=True,
                 patient=True, inside=False, scenes=(Scene, PrimaryScene)):
        self.name, self.what, self.act, self.hit, self.heal = name, what, act, hit, heal
        self.watch, self.disk, self.clock, self.recovers, self.patient, self.scenes = watch, disk, clock, recovers, patient, scenes
        self.inside = inside


def two_masters(scene):
    for name in scene.masters[:2]:
        scene.send(name)


def a_shard(scene, most=None):
    for name in scene.shard[:most]:
        scene.send(name)


def server_and_master(scene):
    scene.kill_server()
    scene.send(scene.master)


def agent_and_master(scene):
    scene.kill_agent()
    scene.send(scene.master)


def nobody(_scene):
    return []


def cut(scene):
    scene.muster.run("host", "cut", scene.host, "--cluster", KEY)


def mend(scene):
    scene.muster.run("host", "heal", scene.host, "--cluster", KEY)


FAULTS = [
    Fault("kill-master", "a master is killed (-9)", lambda scene: scene.send(scene.master)),
    Fault("kill-replica", "a replica is killed (-9)", lambda scene: scene.send(scene.replica), hit=nobody),
    Fault("freeze-master", "a master is frozen (SIGSTOP)", lambda scene: scene.send(scene.master, signal.SIGSTOP), watch=8),
    Fault("freeze-replica", "a replica is frozen (SIGSTOP)", lambda scene: scene.send(scene.replica, signal.SIGSTOP), hit=nobody, watch=8),
    Fault("cut", "a master's host is cut off, healed when the rest serves", cut, hit=Scene.of_host, heal=mend, watch=20,
          inside=True),
    Fault("wipe-master", "a master's data folder is emptied, and it dies", lambda scene: scene.wipe(scene.master)),
    Fault("wipe-replica", "a replica's data folder is emptied, and it dies", lambda scene: scene.wipe(scene.replica), hit=nobody),
    Fault("disk-full", "a master's host has its disk full, and room again later", lambda scene: scene.disk.fill(), hit=Scene.of_host,
          heal=lambda scene: scene.disk.make_room(), watch=15, disk=True),
    Fault("clock-forth", "the clock of a host's members jumps an hour ahead", lambda scene: scene.step_clock(3600), hit=Scene.of_host,
          watch=15, clock=True),
    Fault("clock-back", "the clock of a host's members jumps an hour back", lambda scene: scene.step_clock(-3600), hit=Scene.of_host,
          watch=15, clock=True),
    Fault("server-gone", "muster's server is killed, and started after a while", Scene.kill_server, hit=nobody, heal=Scene.back),
    Fault("agent-gone", "the agent of a master's host is killed", Scene.kill_agent, hit=nobody),
    Fault("agent-frozen", "the agent of a master's host is frozen", lambda scene: scene.kill_agent(signal.SIGSTOP), hit=nobody, watch=15),
    Fault("two-masters", "two of three masters are killed at once", two_masters, hit=lambda scene: scene.masters[:2],
          scenes=(Scene,)),
    Fault("master-and-replica", "a master and a replica of it are killed at once", lambda scene: a_shard(scene, 2)),
    Fault("all", "the primary and both replicas are killed at once", a_shard, scenes=(PrimaryScene,)),
    Fault("server-and-master", "muster's server and a master are killed at once", server_and_master, heal=Scene.back, watch=8,
          patient=False),
    Fault("agent-and-master", "a master and its host's agent are killed at once", agent_and_master, watch=8),
    Fault("all-wiped", "a master and all its replicas lose their data folders at once", lambda scene: scene.wipe(*scene.shard),
          recovers=False, watch=10),
]


def serve_again(writers, since):
    """Whether each plain writer has just been answered, after `since`."""
    now = time.monotonic()
    return all(one.acks and one.acks[-1].at > max(since, now - 0.3) for one in writers.all if not one.wait)


def play(fault, kind):
    """The rows of the table. Writers go on until the outage is over and whoever was cut off, gone or replaced is back in its place,
    and then some: what two masters took side by side is lost when one of them gives way, not before. Only then is it counted."""
    with kind(fault) as scene:
        scene.up()
        hit = fault.hit(scene)
        before, programs = scene.instances, own_programs(scene)
        single = kind is PrimaryScene
        with Writers(scene.nodes, single=single) as writers, cut_inside.Inside(scene) if fault.inside else contextlib.nullcontext() as inside:
            assert writers.acknowledge(200, seconds=30), "nothing is written"
            ranges = {name: writers.of_slot(scene.slots[name][0]) for name in scene.masters}
            entries = len(audit(scene))
            watch = Watch(scene)
            until(lambda: watch.said, what="a first look")
            began = time.monotonic()
            fault.act(scene)
            broken = time.monotonic()
            came_back = wait_for(fault, writers, watch, began)
            if fault.heal:
                healed = time.monotonic()
                fault.heal(scene)
                came_back = wait_for(fault, writers, watch, healed, extra=4)
            whole = not fault.recovers or wait_for_all(scene, writers, watch)
            writers.end()
            watch.end()
        writers.read_back(seconds=3 if not fault.recovers else 30)
        if inside:
            inside.read_back(single)
        did = done_by_muster(scene, before, programs, audit(scene)[entries:])
        plan = scene.muster.run("plan", scene.file, "--rehearse", code=None).returncode
        line = row(fault, told_of(fault, kind), hit, ranges, writers, began, watch.said, did, came_back and whole, plan)
        return [line, inside.row(began, broken)] if inside else [line]


def wait_for(fault, writers, watch, since, extra=None):
    """Until it has been looked at for long enough and all is well; False: it isn't, in a minute."""
    least = since + (extra or fault.watch)
    end = since + (60 if fault.recovers and (fault.patient or extra) else 0)
    while True:
        over = time.monotonic() >= max(least, end)
        well = serve_again(writers, since) and (watch.now() == "green" or (fault.heal and extra is None))
        if well and time.monotonic() > least:
            return True
        if over:
            return False
        time.sleep(0.05)


def wait_for_all(scene, writers, watch):
    """Until each member has its place again, as it and muster say, and all writers have gone on after that; False: they haven't in
    two minutes."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if watch.now() == "green" and scene.is_whole():
            return writers.acknowledge(AFTERWARDS, seconds=30)
        time.sleep(0.1)
    return False


def own_programs(scene):
    """pids of muster's own: "server", and each agent by its host."""
    found = {}
    for pid, command in processes_below(scene.muster.home).items():
        agent = re.search(r" agent run .*--host (\S+)", command)
        if agent:
            found["the agent of " + agent[1]] = pid
        elif " server run" in command:
            found["the server"] = pid
    return found


def part_of(one):
    """What an instance is, in a word."""
    return "a replica" if one["facts"].get("role") in ("slave", "replica") else "master" if one["facts"].get("role") == "master" \
        else one["facts"].get("role", "nothing")


def audit(scene):
    """The oldest first."""
    return list(reversed(scene.muster.json("audit", "--cluster", KEY, "-n", 1000)["entries"]))


def done_by_muster(scene, before, programs, entries):
    """From its audit, and from what is another now than it was."""
    did = [f"{one['action']} {one['detail']}" for one in entries if one["who"] == "muster"]
    for name, one in scene.muster.instances(KEY).items():
        if one["restarts"] > before[name]["restarts"]:
            did.append(f"{name} started again ({one['last_exit']})")
        if part_of(one) != part_of(before[name]):
            did.append(f"{name}: was {part_of(before[name])}, is {part_of(one)}")
    now = own_programs(scene)
    did += [f"{name} runs again" for name, pid in programs.items() if now.get(name, pid) != pid]
    did += [f"{name} is gone" for name in programs if name not in now]
    return did


def milliseconds(seconds):
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def lost(writers, wait):
    unreadable = any(one.unreadable for one in writers.all if one.wait == wait)
    return f"{writers.count('lost', wait)} of {writers.count('acks', wait)}" + (" (not to be read)" if unreadable else "")


def met(writers, since):
    """What all clients together met beside redirects."""
    resets, refused, others = map(len, writers.connections(since))
    return f"{resets} / {refused} / {others}"


def told_of(fault, kind):
    return fault.what.replace("a master", "the primary") if kind is PrimaryScene else fault.what


def row(fault, what, hit, ranges, writers, began, said, did, came_back, plan):
    def gap(names):
        return max((ranges[name][0].longest_gap(began, writers.ended_at) for name in names), default=None)
    own, other = (milliseconds(seconds) if seconds is not None else "–"
                  for seconds in (gap(hit), gap([name for name in ranges if name not in hit])))
    if not fault.recovers:
        own = "for good"
    told = phases(said)
    end = "" if came_back == fault.recovers else " **not whole again in time**" if fault.recovers else " **green**"
    end += "" if plan == 0 or not fault.recovers else f" **`plan` exits {plan}**"
    end += " **lost what was confirmed**" if fault.recovers and writers.count("lost", True) else ""
    return (f"| {what} | {own} / {other} | "
            f"{lost(writers, False)} | {lost(writers, True)} | {met(writers, began)} | {cell(did) or 'nothing'} | {cell(told) or 'green all the time'}{end} |")


def phases(said):
    """One line for each colour in turn, with what was said the longest while it was so."""
    lines, at = [], 1
    while at < len(said):
        health, begin, longest = said[at][1], said[at][0], {}
        while at < len(said) and said[at][1] == health:
            end = said[at + 1][0] if at + 1 < len(said) else said[at][0]
            longest[said[at][2]] = longest.get(said[at][2], 0) + end - said[at][0]
            at += 1
        reasons = max(longest, key=longest.get)
        took = f" for {milliseconds(said[at][0] - begin)}" if at < len(said) else ""
        lines.append(f"{health}{took}" + (": " + "; ".join(reasons) if reasons else ""))
    return lines


def cell(lines):
    return "<br>".join(line.replace("|", "\\|").replace("\n", " ") for line in lines)


HEAD = """# What becomes of Redis when something breaks

Made by `tools/dev redis-faults` of {made}.
Anybody can make it again: it needs root, for networks that can be cut and a disk that can be full.

Each row is a cluster of its own on three rehearsed hosts, with `appendonly yes`, `appendfsync everysec`. Two writers write to each
master's slots while it happens. *Outage*: the longest time between two acknowledged writes to the slots concerned / to all others.
*Lost*: acknowledged writes that were not there at the end, for writers that take the answer for it, and for those that `WAIT` for a
replica as well. *Reset / refused / other*: connections that ended while a write was under way, that nobody took, and all other
errors that clients met beside redirects, of which the same twice in a row counts once. Writers go on until whoever was master is
back as a replica and all is settled, and for {afterwards} writes each after that; what was lost is counted then. *Said*: what `muster status` said, each
colour in turn with what it gave for a reason the longest. After each row `muster plan` had nothing to do, where it doesn't say
otherwise.

*A writer inside of the cut* stands on the host that is cut off, and writes to the master there alone, with keys of its own; another
one `WAIT`s for a replica. That row tells, of the same cut as the row above it, how long writes were acknowledged to them since the cut
was asked for, which of them were not there after the healing, and when another member said for the first time that it is master, asked
every few milliseconds.

*The clock* that jumps is the time of day as the Redis processes of that host see it; that of the kernel, and so of muster's agent there,
can't be stepped for one host of several on a machine."""
TABLE = """
## `kind: {kind}`
{of}

| what broke | outage | lost | lost with WAIT | reset / refused / other | what muster did | what it said |
|---|---|---|---|---|---|---|"""
UNFINISHED = "\n**Not finished: the run that writes this is under way, or has been ended.**\n"
OF = {Scene: "Three masters and three replicas, node timeout 5 s.", PrimaryScene: "A primary and two replicas, a lease of 3 s."}


def head():
    return HEAD.format(afterwards=AFTERWARDS, made=machine())


class Page:
    """What is printed; and where there is to be a report, that too, as far as it is, which it says until it has `ended`."""

    def __init__(self, report):
        self.report, self.lines = report, []

    def add(self, text):
        print(text, flush=True)
        self.lines.append(text)
        self.write(UNFINISHED)

    def write(self, end=""):
        if self.report:
            REPORT.write_text("\n".join(self.lines) + "\n" + end)

    def ended(self):
        self.write()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=[scene.kind for scene in OF], help="only of this kind")
    parser.add_argument("--report", action="store_true", help=f"write {REPORT.relative_to(TOP)} as well")
    parser.add_argument("which", nargs="*", help="only these of: " + ", ".join(fault.name for fault in FAULTS))
    args = parser.parse_args()
    unknown = set(args.which) - {fault.name for fault in FAULTS}
    if unknown:
        parser.error(f"no fault is called {', '.join(sorted(unknown))}")
    if os.geteuid() != 0:
        parser.error("it needs root")
    if args.report and (args.which or args.kind):
        parser.error("a report is of all: without names, and without --kind")
    good = True
    page = Page(args.report)
    page.add(head())
    for kind, of in OF.items():
        if args.kind and args.kind != kind.kind:
            continue
        page.add(TABLE.format(kind=kind.kind, of=of))
        for fault in FAULTS:
            if kind not in fault.scenes or (args.which and fault.name not in args.which):
                continue
            began = time.monotonic()
            try:
                lines = play(fault, kind)
            except Exception as error:  # the others are told all the same
                lines = [f"| {told_of(fault, kind)} | **failed**: {cell([str(error)[:300]])} | | | | | |"]
            page.add("\n".join(lines))
            good = good and not any(mark in line for line in lines for mark in BAD)
            print(f"{kind.kind} {fault.name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    page.ended()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
