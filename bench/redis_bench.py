"""What muster does with a Redis Cluster, beside redis-cli and Redis left alone: bench/run redis [a b c d]

  a  3+3 from nothing to green, against redis-server x6 and redis-cli --cluster create     bound ratio 0.35
  b  kill -9 of a master to the first write accepted on its slots, against Redis alone      bound median 0.15 s
  c  all three masters handed over and restarted under writers                bound: only redirects, no write lost
  d  a fourth master for 1,000,000 keys, against redis-cli --cluster rebalance              bound: no slower

Both sides run the same redis.conf, which is muster's, alternate in one run, and are looked at by the same client. Green:
cluster_state is ok on all six, the replicas' links are up, a write is accepted in each range. Settled: all six see the same.
"""

import argparse
import contextlib
import os
import pathlib
import signal
import statistics
import time

from conftest import Muster
from redis_client import Cluster, Redis, slot_tags
from redis_servers import Servers, by_hand, free_ports, nodes_of, serves, settled, slots_in, until
from redis_writer import Writers, fill, keys_in

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
    return green / hand_green <= 0.35


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


def bench_b(args):
    rounds = args.rounds or 9
    with Formed() as formed, contextlib.ExitStack() as stack:
        formed.up()
        servers = stack.enter_context(Servers(6, formed.settings())).start()
        until(lambda: all(map(servers.answers, servers.ports)), what="the servers")
        servers.create(replicas=1)
        ours, alone, lost = [], [], {}
        with Writers(formed.nodes, with_wait=False) as writers, Writers(servers.nodes, with_wait=False) as others:
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
            until(lambda: serves(servers.nodes, 3), seconds=120, what="the cluster by hand")
            for side in (writers, others):
                side.end().read_back()
                lost[side] = f"{side.count('lost', False)} of {side.count('acks', False)}"
        median, redis = statistics.median(ours), statistics.median(alone)
        plan = formed.muster.run("plan", formed.file, code=None).returncode
        print(f"b  kill -9 of a master to the first write on its slots, node timeout {NODE_TIMEOUT} ms: muster median {median * 1000:.0f} ms, best "
              f"{min(ours) * 1000:.0f}, worst {max(ours) * 1000:.0f} of {len(ours)}; Redis alone median {redis:.1f} s of {len(alone)}: ratio "
              f"{median / redis:.3f}\n   acknowledged writes lost: {lost[writers]}; alone {lost[others]}; `plan` afterwards exits {plan}")
        return median < 0.15 and plan == 0


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
        problems = [f"{one.name}: {text}" for one in writers.all for _, text in one.problems]
        lost = [writers.count("lost", wait) for wait in (False, True)]
        gaps = [max(one.longest_gap(began) for one in writers.all if one.wait == wait) for wait in (False, True)]
        after = {node for node, _ in masters_of(formed.nodes)}
        print(f"c  all six restarted, each of three masters handed over before, in {took:.1f} s under {len(writers.all)} writers: "
              f"{writers.count('acks', False) + writers.count('acks', True)} writes acknowledged, {sum(lost)} lost, "
              f"{sum(one.cluster.redirects for one in writers.all)} redirects, {len(problems)} other errors {problems[:3] or ''}\n"
              f"   longest wait for a write {gaps[0] * 1000:.0f} ms (with WAIT {gaps[1] * 1000:.0f} ms); {len(before - after)} of 3 masters are others now")
        return not problems and sum(lost) == 0


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


def add_by_muster(keys):
    with Formed(most=4) as formed:
        formed.up()
        formed.wait_calm()
        fill(formed.nodes, keys)
        formed.masters = 4
        formed.file.write_text(formed.text())
        begin = time.monotonic()

        def look():
            until(lambda: serves(formed.nodes, 4) and settled(formed.nodes), seconds=500, pause=0.1, what="four masters")
            return time.monotonic() - begin
        seen, up = formed.up(look)
        assert keys_in(formed.nodes) == keys, (keys_in(formed.nodes), keys)
        return seen, up, formed.settings()


def bench_d(args):
    ours, ups, hand, moves = [], [], [], []
    for _ in range(args.rounds or 1):
        seen, up, settings = add_by_muster(args.keys)
        took, moved = add_by_hand(settings, args.keys)
        for column, value in zip((ours, ups, hand, moves), (seen, up, took, moved)):
            column.append(value)
    muster, up, by_cli, rebalance = map(statistics.median, (ours, ups, hand, moves))
    print(f"d  a fourth master and its replica for {args.keys} keys: muster {muster:.1f} s until slots are even and all agree, `up` {up:.1f} s; "
          f"redis-cli {by_cli:.1f} s, of which rebalance {rebalance:.1f} s: ratio {muster / by_cli:.2f}")
    return muster <= by_cli


def main(words):
    parser = argparse.ArgumentParser(prog="bench/run redis", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", nargs="*", default=list("abcd"))
    parser.add_argument("--rounds", type=int, help="how often each is done (a: 5, b: 9, d: 1)")
    parser.add_argument("--keys", type=int, default=1_000_000, help="how many keys (d) moves among")
    args = parser.parse_args(words)
    good = True
    for which in args.which:
        held = globals()[f"bench_{which}"](args)
        print(f"   → {'within' if held else 'OUT OF'} its bound", flush=True)
        good &= held
    return 0 if good else 1
