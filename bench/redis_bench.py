"""What muster does with a Redis Cluster, beside redis-cli and Redis left alone: bench/run redis [a b c d] [--report]

  a  3+3 from nothing to green, against redis-server x6 and redis-cli --cluster create
     bound: ratio at most 0.35
  b  kill -9 of a master to the first write accepted on its slots, against Redis alone
     bounds: median below 0.15 s; of the writes that a replica had confirmed (WAIT 1) none lost, read back once all is well. Of
     those that were only answered some may be: Redis passes them on afterwards. They are counted on both sides
  c  all three masters handed over and restarted under writers
     bounds: no error but redirects; no acknowledged write lost
  d  a fourth master for 1,000,000 keys until slots are even, against redis-cli --cluster rebalance alone
     bound: ratio at most 1.0, the median of three pairs, of which each begins with the side that the one before ended with

Both sides run the same redis.conf, which is muster's, alternate in one run, and are looked at by the same client. Green:
cluster_state is ok on all six, the replicas' links are up, a write is accepted in each range. Settled: all six see the same.
All four take about five minutes.
"""

import argparse
import contextlib
import datetime
import io
import os
import pathlib
import platform
import re
import signal
import statistics
import subprocess
import sys
import time

from conftest import Muster
from redis_client import Cluster, Redis, Refused, slot_tags
from redis_servers import Servers, by_hand, free_ports, nodes_of, serves, settled, slots_in, until
from redis_writer import Writers, fill, keys_in

TOP = pathlib.Path(__file__).resolve().parents[1]
REPORT = TOP / "docs" / "reports" / "redis-benchmarks.md"
NODE_TIMEOUT = 5000  # ms; Redis' own advice is more
# Where they listen, or what the other side needs in another way.
OWN = {"port", "bind", "bind-source-addr", "dir", "include", "cluster-announce-ip", "cluster-announce-port",
       "cluster-announce-bus-port"}


class Formed:
    """A cluster that muster brings up from nothing, on this machine."""

    def __init__(self, masters=3, most=3):
        """`most`: masters that there may be later, for their ports."""
        self.muster, self.masters = Muster(), masters
        self.first = free_ports(2 * most)
        self.file = self.muster.file(self.text())

    def text(self):
        return f"""
cluster: bench
services:
  cache:
    kind: redis-cluster
    masters: {self.masters}
    replicas: 1
    port: {self.first}
    node_timeout: {NODE_TIMEOUT}ms
"""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.muster.close()

    @property
    def nodes(self):
        return [("127.0.0.1", self.first + number) for number in range(2 * self.masters)]

    def up(self, look=lambda: None):
        """Seconds that `muster up` took; `look` is called meanwhile, and what it gives comes first."""
        begin = time.monotonic()
        process = self.muster.start("up", self.file)
        try:
            seen = look()
            text = process.communicate(timeout=600)[0]
        finally:
            process.kill()
        assert process.returncode == 0, text + self.muster.logs()
        return seen, time.monotonic() - begin

    def settings(self):
        """redis.conf as muster wrote it, for the other side."""
        path = next(pathlib.Path(self.muster.home).glob("m/hosts/*/*/instances/cache-1/redis.conf"))
        lines = (line.split(" ", 1) for line in path.read_text().splitlines() if line and not line.startswith("#"))
        return {words[0]: words[1] for words in lines if words[0] not in OWN}

    def wait_calm(self):
        until(lambda: serves(self.nodes, self.masters) and settled(self.nodes), seconds=120, pause=0.05, what="the cluster to be whole")
        until(lambda: self.muster.status("bench")["health"] == "green", seconds=60, pause=0.1, what="green")


def accepts_writes():
    """A condition: one write in each of the three ranges is accepted."""
    tags = [slot_tags()[slot] for slot in (0, 8191, 16383)]

    def holds(nodes):
        with Cluster(nodes) as cluster:
            return all(cluster.ask("SET", f"{{{tag}}}bench", 1, until=time.monotonic() + 0.05) == "OK" for tag in tags)
    return holds


def look_until_settled(nodes, begin):
    """(green, settled) in seconds since `begin`."""
    writes = accepts_writes()
    until(lambda: serves(nodes, 3) and writes(nodes), seconds=120, pause=0.01, what="green")
    green = time.monotonic() - begin
    until(lambda: settled(nodes), seconds=120, pause=0.01, what="settled")
    return green, time.monotonic() - begin


def form_by_muster(warm):
    with Formed() as formed:
        if warm:
            formed.muster.run("server", "start")
        begin = time.monotonic()
        (green, calm), up = formed.up(lambda: look_until_settled(formed.nodes, begin))
        return (green, calm, up), formed.settings()


def form_by_hand(settings):
    with Servers(6, settings) as servers:
        begin = time.monotonic()
        servers.start()
        until(lambda: all(map(servers.answers, servers.ports)), what="the servers")
        servers.create(replicas=1)
        return look_until_settled(servers.nodes, begin)


def at_most(what, value, bound):
    """A bound as a report has it: (text, whether it is held)."""
    return f"{what} {value:.2f}, at most {bound:.2f}", value <= bound


def none_of(what, count):
    return f"{count} {what}, which must be 0", count == 0


def bench_a(args):
    cold, warm, hand = [], [], []
    for _ in range(args.rounds or 5):
        took, settings = form_by_muster(False)
        cold.append(took)
        warm.append(form_by_muster(True)[0])
        hand.append(form_by_hand(settings))
    (green, calm, up), (warm_green, warm_calm, warm_up) = ([statistics.median(column) for column in zip(*rows)] for rows in (cold, warm))
    hand_green, hand_calm = (statistics.median(column) for column in zip(*hand))
    print(f"a  3+3 from nothing to green, median of {len(cold)}: muster {green:.2f} s (its server running: {warm_green:.2f} s), redis-cli "
          f"{hand_green:.2f} s: ratio {green / hand_green:.2f} ({warm_green / hand_green:.2f})\n"
          f"   settled after {calm:.2f} s ({warm_calm:.2f} s), redis-cli {hand_calm:.2f} s; `up` came back after {up:.2f} s ({warm_up:.2f} s)\n"
          f"   worst to green: muster {max(row[0] for row in cold):.2f} s, redis-cli {max(row[0] for row in hand):.2f} s")
    return [at_most("ratio", green / hand_green, 0.35)]


def masters_of(nodes):
    """(host, port) of those with slots, in the order of these."""
    view = nodes_of(*nodes[0])
    owners = [one for one in view.values() if one["slots"]]
    return [((one["host"], one["port"]), slots_in(one["slots"])[0]) for one in sorted(owners, key=lambda one: slots_in(one["slots"])[0])]


def outage_of_kill(writers, node, slot, kill):
    """Seconds from the kill of `node` to the first write that another one accepts."""
    writer = writers.of_slot(slot)[0]
    moment = time.monotonic()
    kill(node[1])
    until(lambda: writer.first_after(moment, not_by=node) is not None, seconds=120, what="a write on its slots")
    return writer.first_after(moment, not_by=node)


def kill_by_pid(port):
    with Redis("127.0.0.1", port) as redis:
        pid = next(line for line in redis.ask("INFO", "server").splitlines() if line.startswith("process_id:"))
    os.kill(int(pid.partition(":")[2]), signal.SIGKILL)


def both_kinds(nodes):
    """Writers of a cluster, plain ones and such that WAIT; calm, for there are as many for the other side, on one machine."""
    writers = Writers(nodes)
    for one in writers.all:
        one.pause = 0.005 if one.wait else 0.002
    return writers


def lost_in(writers):
    """What came of all that was acknowledged, in words."""
    plain, waited = (f"{writers.count('lost', wait)} of {writers.count('acks', wait)}" for wait in (False, True))
    unreadable = ", of which not all could be read" if any(one.unreadable for one in writers.all) else ""
    return f"{plain} that were answered, {waited} that a replica had confirmed{unreadable}"


def bench_b(args):
    rounds = args.rounds or 9
    with Formed() as formed, contextlib.ExitStack() as stack:
        formed.up()
        servers = stack.enter_context(Servers(6, formed.settings())).start()
        until(lambda: all(map(servers.answers, servers.ports)), what="the servers")
        servers.create(replicas=1)
        until(lambda: serves(servers.nodes, 3), what="the cluster by hand")
        ours, alone = [], []
        with both_kinds(formed.nodes) as writers, both_kinds(servers.nodes) as others:
            for number in range(rounds):
                formed.wait_calm()
                assert writers.acknowledge()
                node, slot = masters_of(formed.nodes)[number % 3]
                ours.append(outage_of_kill(writers, node, slot, kill_by_pid))
                if number % 3:  # Redis alone takes its time
                    continue
                until(lambda: serves(servers.nodes, 3) and settled(servers.nodes), seconds=120, what="the cluster by hand")
                assert others.acknowledge()
                node, slot = masters_of(servers.nodes)[number // 3 % 3]
                alone.append(outage_of_kill(others, node, slot, servers.signal))
                servers.start(node[1])
            formed.wait_calm()
            until(lambda: serves(servers.nodes, 3) and settled(servers.nodes), seconds=120, what="the cluster by hand")
            for side in (writers, others):
                side.end().read_back()
        median, redis = statistics.median(ours), statistics.median(alone)
        plan = formed.muster.run("plan", formed.file, code=None).returncode
        print(f"b  kill -9 of a master to the first write on its slots, node timeout {NODE_TIMEOUT} ms: muster median {median * 1000:.0f} ms, best "
              f"{min(ours) * 1000:.0f}, worst {max(ours) * 1000:.0f} of {len(ours)}; Redis alone median {redis:.1f} s of {len(alone)}: ratio "
              f"{median / redis:.3f}\n   acknowledged writes lost: muster, in {len(ours)} kills: {lost_in(writers)}\n"
              f"                             Redis alone, in {len(alone)} kills: {lost_in(others)}\n"
              f"   `plan` afterwards exits {plan}")
        return [(f"median {median * 1000:.0f} ms, below 150 ms", median < 0.15),
                none_of("confirmed writes lost by muster", writers.count("lost", True)), (f"`plan` exits {plan}, which must be 0", plan == 0)]


def shown(texts, most=3):
    """The first few, in brackets."""
    return f" ({'; '.join(texts[:most])}{'; …' if len(texts) > most else ''})" if texts else ""


def bench_c(args):
    with Formed() as formed:
        formed.up()
        formed.wait_calm()
        before = {node for node, _ in masters_of(formed.nodes)}
        with Writers(formed.nodes) as writers:
            assert writers.acknowledge()
            began = time.monotonic()
            formed.muster.run("restart", "cache", "--cluster", "bench", timeout=300)
            took = time.monotonic() - began
            assert writers.acknowledge()
            writers.end().read_back()
        resets, refused, problems = writers.connections(began)
        lost = [writers.count("lost", wait) for wait in (False, True)]
        gaps = [max(one.longest_gap(began) for one in writers.all if one.wait == wait) for wait in (False, True)]
        after = {node for node, _ in masters_of(formed.nodes)}
        print(f"c  all six restarted, each of three masters handed over before, in {took:.1f} s under {len(writers.all)} writers: "
              f"{writers.count('acks', False) + writers.count('acks', True)} writes acknowledged, {sum(lost)} lost, "
              f"{sum(one.cluster.redirects for one in writers.all)} redirects\n"
              f"   connections: {len(resets)} reset while a write was under way{shown(resets)}, {len(refused)} refused{shown(refused)}, "
              f"{sum(one.cluster.closed for one in writers.all)} closed while unused; {len(problems)} other errors{shown(problems)}: "
              f"{'no error but redirects' if not (resets or refused or problems) else 'NOT only redirects'}\n"
              f"   longest wait for a write {gaps[0] * 1000:.0f} ms (with WAIT {gaps[1] * 1000:.0f} ms); {len(before - after)} of 3 masters are others now")
        return [none_of("errors but redirects", len(resets) + len(refused) + len(problems)), none_of("writes lost", sum(lost))]


def add_by_hand(settings, keys):
    """(all, rebalance alone) in seconds."""
    with Servers(8, settings) as servers:
        first, new = servers.ports[:6], servers.ports[6:]
        for port in first:
            servers.start(port)
        until(lambda: all(map(servers.answers, first)), what="the servers")
        servers.create(replicas=1, ports=first)
        old = servers.nodes[:6]
        until(lambda: serves(old, 3) and settled(old), what="the cluster by hand")
        fill(old, keys)
        begin = time.monotonic()
        for port in new:
            servers.start(port)
        until(lambda: all(map(servers.answers, new)), what="the new servers")
        known = f"127.0.0.1:{first[0]}"
        by_hand(f"127.0.0.1:{new[0]}", known, verb="add-node")
        until(lambda: settled(servers.nodes[:7]), what="the new master to be known")
        with servers.redis(new[0]) as redis:
            by_hand(f"127.0.0.1:{new[1]}", known, "--cluster-slave", "--cluster-master-id", redis.ask("CLUSTER", "MYID"), verb="add-node")
        until(lambda: settled(servers.nodes), what="the new replica to be known")
        moving = time.monotonic()
        by_hand(known, "--cluster-use-empty-masters", verb="rebalance")
        moved = time.monotonic() - moving
        until(lambda: serves(servers.nodes, 4) and settled(servers.nodes), seconds=120, what="settled")
        took = time.monotonic() - begin
        assert keys_in(servers.nodes) == keys, (keys_in(servers.nodes), keys)
        return took, moved


def has_begun(view):
    """Whether slots are on their way to this node, or there, by its own CLUSTER NODES: marks come first."""
    return any("myself" in line.split(" ")[2] and line.split(" ")[8:] for line in view.splitlines())


def look_while_moved(nodes, begin):
    """Seconds from `begin`: until slots begin to move to a fourth master; until they are even, which is when the last is said to
    be moved by all who own any; until all is settled."""
    def view_of(node):
        with Redis(*node) as redis:
            return redis.ask("CLUSTER", "NODES")

    def moves():
        for node in nodes[6:]:
            with contextlib.suppress(OSError, Refused):
                if has_begun(view_of(node)):
                    return True
        return False

    def even():
        views = [nodes_of(*node) for node in nodes]
        owners = [{one["id"]: len(slots_in(one["slots"])) for one in view.values() if one["slots"]} for view in views]
        masters = [at for at, view in enumerate(views) if any("myself" in one["flags"] and one["slots"] for one in view.values())]
        return len(masters) == 4 and all(sorted(owners[at].values()) == [4096] * 4 for at in masters)

    until(moves, seconds=500, pause=0.01, what="slots to move")
    began = time.monotonic() - begin
    until(even, seconds=500, pause=0.02, what="slots to be even")
    evened = time.monotonic() - begin
    until(lambda: serves(nodes, 4) and settled(nodes), seconds=500, pause=0.1, what="four masters")
    return began, evened, time.monotonic() - begin


def add_by_muster(keys):
    with Formed(most=4) as formed:
        formed.up()
        formed.wait_calm()
        fill(formed.nodes, keys)
        formed.masters = 4
        formed.file.write_text(formed.text())
        begin = time.monotonic()
        (began, even, seen), up = formed.up(lambda: look_while_moved(formed.nodes, begin))
        assert keys_in(formed.nodes) == keys, (keys_in(formed.nodes), keys)
        return (began, even, seen, up), formed.settings()


def spread(values, digits=1):
    """The median, and between what all are."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def bench_d(args):
    """Held against its bound: all that muster does until slots are even, against rebalance alone, for which all else is done."""
    ours, hand, settings = [], [], None
    for number in range(args.rounds or 3):
        if number % 2:
            hand.append(add_by_hand(settings, args.keys))
        took, settings = add_by_muster(args.keys)
        ours.append(took)
        if number % 2 == 0:
            hand.append(add_by_hand(settings, args.keys))
    began, even, seen, up = map(list, zip(*ours))
    by_cli, rebalance = map(list, zip(*hand))
    moving = [till - since for since, till in zip(began, even)]
    ratios, of_moving, of_all = ([mine / other for mine, other in zip(*pair)] for pair in ((even, rebalance), (moving, rebalance), (seen, by_cli)))
    print(f"d  a fourth master and its replica for {args.keys} keys, in {len(ours)} pairs, medians (and the least to the most), in seconds:\n"
          f"   muster {spread(even)} until slots are even, of which {spread(moving)} move slots and {spread(began)} come before; redis-cli "
          f"--cluster rebalance alone {spread(rebalance)}\n"
          f"   ratio to rebalance alone {spread(ratios, 2)}, slot-moving alone {spread(of_moving, 2)}\n"
          f"   all of it until all agree: muster {spread(seen)}, `up` {spread(up)}; redis-cli {spread(by_cli)}: ratio {spread(of_all, 2)}")
    return [at_most("median ratio", statistics.median(ratios), 1.0)]


def machine():
    """What a report says of where and of what it was made: commit, date, cores, load, system and Redis."""
    def of(*command):
        return subprocess.run(command, capture_output=True, text=True, cwd=TOP).stdout.strip()
    git = ("git", "-c", "safe.directory=*")  # whoever runs it may be root, and the tree somebody else's
    changed = ", with changes" if of(*git, "status", "--porcelain", "--untracked-files=no") else ""
    system = re.search(r'PRETTY_NAME="(.*)"', pathlib.Path("/etc/os-release").read_text())[1]
    model = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    version = re.search(r"v=([0-9.]+)", of("redis-server", "--version"))[1]
    return (f"commit {of(*git, 'rev-parse', '--short=12', 'HEAD')}{changed}, {datetime.date.today()}, on {os.cpu_count()} cores "
            f"({model[1] + ', ' if model else ''}load {os.getloadavg()[0]:.1f} at its start), {system}, Linux {platform.release()}, "
            f"Redis {version}")


class Both(io.TextIOBase):
    """What is printed goes to standard output as well, and is kept."""

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text
        return sys.__stdout__.write(text)

    def flush(self):
        sys.__stdout__.flush()


def verdict(bounds, seconds):
    """`bounds`: (text, whether it is held)."""
    held = all(holds for _, holds in bounds)
    told = "; ".join(text + ("" if holds else " (NOT HELD)") for text, holds in bounds)
    return f"   → {'within its bounds' if held else 'OUT OF its bounds'}: {told}; all this took {seconds:.0f} s"


def report(begin, said, words, good, seconds):
    command = " ".join(["bench/run redis", *words])
    return (f"# Benchmarks of Redis\n\nMade by `{command}` of {begin}. It took {seconds / 60:.1f} minutes.\n"
            f"{'All are within their bounds.' if good else '**Not all are within their bounds.**'}\n\n"
            f"```\n{(__doc__ or '').strip()}\n```\n\n```\n{said.rstrip()}\n```\n")


def main(words):
    parser = argparse.ArgumentParser(prog="bench/run redis", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", nargs="*", default=list("abcd"))
    parser.add_argument("--rounds", type=int, help="how often each is done (a: 5, b: 9, d: 3)")
    parser.add_argument("--keys", type=int, default=1_000_000, help="how many keys (d) moves among")
    parser.add_argument("--report", action="store_true", help=f"write {REPORT.relative_to(TOP)} as well; of all four")
    args = parser.parse_args(words)
    if args.report and args.which != list("abcd"):
        parser.error("a report is of all four")
    good, begin, began, said = True, machine(), time.monotonic(), Both()
    with contextlib.redirect_stdout(said):
        for which in args.which:
            since = time.monotonic()
            bounds = globals()[f"bench_{which}"](args)
            print(verdict(bounds, time.monotonic() - since), flush=True)
            good &= all(holds for _, holds in bounds)
    if args.report:
        REPORT.write_text(report(begin, said.text, words, good, time.monotonic() - began))
        print(f"report: {REPORT.relative_to(TOP)}")
    return 0 if good else 1
