"""kill -9 of an agent between any two acts of a change of roles of a Redis with one primary, of its redis-server along with
it, and of the server, under a writer; then one primary that all follow, and not one acknowledged write lost.

MUSTER_FAULTS=all (as `tools/dev test --long` sets it) lets everyone die at every point.
"""

import os
import pathlib
import re
import signal

import pytest
from conftest import TOP, Muster, wait_until
from test_faults import ALL, FAULTS, Points, living, state_of
from test_redis_primary import Cache, Writer, cluster_file
from test_redis_primary import pytestmark as as_there

pytestmark = [*as_there, pytest.mark.never_again,
              pytest.mark.skipif(not (FAULTS / "muster").exists(), reason="no build with fault points")]

# In the order in which a switchover comes to them: the primary hands over, its heir is promoted, two follow it.
ACTS = [("redis.caught-up", 1), ("redis.paused", 1), ("redis.caught-up", 2), ("redis.fenced-remembered", 1),
        ("redis.fenced-told", 1), ("redis.confirmed", 1), ("redis.primary-remembered", 1), ("redis.primary-told", 1),
        ("redis.replica-remembered", 1), ("redis.replica-told", 1), ("redis.replica-told", 2)]
HANDED_OVER = 6  # of these; no write is under way to a replica until then


class Life:
    def __init__(self):
        self.muster = Muster(FAULTS)
        self.points = Points(self.muster.home + "/points")
        self.muster.env["MUSTER_FAULT_FOLDER"] = str(self.points.folder)
        self.cache = Cache(self.muster, cluster_file(self.muster))

    def switch_with_death(self, name, nth, who):
        """A switchover, in which the agent that is the nth to come to the point dies, and `who` else."""
        primary = self.cache.settled()
        writer = Writer(self.cache.addresses())
        writer.wait_for(50)
        redis = {one["host"]: one["pid"] for one in self.cache.members().values()}
        self.points.want(name, nth)
        going = self.muster.start("switchover", "cache", "--cluster", self.cache.cluster)
        try:
            hit = wait_until(lambda: self.points.who(name, nth), 60, name)  # others follow once the command has ended
            wait_until(lambda: state_of(hit) == "T", what=f"{hit} to stand still at {name}")
            self.points.forget()
            if who == "server":
                os.kill(self.muster.server_pid(), signal.SIGKILL)
            host = pathlib.Path(f"/proc/{hit}/cmdline").read_text().split("\0--host\0")[1].split("\0")[0]
            os.kill(hit, signal.SIGKILL)
            if who == "redis":
                os.kill(redis[host], signal.SIGKILL)
            going.communicate(timeout=120)
        finally:
            going.kill()
        new = self.cache.settled(60)
        writer.wait_for(50)
        writer.stop()
        assert self.cache.lost(writer) == [], f"{primary} to {new}\n{self.muster.logs()}"
        for one in self.cache.members().values():
            assert one["state"] == "ready"
        wait_until(lambda: self.cache.plan_is_empty()[0], 30, "nothing to do")
        assert writer.outage < 20, writer.outage


@pytest.fixture(scope="module")
def life():
    with living(Life) as one:
        one.cache.up()
        one.cache.settled()
        yield one


def cases():
    for number, (name, nth) in enumerate(ACTS):
        yield name, nth, "agent"
        if number < HANDED_OVER and (ALL or number in (1, 3, 4)):
            yield name, nth, "redis"
        if ALL or number in (3, 7):
            yield name, nth, "server"


def test_every_act_has_its_point():
    source = (TOP / "src/recipes/redis_primary/role_change.cc").read_text()
    assert set(re.findall(r'return "(redis\.[a-z-]+)";', source)) == {name for name, _ in ACTS}


@pytest.mark.parametrize("name, nth, who", cases())
def test_a_death_between_two_acts_of_a_switchover_loses_no_write(life, name, nth, who):
    life.switch_with_death(name, nth, who)
