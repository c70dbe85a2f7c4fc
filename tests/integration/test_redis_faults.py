"""kill -9 at every fault point of forming, rolling and scaling a Redis Cluster, of whoever got there, of the server, of
an agent and of all of them at that very moment; then the same command again, all green, and no key lost.

A few of the many are tried each time; MUSTER_FAULTS=all (as `tools/dev test --long` sets it) tries every one.
"""

import contextlib
import os
import signal

import pytest

from conftest import Muster, processes_below, wait_until
from redis_clusters import Cache, needs_redis
from test_faults import ALL, FAULTS, Points, living, parent_of, state_of

pytestmark = [needs_redis,
              pytest.mark.skipif(not (FAULTS / "muster").exists(), reason="no build with fault points")]

AT_EACH = {"form": 6, "roll": 6, "grow": 2, "shrink": 2}  # members that an operation brings about
STARTS = ["runtime.before-fork", "runtime.after-fork", "runtime.before-exec", "agent.files-written", "agent.installed",
          "agent.before-start", "agent.started", "agent.ready"]
ENDS = ["agent.stopped"]
ALWAYS = ["agent.outcome", "control.journal.before", "control.journal.after", "control.outcome.arrived",
          "store.before-commit", "store.after-commit", "control.run.recorded"]
POINTS = {"form": STARTS + ALWAYS, "roll": STARTS + ENDS + ALWAYS, "grow": STARTS + ALWAYS,
          "shrink": [*ENDS, "agent.removed", *ALWAYS]}


class Life:
    """A Redis Cluster in a build with fault points, what is done with it, and what must be true afterwards."""

    def __init__(self):
        self.muster = Muster(FAULTS)
        self.points = Points(self.muster.home + "/points")
        self.muster.env["MUSTER_FAULT_FOLDER"] = str(self.points.folder)
        self.cache = Cache(self.muster, masters=3, replicas=1)
        self.keys = {}
        self.formed = False

    def change(self, operation):
        if operation == "roll":
            threads = int(self.cache.settings.get("io-threads", 1))
            self.cache.settings["io-threads"] = threads + 1
        elif operation == "grow":
            self.cache.keys["masters"] = 4
        elif operation == "shrink":
            self.cache.keys["masters"] = 3

    def go(self, operation):
        self.change(operation)
        self.cache.up()
        self.is_whole()

    def processes(self, word):
        found = [pid for pid, command in processes_below(self.muster.home).items() if f" {word} run" in command]
        return [pid for pid in found if parent_of(pid) not in found]

    def victims(self, who, hit):
        servers, agents = self.processes("server"), self.processes("agent")
        of_hit = hit if hit in agents else parent_of(hit) if parent_of(hit) in agents else min(agents)
        return {"itself": [hit], "server": servers, "agent": [of_hit], "both": [*servers, *{*agents, hit}]}[who]

    def go_with_death(self, operation, name, nth, who):
        """The operation with this death, then what a person would do after such: the same command again."""
        self.change(operation)
        self.points.want(name, nth)
        going = self.cache.begin_up()
        try:
            wait_until(lambda: self.points.who(name, nth) or going.poll() is not None, 60, name)
            hit = self.points.who(name, nth)
            assert hit, f"{name} isn't passed {nth} times:\n{going.communicate()[0]}"
            wait_until(lambda: state_of(hit) == "T", what=f"{hit} to stand still at {name}")
            self.points.forget()
            victims = self.victims(who, hit)
            for pid in victims:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if hit not in victims:
                os.kill(hit, signal.SIGCONT)
            said = going.communicate(timeout=180)[0]
        finally:
            going.kill()
        again = self.cache.up(code=None, timeout=180)
        try:
            assert again.returncode == 0, again.stdout + again.stderr
            self.is_whole()
        except AssertionError as error:
            error.add_note(f"the first said:\n{said}\nthe second:\n{again.stdout}{again.stderr}\n{self.muster.logs()}")
            raise

    def is_whole(self):
        self.cache.whole(60)
        masters, members = self.cache.keys["masters"], self.cache.members()
        assert len(self.cache.primaries()) == len(self.cache.replicas()) == masters and len(members) == 2 * masters
        counts = self.cache.slots()
        assert len(counts) == masters and counts[-1] - counts[0] <= 1, counts
        servers = [pid for pid, command in processes_below(self.muster.home).items()
                   if "redis-server" in command.split(" ")[0]]
        assert sorted(servers) == sorted(one["pid"] for one in members.values()), "nobody was started twice"
        threads = str(self.cache.settings.get("io-threads", 1))
        assert all(self.cache.setting(name, "io-threads") == threads for name in members)
        client = self.cache.client()
        for key, value in self.keys.items():
            assert client.ask("GET", key) == value, f"{key} was lost"
        if not self.keys:
            self.keys = {f"key:{number}": str(number) for number in range(100)}
            for key, value in self.keys.items():
                client.ask("SET", key, value, after=[["WAIT", 1, 1000]])
        client.close()
        runs = self.muster.json("history", "--runs", "--cluster", self.cache.key)["runs"]
        assert runs[0]["state"] == "done" and not [run for run in runs if run["state"] == "running"], runs


@pytest.fixture
def life():
    with living(Life) as one:
        yield one


def cases():
    """Lists of deaths (operation, point, which time, who), one cluster each: forming first, then what comes after."""
    if not ALL:
        few = [[("form", "agent.ready", 4, "both"), ("roll", "agent.stopped", 4, "both"),
                ("grow", "control.journal.after", 2, "server"), ("shrink", "agent.stopped", 1, "agent")],
               [("form", "control.outcome.arrived", 9, "server"), ("roll", "agent.installed", 1, "itself"),
                ("grow", "agent.started", 2, "both"), ("shrink", "control.journal.before", 3, "both")],
               [("form", "runtime.before-exec", 3, "itself"), ("roll", "control.outcome.arrived", 12, "both"),
                ("grow", "store.after-commit", 5, "server"), ("shrink", "agent.removed", 1, "both")]]
        return [pytest.param(deaths, id=f"{number}") for number, deaths in enumerate(few, 1)]
    several = []
    for index in range(max(map(len, POINTS.values()))):
        for who, share in (("itself", 0.1), ("itself", 0.9), ("server", 0.5), ("agent", 0.5), ("both", 0.1), ("both", 0.9)):
            deaths = []
            for operation, points in POINTS.items():
                name = points[index % len(points)]
                passes = 1 if name == "control.run.recorded" else AT_EACH[operation]
                deaths.append((operation, name, max(1, round(share * passes)), who))
            several.append(pytest.param(deaths, id=f"{index}-{who}-{share}"))
    return several


@pytest.mark.parametrize("deaths", cases())
def test_a_death_while_it_is_formed_rolled_and_scaled(life, deaths):
    for death in deaths:
        life.go_with_death(*death)
