"""kill -9 at every fault point of forming, rolling and scaling a Redis Cluster, and of what changes the roles of a primary
and its replicas, of whoever got there, of the server, of an agent and of all of them at that very moment; then the same
command again, all green, and no key lost. And of another member during each step of a roll, under a writer.

A few of the many are tried each time; MUSTER_FAULTS=all (as `tools/dev test --long` sets it) tries every one.
"""

import contextlib
import datetime
import json
import os
import signal
import subprocess
import time

import pytest

import test_redis_primary as primary
from conftest import TOP, Muster, free_ports, processes_below, wait_until
from redis_client import key_slot, slot_tags
from redis_clusters import Cache, needs_redis
from redis_servers import info, nodes_of, slots_in
from redis_writer import Writer
from test_faults import ALL, FAULTS, Points, living, parent_of, points_in, state_of

pytestmark = [needs_redis, pytest.mark.never_again,
              pytest.mark.skipif(not (FAULTS / "muster").exists(), reason="no build with fault points")]

AT_EACH = {"form": 6, "roll": 6, "grow": 2, "shrink": 2}  # members that an operation brings about
STARTS = ["runtime.before-fork", "runtime.after-fork", "runtime.before-exec", "agent.files-written", "agent.installed",
          "agent.before-start", "agent.started", "agent.ready"]
ENDS = ["agent.stopped"]
ALWAYS = ["agent.outcome", "control.journal.before", "control.journal.after", "control.outcome.arrived",
          "store.before-commit", "store.after-commit", "control.run.recorded"]
MOVES = {"redis-cluster.slots-importing": 3, "redis-cluster.slots-migrating": 6, "redis-cluster.keys-migrated": 6,
         "redis-cluster.slots-claimed": 6}
# Between what members are told in each operation, and how many times at least it passes there. Whether somebody takes over while
# it is formed depends on who was ready first.
ORDERS = {"form": {"redis-cluster.met": 2, "redis-cluster.epoch-set": 1, "redis-cluster.slots-owned": 3,
                   "redis-cluster.follows": 3},
          "roll": {"redis-cluster.failover-begun": 3},
          "grow": {"redis-cluster.met": 2, "redis-cluster.follows": 1, **MOVES},
          "shrink": {**MOVES, "redis-cluster.forgotten": 4, "redis-cluster.reset": 2}}
MARKED = "redis-cluster.slots-marked"  # once a master that gives slots has died
HANDS_OVER = {"redis.paused": 1, "redis.fenced-remembered": 1, "redis.primary-remembered": 1, "redis.primary-told": 1,
              "redis.replica-remembered": 1}
# The same of a primary and two replicas.
ORDERS_OF_PRIMARY = {"form": {"redis.primary-remembered": 1, "redis.primary-told": 1, "redis.replica-remembered": 2},
                     "roll": HANDS_OVER, "switchover": HANDS_OVER,
                     "failover": {name: 1 for name in HANDS_OVER if name != "redis.paused"},
                     "grow": {"redis.replica-remembered": 1}}
POINTS = {"form": STARTS + ALWAYS, "roll": STARTS + ENDS + ALWAYS, "grow": STARTS + ALWAYS,
          "shrink": [*ENDS, "agent.removed", *ALWAYS]}
BIG = [0, 5460, 10922, 16383]  # slots with more keys than are moved at once
KEYS_OF_BIG = 1300


class Life:
    """A Redis Cluster in a build with fault points, what is done with it, and what must be true afterwards."""

    def __init__(self):
        self.muster = Muster(FAULTS)
        self.points = Points(self.muster.home + "/points")
        self.muster.env["MUSTER_FAULT_FOLDER"] = str(self.points.folder)
        # As users have it: members that get no turn for a second, as there are many others, aren't voted out for that.
        self.cache = Cache(self.muster, masters=3, replicas=1, node_timeout="5s")
        self.keys = []  # lists of those of one slot

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

    def kill(self, who, hit):
        victims = self.victims(who, hit)
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if hit not in victims:
            os.kill(hit, signal.SIGCONT)

    def wait_for(self, name, nth, going):
        """Until somebody stands still at the point: the pid. `going`: who brings that about, if it may come to an end."""
        wait_until(lambda: self.points.who(name, nth) or (going and going.poll() is not None), 60, name)
        hit = self.points.who(name, nth)
        assert hit, f"{name} isn't passed {nth} times:\n{going.communicate()[0]}{self.muster.logs()}"
        wait_until(lambda: state_of(hit) == "T", what=f"{hit} to stand still at {name}")
        return hit

    def go_with_death(self, operation, name, nth, who):
        """The operation with this death, then what a person would do after such: the same command again."""
        self.change(operation)
        self.points.want(name, nth)
        going = self.cache.begin_up()
        try:
            hit = self.wait_for(name, nth, going)
            self.points.forget()
            self.kill(who, hit)
            self.comes_back(going)
        except (AssertionError, subprocess.TimeoutExpired) as error:
            error.add_note(f"{operation}, {who} died at {name} {nth}\n{self.what_happened()}")
            raise
        finally:
            going.kill()

    def what_happened(self):
        audit = self.muster.run("audit", "--cluster", self.cache.key, code=None).stdout
        return f"{self.cache.service()}\n{self.cache.members()}\n{audit}\n{self.muster.logs()}"

    def comes_back(self, going):
        """What a person would do: what was paused is resumed, as it says itself, and the same command is given again."""
        said = going.communicate(timeout=90)[0]
        if "muster resume" in said:
            resumed = self.muster.run("resume", "--cluster", self.cache.key, code=None, timeout=90)
            said += resumed.stdout + resumed.stderr
            assert "no run is paused" not in said, said
        again = self.cache.up(code=None, timeout=90)
        try:
            assert again.returncode == 0, again.stdout + again.stderr
            self.is_whole()
        except AssertionError as error:
            error.add_note(f"the first said:\n{said}\nthe second:\n{again.stdout}{again.stderr}")
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
        self.has_all_keys()
        runs = self.muster.json("history", "--runs", "--cluster", self.cache.key)["runs"]
        assert runs[0]["state"] == "done" and not [run for run in runs if run["state"] == "running"], runs


    def has_all_keys(self):
        """Those that were written the first time it was asked, which is when they are."""
        with self.cache.client() as client:
            for keys in self.keys:
                answers = client.ask("GET", keys[0], after=[["GET", key] for key in keys[1:]])
                lost = [key for key, value in zip(keys, answers) if value != f"of {key}"]
                assert not lost, f"{len(lost)} of {len(keys)} keys were lost: {lost[:5]}; {self.who_has(key_slot(keys[0]))}"
            if self.keys:
                return
            big = [[f"big:{{{slot_tags()[slot]}}}:{number}" for number in range(KEYS_OF_BIG)] for slot in BIG]
            self.keys = [[f"key:{number}", f"{{key:{number}}}:2"] for number in range(100)] + big
            for keys in self.keys:
                sets = [["SET", key, f"of {key}"] for key in keys]
                answers = client.ask(*sets[0], after=[*sets[1:], ["WAIT", 1, 5000]])
                assert answers == ["OK"] * len(keys) + [1], answers[-3:]


    def who_has(self, slot):
        counts = {name: self.cache.ask(name, "CLUSTER", "COUNTKEYSINSLOT", slot) for name in self.cache.members()}
        owner, = [name for name, one in self.cache.members().items() if one["facts"]["role"] == "master"
                  and slot in slots_in(nodes_of(one["address"], one["ports"]["port"])[one["facts"]["node"]]["slots"])]
        nodes = "\n".join(f"{name}: {self.cache.ask(name, 'ROLE')} {self.cache.ask(name, 'CLUSTER', 'NODES')}" for name in self.cache.members())
        return (f"slot {slot} belongs to {owner}; keys in it: {counts}\n{nodes}\n"
                f"{self.muster.run('audit', '--cluster', self.cache.key, code=None).stdout}\n{self.cache.turns()}")


@pytest.fixture
def life():
    with living(Life) as one:
        yield one


def test_every_point_of_the_recipes_is_tried():
    """One that nobody passes, or that is new and not in the table, would be believed to be tried. Those of a primary's acts are
    looked at by test_redis_primary_faults.py."""
    named = points_in(TOP / "src" / "recipes")
    assert named == {name for points in ORDERS.values() for name in points} | {MARKED}


def passes(one, table):
    """Does what is in the table, and sees that it passes each point as often as is said there."""
    for operation, points in table.items():
        before = one.points.counts()
        one.go(operation)
        now = one.points.counts()
        short = {name: now.get(name, 0) - before.get(name, 0) for name, least in points.items()
                 if now.get(name, 0) - before.get(name, 0) < least}
        assert not short, f"{operation} passes less often than is said: {short}"


def test_the_points_of_a_cluster_are_passed_as_often_as_is_said(life):
    passes(life, ORDERS)


WHOS = (("itself", 0.1), ("itself", 0.9), ("server", 0.5), ("agent", 0.5), ("both", 0.1), ("both", 0.9))


def nth_of(share, times):
    return max(1, round(share * times))


def cases():
    """Lists of deaths (operation, point, which time, who), one cluster each: forming first, then what comes after."""
    if not ALL:
        few = [[("form", "agent.ready", 4, "both"), ("roll", "agent.stopped", 4, "both"),
                ("grow", "redis-cluster.slots-importing", 1, "itself"), ("shrink", "redis-cluster.keys-migrated", 2, "both")],
               [("form", "redis-cluster.slots-owned", 2, "both"), ("roll", "agent.installed", 1, "itself"),
                ("grow", "redis-cluster.keys-migrated", 3, "both"), ("shrink", "redis-cluster.reset", 1, "itself")],
               [("form", "redis-cluster.follows", 2, "itself"), ("roll", "redis-cluster.failover-begun", 2, "both"),
                ("grow", "redis-cluster.slots-claimed", 1, "both"), ("shrink", "agent.removed", 1, "both")],
               [("form", "redis-cluster.met", 2, "both"), ("roll", "control.outcome.arrived", 12, "both"),
                ("grow", "control.journal.after", 2, "server"), ("shrink", "redis-cluster.slots-claimed", 1, "server")]]
        return [pytest.param(deaths, id=f"{number}") for number, deaths in enumerate(few, 1)]
    lists = {operation: list(deaths_of(operation)) for operation in POINTS}
    most = max(map(len, lists.values()))
    return [pytest.param([lists[operation][index % len(lists[operation])] for operation in lists], id=f"{index}")
            for index in range(most)]


def deaths_of(operation):
    """Every one in this operation."""
    for name in POINTS[operation]:
        times = 1 if name == "control.run.recorded" else AT_EACH[operation]
        yield from ((operation, name, nth_of(share, times), who) for who, share in WHOS)
    for name, times in ORDERS[operation].items():
        yield from dict.fromkeys((operation, name, nth_of(share, times), who) for who, share in WHOS)


@pytest.mark.parametrize("deaths", cases())
def test_a_death_while_it_is_formed_rolled_and_scaled(life, deaths):
    for death in deaths:
        life.go_with_death(*death)


def giver_on(life, agent):
    """A member on this agent's host that is giving slots away."""
    command = processes_below(life.muster.home)[agent]
    givers = [name for name, one in life.cache.members().items()
              if f" --host {one['host']} " in command and "->-" in life.cache.ask(name, "CLUSTER", "NODES")]
    assert givers, command
    return givers[0]


@pytest.mark.parametrize("who", ["itself", "server", "agent", "both"] if ALL else ["both"])
def test_a_death_while_the_heir_of_a_giver_is_told_what_was_on_its_way(life, who):
    life.go("form")
    life.change("grow")
    # Before its keys are moved, so that nobody can claim the slots when it is dead; those of a big one have been in part.
    life.points.want("redis-cluster.slots-migrating", 4)
    going = life.cache.begin_up()
    try:
        agent = life.wait_for("redis-cluster.slots-migrating", 4, going)
        giver = giver_on(life, agent)
        life.points.want(MARKED, 1)
        os.kill(life.cache.pids()[giver], signal.SIGKILL)
        os.kill(agent, signal.SIGCONT)
        hit = life.wait_for(MARKED, 1, None)
        life.points.forget()
        life.kill(who, hit)
        life.comes_back(going)
    except (AssertionError, ProcessLookupError, subprocess.TimeoutExpired) as error:
        error.add_note(life.what_happened())
        raise
    finally:
        going.kill()


class PrimaryLife(Life):
    """A primary and two replicas."""

    def __init__(self):
        super().__init__()
        self.port, self.replicas, self.prefix = free_ports(5), 2, ""
        self.one = primary.Cache(self.muster, None)
        self.writer = None

    def change(self, operation):
        if operation == "roll":
            self.prefix = f"settings: {{ tcp-backlog: {500 + len(self.muster.json('history', '--cluster', self.one.cluster)['revisions'])} }}"
        elif operation == "grow":
            self.replicas += 1
        self.one.file = primary.cluster_file(self.muster, hosts=3, replicas=self.replicas, port=self.port, extra=self.prefix)

    def begin(self, operation):
        """What does it, or None where it goes on by itself."""
        self.change(operation)
        if operation == "switchover":
            return self.muster.start("switchover", "cache", "--cluster", self.one.cluster)
        if operation == "failover":
            self.one.kill(self.one.primary())
            return None
        return self.muster.start("up", self.one.file, "--rehearse")

    def go(self, operation):
        former = self.one.primary() if operation == "failover" else None
        going = self.begin(operation)
        if going:
            said = going.communicate(timeout=120)[0]
            assert going.returncode == 0, said
        else:
            wait_until(lambda: self.one.primary() not in (None, former), what="another primary")
        self.is_whole()

    def go_with_death(self, operation, name, nth, who):
        self.points.want(name, nth)
        going = self.begin(operation)
        said = ""
        try:
            hit = self.wait_for(name, nth, going)
            hit_at = f"{datetime.datetime.now():%T.%f}, {time.monotonic():.3f}"
            self.points.forget()
            self.kill(who, hit)
            if going:
                said = going.communicate(timeout=180)[0]
        finally:
            if going:
                going.kill()
        again = self.muster.run("up", self.one.file, "--rehearse", code=None, timeout=180)
        try:
            assert again.returncode == 0, again.stdout + again.stderr
            self.is_whole()
            lost = self.writer.read_back()
            assert not lost, f"{len(lost)} acknowledged writes, {lost[0]} to {lost[-1]}"
        except AssertionError as error:
            audit = self.muster.run("audit", "--cluster", self.one.cluster, code=None).stdout
            error.add_note(f"{operation}, {who} died at {name} {nth} at {hit_at}\n{audit}\nthe first said:\n{said}\nthe second:\n"
                           f"{again.stdout}{again.stderr}\n{self.muster.logs()}")
            raise

    def is_whole(self):
        self.one.settled(60)
        assert self.one.plan_is_empty()[0], self.one.plan_is_empty()[1]
        members = self.one.members()
        assert len(members) == 1 + self.replicas
        roles = {name: self.one.call(name, "ROLE") for name in members}
        assert [name for name, role in roles.items() if role[0] == "master"] == [self.one.primary()], roles
        servers = [pid for pid, command in processes_below(self.muster.home).items()
                   if "redis-server" in command.split(" ")[0]]
        assert sorted(servers) == sorted(one["pid"] for one in members.values()), "nobody was started twice"
        if self.prefix:
            wanted = self.prefix.split()[-2]
            assert all(self.one.call(name, "CONFIG", "GET", "tcp-backlog")[1] == wanted for name in members)
        if self.writer:
            before = len(self.writer.acks)
            wait_until(lambda: len(self.writer.acks) > before + 20, what="writes to go on")
            return
        nodes = [(one["address"], one["ports"]["port"]) for one in members.values()]
        self.writer = Writer("w", nodes, ["w"], wait=True, pause=0.002, timeout=8, wait_ms=1000, single=True)
        self.writer.start()

    def has_lost(self):
        return self.writer.end().read_back()


@pytest.fixture
def primary_life():
    with living(PrimaryLife) as one:
        try:
            yield one
        finally:
            if one.writer:
                one.writer.end()


def test_the_points_of_a_primary_are_passed_as_often_as_is_said(primary_life):
    passes(primary_life, ORDERS_OF_PRIMARY)
    assert primary_life.has_lost() == []


def primary_cases():
    """The same as `cases`, of a primary and its replicas."""
    if not ALL:
        few = [[("form", "redis.primary-remembered", 1, "both"), ("roll", "redis.fenced-remembered", 1, "itself"),
                ("switchover", "redis.primary-remembered", 1, "itself"), ("failover", "redis.replica-remembered", 1, "both")],
               [("form", "redis.replica-remembered", 2, "itself"), ("roll", "redis.paused", 1, "both"),
                ("switchover", "redis.primary-told", 1, "both"), ("failover", "redis.primary-remembered", 1, "agent"),
                ("grow", "redis.replica-remembered", 1, "server")],
               [("form", "redis.primary-told", 1, "server"), ("roll", "redis.primary-told", 1, "server"),
                ("failover", "redis.primary-told", 1, "both")]]
        return [pytest.param(deaths, id=f"{number}") for number, deaths in enumerate(few, 1)]
    lists = {operation: list(dict.fromkeys((operation, name, nth_of(share, times), who)
                                           for name, times in points.items() for who, share in WHOS))
             for operation, points in ORDERS_OF_PRIMARY.items()}
    most = max(map(len, lists.values()))
    return [pytest.param([lists[operation][index % len(lists[operation])] for operation in lists], id=f"{index}")
            for index in range(most)]


@pytest.mark.parametrize("deaths", primary_cases())
def test_a_death_while_a_primary_is_formed_rolled_replaced_and_scaled(primary_life, deaths):
    for death in deaths:
        primary_life.go_with_death(*death)
    assert primary_life.has_lost() == []


SHARES = 6  # of the steps of a roll, when every one is tried: each has a cluster of its own
FEW = 3     # steps that are tried of a roll else


class Rolled(Life):
    """A Redis Cluster that is rolled while its members die."""

    def plan(self):
        """The steps of the roll that is to come. Only one is ever under way, so that they can be counted."""
        answer = self.muster.json("plan", self.cache.file(), "--rehearse", code=None)
        steps = answer["plan"]["steps"]
        for before, step in zip(steps, steps[1:]):
            assert before["id"] in step["needs"], f"{step['id']} doesn't wait for {before['id']}"
        return steps

    def look(self):
        """Who is where, and of which shard: that stays so while roles change by hand-over."""
        self.seats = {(one["address"], one["ports"]["port"]): name for name, one in self.cache.members().items()}
        self.shard = {name: one["master"] or one["id"] for name, one in self.nodes().items()}

    def nodes(self):
        """As the members themselves tell it: muster's server may stand still."""
        view = next(view for view in map(self.view_of, self.seats) if view)
        return {self.seats[one["host"], one["port"]]: one for one in view.values()}

    def another(self, name, kin, number):
        """(name, pid) of another member than `name`: of its shard, or of another one, a master and a replica in turns."""
        nodes = self.nodes()
        others = sorted(one for one in nodes if one != name and (self.shard[one] == self.shard[name]) == (kin == "same"))
        if kin == "other":
            others = [one for one in others if bool(nodes[one]["slots"]) == bool(number % 2)]
        assert others, (name, kin, nodes)
        chosen = others[number % len(others)]
        return chosen, int(info(nodes[chosen]["host"], nodes[chosen]["port"], "server")["process_id"])

    @staticmethod
    def view_of(seat):
        with contextlib.suppress(OSError):
            return nodes_of(*seat)

    def roll_with_death(self, number, kin):
        """A roll; as soon as its step `number` is begun, and before anything of it is done, another member dies. What a
        person would do after a run that paused: the same command again, once all is green."""
        self.cache.settings["io-threads"] = 3 - int(self.cache.settings.get("io-threads", 1))
        self.look()
        steps = self.plan()
        step = steps[number]
        self.points.want("control.journal.after", 1 + number)  # the beginning of each step is journaled by itself
        going = self.muster.start("up", self.cache.file(), "--rehearse", "--json")
        try:
            server = self.wait_for("control.journal.after", 1 + number, going)
            self.points.forget()
            victim, pid = self.another(step["instance"], kin, number)
            os.kill(pid, signal.SIGKILL)
            os.kill(server, signal.SIGCONT)
            said = going.communicate(timeout=180)[0]
        finally:
            going.kill()
        events = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
        begun = [event["id"] for event in events if event.get("event") == "step" and event["state"] == "sent"]
        assert begun[number] == step["id"] and begun[:number] == [one["id"] for one in steps[:number]], begun
        told, code = [f"{victim} died during {step['id']}:\n{said}"], going.returncode
        try:
            for _ in range(3):
                if code == 0:
                    break
                wait_until(self.cache.is_settled, 60, "green, so that it can go on")
                again = self.cache.up(code=None, timeout=180)
                told.append(again.stdout + again.stderr)
                code = again.returncode
            assert code == 0, "it doesn't come to its end"
            wait_until(lambda: self.cache.pids()[victim] not in (0, pid), what=f"{victim} to be back")
            self.is_whole()
        except AssertionError as error:
            error.add_note("\n".join([*told, self.muster.logs()]))
            raise


@pytest.mark.parametrize("share", range(SHARES) if ALL else [None])
@pytest.mark.parametrize("kin", ["same", "other"])
def test_another_dies_during_each_step_of_a_roll(kin, share):
    """Each step that the plan names, of which a share is tried; a few, spread over all, where it is None."""
    with living(Rolled) as life:
        life.go("form")
        life.cache.settings["io-threads"] = 2
        count = len(life.plan())
        assert count >= 6 * len(["step-down", "stop", "install", "start", "settle"])
        del life.cache.settings["io-threads"]
        offset = {"same": 1, "other": 3}[kin]
        numbers = range(share, count, SHARES) if share is not None else [count * at // FEW + offset for at in range(FEW)]
        with life.cache.writer(wait=True) as writer:
            for number in numbers:
                wrote = len(writer.acks)
                life.roll_with_death(number, kin)
                wait_until(lambda: len(writer.acks) > wrote + 50, what="writes to go on")
        assert writer.end().read_back() == []
