"""An agent dies and another comes: what it watches went on, and nobody says that it didn't."""

import pytest

import test_redis_primary as primaries
from conftest import processes_below, wait_until
from redis_clusters import Cache, goes_on, kill, needs_redis

pytestmark = [needs_redis, pytest.mark.never_again]

# An agent that has come asks a member after so long: time to look at what is said meanwhile.
HEALTH = "{ every: 2s, timeout: 1s, fail_after: 3 }"


def agents(muster, host):
    return [pid for pid, command in processes_below(muster.home).items()
            if " agent run " in command and f" --host {host} " in command + " "]


def said_while_an_agent_is_replaced(muster, key, host, well):
    """Each answer of `status` from the death of the agent of `host` until another is there and all is well."""
    old = agents(muster, host)
    assert len(old) == 1, old
    kill(*old)
    said = []

    def back():
        status = muster.status(key)
        said.append(status["services"][0])
        connected = all(one["connected"] for one in status["hosts"])
        return connected and agents(muster, host) not in ([], old) and well(said[-1]) and was_asked(said)
    wait_until(back, 40, "another agent, and all well")
    return said


def was_asked(said):
    return any("agent has just come back" in reason for one in said for reason in one["reasons"])


def reds(said):
    return [one["reasons"] for one in said if one["health"] == "red"]


def test_a_master_is_not_called_gone_for_the_death_of_its_agent(muster):
    cache = Cache(muster, health=HEALTH)
    cache.up()
    cache.whole()
    pids, master = cache.pids(), cache.primaries()[0]
    slots = cache.members()[master]["role"].removeprefix("primary of ")
    with cache.writer() as writer:
        goes_on(writer)
        problems = len(writer.problems)
        said = said_while_an_agent_is_replaced(muster, cache.key, cache.members()[master]["host"],
                                               lambda one: one["health"] == "green" and not one["unsettled"])
        goes_on(writer)
        assert len(writer.problems) == problems
    assert reds(said) == []
    known = f"{master}'s agent has just come back: whether slots {slots} are served is not known yet"
    assert any(known in one["reasons"] for one in said), said
    assert cache.pids() == pids and master in cache.primaries()


def test_a_primary_is_not_called_gone_for_the_death_of_its_agent(muster):
    cache = primaries.Cache(muster, primaries.cluster_file(muster, extra=f"health: {HEALTH}"))
    cache.up()
    primary = cache.settled()
    before = cache.members()
    said = said_while_an_agent_is_replaced(muster, cache.cluster, before[primary]["host"],
                                           lambda one: one["health"] == "green")
    assert reds(said) == []
    assert cache.primary() == primary
    assert {name: one["pid"] for name, one in cache.members().items()} == {name: one["pid"] for name, one in before.items()}
