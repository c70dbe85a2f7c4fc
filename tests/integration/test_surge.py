"""Rolls with `max_surge`: a guest stands in for each member that is replaced, and nothing of it is left."""

import glob
import json
import os
import signal
import socket
import threading

from conftest import edge, get, impatient, processes_below, wait_until, web
from load import Load

CLUSTER = "web@rehearsal"


def surging(muster, instances=3, extra=""):
    command = "{{artifact}} --port={{ports.http}} --address={{address}} --start-delay=300ms " + extra
    return web(muster, instances=instances, hosts=2, command=command,
               update="{ max_unavailable: 0, max_surge: 1 }")


def change(file):
    file.write_text(file.read_text().replace("    health:", "    env: { APP_COLOR: red }\n    health:"))


class Watch:
    """How many members are ready, guests included, after each event of the cluster."""

    def __init__(self, muster):
        self.states = {name: one["state"] for name, one in muster.instances(CLUSTER).items() if name.startswith("app-")}
        self.least, self.names, self.broken = self.ready(), set(self.states), None
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(muster.home + "/m/server/api.sock")
        self.socket.sendall(f"GET /v1/clusters/{CLUSTER}/events HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        self.first = self.socket.recv(65536)  # the head: from here on nothing is missed
        assert b"200" in self.first.split(b"\r\n")[0], self.first
        self.thread = threading.Thread(target=self.follow)
        self.thread.start()

    def ready(self):
        return sum(state == "ready" for state in self.states.values())

    def follow(self):
        data = self.first
        while True:
            for line in data.split(b"\n")[:-1]:
                self.take(line)
            data = data.split(b"\n")[-1]
            try:
                more = self.socket.recv(65536)
            except OSError:
                return
            if not more:
                return
            data += more

    def take(self, line):
        if not line.startswith(b"data:"):
            return
        event = json.loads(line[5:])
        if not event.get("name", "").startswith("app-") or "state" not in event:
            return
        self.states[event["name"]] = event["state"]
        self.names.add(event["name"])
        self.least = min(self.least, self.ready())

    def end(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.socket.close()
        return self


def nothing_is_left(muster, instances=3):
    found = muster.instances(CLUSTER)
    assert sorted(name for name in found if name.startswith("app-")) == [f"app-{n + 1}" for n in range(instances)]
    assert len(muster.app_pids()) == instances
    assert glob.glob(muster.home + "/m/hosts/*/*/instances/*-x*") == []
    assert glob.glob(muster.home + "/m/hosts/*/*/records/*-x*") == []
    for path in glob.glob(muster.home + "/m/hosts/*/*/instances/edge-1/conf/upstreams.conf"):
        with open(path) as file:
            text = file.read()
            assert "-x" not in text and " down" not in text, text


def test_the_number_of_ready_members_never_falls_below_all(muster):
    file = muster.file(surging(muster))
    muster.run("up", file, "--rehearse")
    before = {name: one["pid"] for name, one in muster.instances(CLUSTER).items()}
    change(file)
    planned = muster.run("plan", file, "--rehearse", code=2).stdout
    assert "app-x1" in planned and "outage" not in planned
    watch, load = Watch(muster), Load(edge(muster, CLUSTER), per_second=100)
    try:
        muster.run("up", file, "--rehearse")
    finally:
        watch.end()
        load.end()
    after = {name: one["pid"] for name, one in muster.instances(CLUSTER).items()}
    assert all(before[f"app-{n}"] != after[f"app-{n}"] for n in (1, 2, 3))
    assert "app-x1" in watch.names
    assert watch.least == 3
    assert load.served > 20 and load.failures == []
    assert "red" in get(edge(muster, CLUSTER))[2]
    nothing_is_left(muster)
    muster.run("plan", file, "--rehearse", code=0)


def test_a_release_that_never_gets_ready_leaves_all_members_and_no_guest(muster):
    file = muster.file(surging(muster).replace("max_surge: 1", "max_surge: 1, deadline: 60s"))
    muster.run("up", file, "--rehearse")
    before = {name: one["pid"] for name, one in muster.instances(CLUSTER).items()}
    file.write_text(impatient(file.read_text().replace("--start-delay", "--never-ready --start-delay")))
    failed = muster.run("up", file, "--rehearse", code=1)
    assert "app-x1" in failed.stdout + failed.stderr
    assert {name: one["pid"] for name, one in muster.instances(CLUSTER).items()} == before
    nothing_is_left(muster)


def test_nothing_stays_of_a_roll_whose_server_was_killed(muster):
    file = muster.file(surging(muster))
    muster.run("up", file, "--rehearse")
    change(file)
    rolling = muster.start("up", file, "--rehearse")
    wait_until(lambda: muster.state(CLUSTER, "app-x1") == "ready" and
               any(one["state"] in ("starting", "stopped", "stopping") for name, one in
                   muster.instances(CLUSTER).items() if name != "app-x1"), what="a member to be replaced")
    os.kill(muster.server_pid(), signal.SIGKILL)
    rolling.wait(timeout=60)
    # Refused while the new server still settles what the old one left.
    wait_until(lambda: muster.run("resume", "--cluster", CLUSTER, code=None, timeout=90).returncode == 0, seconds=60,
               what="resume")
    wait_until(lambda: muster.status(CLUSTER)["health"] == "green", what="green")
    nothing_is_left(muster)
    assert "red" in get(edge(muster, CLUSTER))[2]
    muster.run("plan", file, "--rehearse", code=0)


def test_nothing_stays_of_a_roll_whose_agents_were_killed(muster):
    file = muster.file(surging(muster))
    muster.run("up", file, "--rehearse")
    change(file)
    rolling = muster.start("up", file, "--rehearse")
    wait_until(lambda: muster.state(CLUSTER, "app-x1") == "ready", what="the guest")
    for pid in muster.agent_pids():
        os.kill(pid, signal.SIGKILL)
    rolling.wait(timeout=60)  # it goes on, or it fails and puts back: either way the same command leads there
    wait_until(lambda: muster.run("up", file, "--rehearse", code=None, timeout=90).returncode == 0, seconds=60,
               what="up")
    nothing_is_left(muster)
    assert "red" in get(edge(muster, CLUSTER))[2]
    muster.run("plan", file, "--rehearse", code=0)


def test_ctrl_c_removes_the_guest(muster):
    file = muster.file(surging(muster))
    muster.run("up", file, "--rehearse")
    before = {name: one["pid"] for name, one in muster.instances(CLUSTER).items()}
    file.write_text(file.read_text().replace("--start-delay=300ms", "--start-delay=60s"))
    rolling = muster.start("up", file, "--rehearse")
    wait_until(lambda: muster.state(CLUSTER, "app-x1") == "starting", what="the guest to start")
    rolling.send_signal(signal.SIGINT)
    rolling.wait(timeout=30)
    assert {name: one["pid"] for name, one in muster.instances(CLUSTER).items()} == before
    nothing_is_left(muster)
    assert not [one for one in processes_below(muster.home).values() if "--start-delay=60s" in one]
