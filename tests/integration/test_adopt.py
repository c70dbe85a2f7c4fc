"""A Redis Cluster that was formed by hand is taken over as it runs."""

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess

import pytest

from conftest import wait_until

pytestmark = [pytest.mark.skipif(not shutil.which("redis-server"), reason="redis-server is not installed"),
              pytest.mark.never_again]
USER = "daemon" if os.geteuid() == 0 else None  # an instance never runs as root
KEYS = 400


def redis_ports(count):
    """A run of free ports whose bus ports, 10000 above, are free as well."""
    for _ in range(200):
        first = random.randrange(12000, 21000)
        with contextlib.ExitStack() as stack:
            try:
                for port in range(first, first + count):
                    for one in (port, port + 10000):
                        stack.enter_context(socket.socket()).bind(("127.0.0.1", one))
            except OSError:
                continue
        return list(range(first, first + count))
    raise RuntimeError("no free ports")


class Hand:
    """Six servers in folders of their own and what people do to make a cluster of them."""

    def __init__(self, folder, password="", together=False, settings=""):
        self.ports = redis_ports(6)
        self.password = password
        self.servers = {}
        self.folders = {port: folder / "hand" / ("all" if together else str(port)) for port in self.ports}
        for port in self.ports:
            where = self.folders[port]
            where.mkdir(parents=True, exist_ok=True)
            name = f"nodes-{port}.conf" if together else "nodes.conf"
            lines = [f"port {port}", "bind 127.0.0.1", "cluster-enabled yes", f"cluster-config-file {name}",
                     "cluster-node-timeout 1000", f"dir {where}", f"logfile {where}/{port}.log", settings]
            if together:
                lines += [f"dbfilename dump-{port}.rdb", f"appendfilename append-{port}.aof", f"appenddirname append-{port}"]
            if password:
                lines += [f"requirepass {password}", f"masterauth {password}"]
            (where / f"{port}.conf").write_text("\n".join(lines) + "\n")
            if USER:
                shutil.chown(where, USER, USER)
                shutil.chown(where / f"{port}.conf", USER, USER)
            self.start(port)

    def start(self, port):
        more = {"user": USER, "group": USER, "extra_groups": []} if USER else {}
        self.servers[port] = subprocess.Popen(["redis-server", str(self.folders[port] / f"{port}.conf")], cwd="/",
                                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, **more)

    def form(self):
        wait_until(lambda: all(self.ask(port, "PING") in ("PONG", "NOAUTH") for port in self.ports), what="six servers")
        places = [f"127.0.0.1:{port}" for port in self.ports]
        self.cli("--cluster", "create", *places, "--cluster-replicas", "1", "--cluster-yes")
        wait_until(self.well, seconds=60, what="a cluster")
        return self

    def cli(self, *args, input=None):
        env = {**os.environ, "REDISCLI_AUTH": self.password} if self.password else os.environ
        done = subprocess.run(["redis-cli", *args], env=env, input=input, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def ask(self, port, *words):
        try:
            return self.cli("-p", str(port), *words).strip()
        except AssertionError:
            return ""

    def well(self):
        if not all("cluster_state:ok" in self.ask(port, "CLUSTER", "INFO") for port in self.ports):
            return False
        infos = [self.ask(port, "INFO", "replication") for port in self.ports]
        return sum("master_link_status:up" in info for info in infos) == 3

    def pids(self):
        return {port: one.pid for port, one in self.servers.items()}

    def masters(self):
        return [port for port in self.ports if "role:master" in self.ask(port, "INFO", "replication")]

    def write(self):
        text = "".join(f"SET key:{i} value-{i}\n" for i in range(KEYS))
        assert self.cli("-c", "-p", str(self.ports[0]), input=text).count("OK") == KEYS

    def lost(self):
        text = "".join(f"GET key:{i}\n" for i in range(KEYS))
        seen = set(self.cli("-c", "-p", str(self.ports[-1]), input=text).split())
        return [i for i in range(KEYS) if f"value-{i}" not in seen]

    def close(self):
        for one in self.servers.values():
            one.kill()
            one.wait()


@pytest.fixture
def hand(muster):
    made = []

    def make(**more):
        made.append(Hand(muster.folder, **more))
        return made[-1].form()

    yield make
    for one in made:
        one.close()


def adopt(muster, hand, *more, code=0):
    env = {"REDISCLI_AUTH": hand.password} if hand.password else None
    return muster.json("adopt", "redis-cluster", f"127.0.0.1:{hand.ports[0]}", "--out", "hand.yaml", *more, code=code, env=env)


def by_port(muster, hand):
    """The instances by the ports of the members that they are."""
    return {one["ports"]["port"]: one for one in muster.instances("redis").values()}


def test_what_runs_is_taken_over_as_it_runs_and_then_kept(muster, hand):
    cluster = hand()
    cluster.write()
    adopted = adopt(muster, cluster)
    assert {one["port"]: one["pid"] for one in adopted["members"]} == cluster.pids()
    codes = {finding["code"] for finding in adopted["findings"]}
    assert {"replica-beside-master", "no-appendonly", "defaults-kept"} <= codes
    muster.run("check", "hand.yaml")
    planned = muster.run("plan", "hand.yaml", code=2).stdout
    assert "are taken over as they run" in planned
    muster.run("up", "hand.yaml", timeout=180)

    after = by_port(muster, cluster)
    assert {port: one["pid"] for port, one in after.items()} == cluster.pids()
    assert all(one["restarts"] == 0 and one["state"] == "ready" for one in after.values())
    for port in cluster.ports:  # each the process that it was, with nothing set anew
        assert f"process_id:{cluster.servers[port].pid}" in cluster.ask(port, "INFO", "server")
        assert cluster.ask(port, "CONFIG", "GET", "appendonly").split() == ["appendonly", "no"]
    assert sorted("primary" in one["role"] for one in after.values()) == [False] * 3 + [True] * 3
    assert not cluster.lost()
    assert "nothing to do" in muster.run("up", "hand.yaml").stdout
    muster.run("plan", "hand.yaml")

    # Another agent finds them again.
    for pid in muster.agent_pids():
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: {port: one["pid"] for port, one in by_port(muster, cluster).items()} == cluster.pids()
               and all(one["state"] == "ready" for one in by_port(muster, cluster).values()), what="the next agent")

    # One that dies is replaced, and comes back as muster starts it, with its data.
    master = cluster.masters()[0]
    os.kill(cluster.servers[master].pid, signal.SIGKILL)
    wait_until(lambda: by_port(muster, cluster)[master]["restarts"] >= 1, what="the dead one to be started")
    wait_until(lambda: muster.status("redis")["health"] == "green" and cluster.well(), seconds=60, what="green")
    assert not cluster.lost(), muster.run("audit", "--cluster", "redis").stdout + muster.run("ps").stdout + muster.logs()
    muster.run("plan", "hand.yaml")

    # A rolling restart brings all of them to muster's own redis.conf.
    muster.run("restart", "cache", "--cluster", "redis", timeout=400)
    wait_until(cluster.well, seconds=60, what="a cluster")
    assert not cluster.lost()
    for port, one in by_port(muster, cluster).items():
        assert one["pid"] != cluster.servers[port].pid
        assert f"{muster.home}/m/hosts" in cluster.ask(port, "INFO", "server").split("config_file:")[1].split()[0]
        assert cluster.ask(port, "CONFIG", "GET", "dir").split()[1] == str(cluster.folders[port])
    muster.run("plan", "hand.yaml")

    # What muster didn't make it doesn't delete.
    muster.run("down", "--cluster", "redis", "--delete-data", "--confirm", "redis", timeout=120)
    assert all((cluster.folders[port] / "nodes.conf").exists() for port in cluster.ports)
    assert all(cluster.ask(port, "PING") == "" for port in cluster.ports)


def test_settings_that_the_file_has_otherwise_are_set_while_they_run(muster, hand):
    cluster = hand(password="hush-hush", together=True)
    cluster.write()
    adopted = adopt(muster, cluster)
    text = (muster.folder / "hand.yaml").read_text()
    assert "hush-hush" not in text + str(adopted)
    assert "nodes-" in text and "password: \"{{secret.cache}}\"" in text
    muster.run("secret", "set", "cache", "-f", "hand.yaml", input="hush-hush\n")
    muster.file(text.replace("appendonly: no", "maxmemory: 100mb\n      maxmemory-policy: noeviction"), "hand.yaml")
    muster.run("up", "hand.yaml", timeout=180)

    assert {port: one["pid"] for port, one in by_port(muster, cluster).items()} == cluster.pids()
    for port in cluster.ports:
        assert cluster.ask(port, "CONFIG", "GET", "appendonly").split() == ["appendonly", "yes"]
        assert cluster.ask(port, "CONFIG", "GET", "maxmemory").split() == ["maxmemory", str(100 << 20)]
    muster.run("plan", "hand.yaml")
    assert not cluster.lost()


def test_who_is_not_the_member_is_left_alone(muster, hand):
    cluster = hand()
    adopt(muster, cluster)
    port = cluster.ports[5]
    cluster.servers[port].kill()
    cluster.servers[port].wait()
    refused = muster.run("adopt", "redis-cluster", f"127.0.0.1:{cluster.ports[0]}", "--out", "again.yaml", code=1)
    assert "[member-unreachable]" in refused.stderr
    with socket.create_server(("127.0.0.1", port)):
        refused = muster.run("up", "hand.yaml", code=1)
        assert "[port-taken]" in refused.stderr
        refused = muster.run("up", "hand.yaml", "--skip-checks", code=1, timeout=120)
        assert "port-taken" in refused.stdout + refused.stderr
    for one in cluster.ports[:5]:
        assert cluster.servers[one].poll() is None


def test_what_is_no_cluster_and_what_is_there_already_is_refused(muster, hand):
    cluster = hand(password="hush-hush")
    place = f"127.0.0.1:{cluster.ports[0]}"
    assert "[redis-denied]" in muster.run("adopt", "redis-cluster", place, code=1).stderr
    secret = muster.file("hush-hush\n", "password")
    done = muster.run("adopt", "redis-cluster", place, "--password-file", secret, "-o", "-")
    assert done.stdout.startswith("# The Redis Cluster that") and "hush-hush" not in done.stdout
    muster.file("x", "redis.yaml")
    assert "[file-exists]" in muster.run("adopt", "redis-cluster", place, "--password-file", secret, code=1).stderr
    assert "[redis-unreachable]" in muster.run("adopt", "redis-cluster", "127.0.0.1:1", "-o", "-", code=1).stderr
    # A file that is there says nothing of a port where nobody is, and stays as it is.
    there = muster.file("mine: yes\n", "redis.yaml")
    assert "[redis-unreachable]" in muster.run("adopt", "redis-cluster", "127.0.0.1:1", code=1).stderr
    assert "[file-exists]" in muster.run("adopt", "redis-cluster", place, code=1).stderr
    assert there.read_text() == "mine: yes\n"
    assert "[bad-argument]" in muster.run("adopt", "redis-cluster", "nowhere", "-o", "-", code=1).stderr
