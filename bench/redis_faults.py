#!/usr/bin/python3
"""What becomes of Redis and of its users' writes when something breaks: tools/dev redis-faults [NAME…]

Each fault meets a cluster of its own on three rehearsed hosts, each with a network of its own, brought up by muster, green and
settled. While it happens, two writers write to each master's slots: one takes the answer for its acknowledgement, the other WAITs
for a replica, too. Afterwards each acknowledged write is read back. Prints a page in Markdown; how far it is goes to standard
error. Needs root: for networks that can be cut, and for disks that can be full.
"""

import argparse
import contextlib
import datetime
import http.client
import json
import os
import pathlib
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

TOP = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOP / "tests" / "integration"))
os.environ.setdefault("MUSTER_REHEARSAL_NETWORK", "namespaces")

from conftest import Muster, processes_below  # noqa: E402
from redis_client import Redis  # noqa: E402
from redis_servers import free_ports, info, nodes_of, serves, settled, slots_in, until  # noqa: E402
from redis_writer import Writers  # noqa: E402

KEY = "faults@rehearsal"
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
    """What `muster status` says, each time that it says something else."""

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
        return service["health"], tuple(service["reasons"])

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
        self.muster, self.mounted = Muster(), None
        more = ""
        if fault.clock:
            more = f"\n    program: {self.clock_program()}"
        if fault.disk:
            self.mounted = pathlib.Path(self.muster.home, "m/hosts", KEY, "h1")
            self.mounted.mkdir(parents=True, mode=0o711)
            for folder in self.mounted.parents:
                if folder == pathlib.Path(self.muster.home):
                    break
                folder.chmod(0o711)
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK},mode=0711", "tmpfs", self.mounted], check=True)
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
        if self.mounted:
            (self.mounted / "filler").unlink(missing_ok=True)
        self.muster.close()
        if self.mounted:
            subprocess.run(["umount", "-l", self.mounted], check=False, stderr=subprocess.DEVNULL)
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
        return serves(self.nodes, 3) and settled(self.nodes)

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

    def fill_disk(self):
        with open(self.mounted / "filler", "wb", buffering=0) as filler, contextlib.suppress(OSError):
            while True:
                filler.write(b"x" * 65536)

    def make_room(self):
        (self.mounted / "filler").unlink()

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
        return sum(info(*node, "replication").get("connected_slaves") == "2" for node in self.nodes) == 1

    def tell_roles(self):
        self.master = next(name for name, node in self.node.items() if info(*node, "replication")["role"] == "master")
        self.masters, self.slots = [self.master], {self.master: range(16384)}
        self.shard = [self.master, *(name for name in self.node if name != self.master)]
        self.replica = self.shard[1]


class Fault:
    """`act` breaks something; `hit` names the masters whose slots it concerns; after `watch` seconds, or once all is green again
    where that is later, `heal` undoes what doesn't end by itself."""

    def __init__(self, name, what, act, hit=lambda scene: [scene.master], heal=None, watch=4, disk=False, clock=False, recovers=True,
                 scenes=(Scene, PrimaryScene)):
        self.name, self.what, self.act, self.hit, self.heal = name, what, act, hit, heal
        self.watch, self.disk, self.clock, self.recovers, self.scenes = watch, disk, clock, recovers, scenes


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
    Fault("cut", "a master's host is cut off, healed when the rest serves", cut, hit=Scene.of_host, heal=mend, watch=20),
    Fault("wipe-master", "a master's data folder is emptied, and it dies", lambda scene: scene.wipe(scene.master)),
    Fault("wipe-replica", "a replica's data folder is emptied, and it dies", lambda scene: scene.wipe(scene.replica), hit=nobody),
    Fault("disk-full", "a master's host has its disk full, and room again later", Scene.fill_disk, hit=Scene.of_host, heal=Scene.make_room,
          watch=15, disk=True),
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
    Fault("server-and-master", "muster's server and a master are killed at once", server_and_master, heal=Scene.back, watch=8),
    Fault("agent-and-master", "a master and its host's agent are killed at once", agent_and_master, watch=8),
    Fault("all-wiped", "a master and all its replicas lose their data folders at once", lambda scene: scene.wipe(*scene.shard),
          recovers=False, watch=10),
]


def serve_again(writers, since):
    """Whether each plain writer has just been answered, after `since`."""
    now = time.monotonic()
    return all(one.acks and one.acks[-1].at > max(since, now - 0.3) for one in writers.all if not one.wait)


def play(fault, kind):
    """A row of the table."""
    with kind(fault) as scene:
        scene.up()
        hit = fault.hit(scene)
        before = scene.instances
        with Writers(scene.nodes, single=kind is PrimaryScene) as writers:
            assert writers.acknowledge(200, seconds=30), "nothing is written"
            ranges = {name: writers.of_slot(scene.slots[name][0]) for name in scene.masters}
            entries = len(audit(scene))
            watch = Watch(scene)
            until(lambda: watch.said, what="a first look")
            began = time.monotonic()
            fault.act(scene)
            came_back = wait_for(fault, writers, watch, began)
            if fault.heal:
                healed = time.monotonic()
                fault.heal(scene)
                came_back = wait_for(fault, writers, watch, healed, extra=4)
            writers.end()
            watch.end()
        writers.read_back(seconds=3 if not fault.recovers else 30)
        did = done_by_muster(scene, before, audit(scene)[entries:])
        plan = scene.muster.run("plan", scene.file, "--rehearse", code=None).returncode
        return row(fault, told_of(fault, kind), hit, ranges, writers, began, watch.said, did, came_back, plan)


def wait_for(fault, writers, watch, since, extra=None):
    """Until it has been looked at for long enough and all is well; False: it isn't, in a minute."""
    least = since + (extra or fault.watch)
    end = since + (60 if fault.recovers else 0)
    while time.monotonic() < max(least, end):
        well = serve_again(writers, since) and (watch.now() == "green" or (fault.heal and extra is None))
        if well and time.monotonic() > least:
            return True
        time.sleep(0.05)
    return False


def audit(scene):
    """The oldest first."""
    return list(reversed(scene.muster.json("audit", "--cluster", KEY, "-n", 1000)["entries"]))


def done_by_muster(scene, before, entries):
    did = [f"{one['action']} {one['detail']}" for one in entries if one["who"] == "muster"]
    for name, one in scene.muster.instances(KEY).items():
        if one["restarts"] > before[name]["restarts"]:
            did.append(f"{name} started again ({one['last_exit']})")
    return did


def milliseconds(seconds):
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def lost(writers, wait):
    unreadable = any(one.unreadable for one in writers.all if one.wait == wait)
    return f"{writers.count('lost', wait)} of {writers.count('acks', wait)}" + (" (not to be read)" if unreadable else "")


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
    end = "" if came_back == fault.recovers else " **not green after a minute**" if fault.recovers else " **green**"
    end += "" if plan == 0 or not fault.recovers else f" **`plan` exits {plan}**"
    return (f"| {what} | {own} / {other} | "
            f"{lost(writers, False)} | {lost(writers, True)} | {cell(did) or 'nothing'} | {cell(told) or 'green all the time'}{end} |")


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

Made by `tools/dev redis-faults` of commit {commit}, {when}, on {cores} cores ({load}), {system}. Anybody can make it again: it needs
root, for networks that can be cut and a disk that can be full.

Each row is a cluster of its own on three rehearsed hosts, with `appendonly yes`, `appendfsync everysec`. Two writers write to each
master's slots while it happens. *Outage*: the longest time between two acknowledged writes to the slots concerned / to all others.
*Lost*: acknowledged writes that were not there at the end, for writers that take the answer for it, and for those that `WAIT` for a
replica as well. *Said*: what `muster status` said, each colour in turn with what it gave for a reason the longest. After each row
`muster plan` had nothing to do, where it doesn't say otherwise."""
TABLE = """
## `kind: {kind}`
{of}

| what broke | outage | lost | lost with WAIT | what muster did | what it said |
|---|---|---|---|---|---|"""
OF = {Scene: "Three masters and three replicas, node timeout 5 s.", PrimaryScene: "A primary and two replicas, a lease of 3 s."}


def head():
    def of(*command):
        return subprocess.run(command, capture_output=True, text=True, cwd=TOP).stdout.strip()
    changed = ", with changes" if of("git", "status", "--porcelain", "--untracked-files=no") else ""
    system = re.search(r'PRETTY_NAME="(.*)"', pathlib.Path("/etc/os-release").read_text())[1]
    version = re.search(r"v=([0-9.]+)", of("redis-server", "--version"))[1]
    return HEAD.format(commit=of("git", "rev-parse", "--short=12", "HEAD") + changed, when=f"{datetime.date.today()}", cores=os.cpu_count(),
                       load=f"load {os.getloadavg()[0]:.1f} at its start", system=f"{system}, Linux {platform.release()}, Redis {version}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=[scene.kind for scene in OF], help="only of this kind")
    parser.add_argument("which", nargs="*", help="only these of: " + ", ".join(fault.name for fault in FAULTS))
    args = parser.parse_args()
    unknown = set(args.which) - {fault.name for fault in FAULTS}
    if unknown:
        parser.error(f"no fault is called {', '.join(sorted(unknown))}")
    if os.geteuid() != 0:
        parser.error("it needs root")
    good = True
    print(head(), flush=True)
    for kind, of in OF.items():
        if args.kind and args.kind != kind.kind:
            continue
        print(TABLE.format(kind=kind.kind, of=of), flush=True)
        for fault in FAULTS:
            if kind not in fault.scenes or (args.which and fault.name not in args.which):
                continue
            began = time.monotonic()
            try:
                line = play(fault, kind)
            except Exception as error:  # the others are told all the same
                good, line = False, f"| {told_of(fault, kind)} | **failed**: {cell([str(error)[:300]])} | | | | |"
            print(line, flush=True)
            print(f"{kind.kind} {fault.name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
