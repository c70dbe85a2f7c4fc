"""kill -9 at the moment in which a process that was there before muster has been taken over: of the agent that does it, of
the server, and of both. Then the same command again: the same processes, never stopped, and nothing lost.

A few of the deaths are tried each time; MUSTER_FAULTS=all (as `tools/dev test --long` sets it) tries each member's.
"""

import contextlib
import os
import signal

import pytest

from conftest import Muster, processes_below, wait_until
from test_adopt import Hand, adopt, by_port
from test_adopt import pytestmark as as_there
from test_faults import ALL, FAULTS, Points, living, state_of

pytestmark = [*as_there, pytest.mark.never_again,
              pytest.mark.skipif(not (FAULTS / "muster").exists(), reason="no build with fault points")]
POINT = "agent.taken-over"
MEMBERS = 6


class Life:
    def __init__(self):
        self.muster = Muster(FAULTS)
        self.points = Points(self.muster.home + "/points")
        self.muster.env["MUSTER_FAULT_FOLDER"] = str(self.points.folder)

    def victims(self, who, hit):
        servers = [pid for pid, command in processes_below(self.muster.home).items() if " server run" in command]
        return {"agent": [hit], "server": servers, "both": [*servers, hit]}[who]

    def take_over_with_death(self, hand, nth, who):
        self.points.want(POINT, nth)
        going = self.muster.start("up", "hand.yaml")
        try:
            wait_until(lambda: self.points.who(POINT, nth) or going.poll() is not None, 60, POINT)
            hit = self.points.who(POINT, nth)
            assert hit, f"{POINT} isn't passed {nth} times:\n{going.communicate()[0]}"
            wait_until(lambda: state_of(hit) == "T", what=f"{hit} to stand still at {POINT}")
            self.points.forget()
            victims = self.victims(who, hit)
            for pid in victims:
                os.kill(pid, signal.SIGKILL)
            if hit not in victims:
                os.kill(hit, signal.SIGCONT)
            said = going.communicate(timeout=180)[0]
        finally:
            going.kill()
        again = self.muster.run("up", "hand.yaml", code=None, timeout=180)
        assert again.returncode == 0, f"the first said:\n{said}\nthe second:\n{again.stdout}{again.stderr}"


@contextlib.contextmanager
def by_hand(life):
    hand = Hand(life.muster.folder)
    try:
        yield hand.form()
    finally:
        hand.close()


def cases():
    few = [(1, "agent"), (4, "both"), (MEMBERS, "server")]
    every = [(nth, who) for nth in range(1, MEMBERS + 1) for who in ("agent", "server", "both")]
    return every if ALL else few


@pytest.mark.parametrize("nth, who", cases())
def test_a_death_at_a_take_over_leaves_who_runs_as_it_is(nth, who):
    with living(Life) as life, by_hand(life) as hand:
        hand.write()
        adopt(life.muster, hand)
        life.take_over_with_death(hand, nth, who)

        after = by_port(life.muster, hand)
        assert {port: one["pid"] for port, one in after.items()} == hand.pids()
        assert {one["state"] for one in after.values()} == {"ready"}, after
        for port in hand.ports:  # neither stopped nor joined by a second one
            assert f"process_id:{hand.servers[port].pid}" in hand.ask(port, "INFO", "server")
            assert hand.servers[port].poll() is None
        assert not hand.lost()
        assert "nothing to do" in life.muster.run("up", "hand.yaml").stdout
        # They are muster's: one that dies is started again.
        port = hand.masters()[0]
        os.kill(hand.servers[port].pid, signal.SIGKILL)
        # An agent that died before a start has counted that one as well.
        wait_until(lambda: by_port(life.muster, hand)[port]["restarts"] > after[port]["restarts"], what="a new start")
        wait_until(lambda: life.muster.status("redis")["health"] == "green" and hand.well(), 60, "green")
        assert not hand.lost()
