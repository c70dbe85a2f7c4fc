"""Redis with one primary: who takes over where those who are there haven't the same."""

import contextlib
import os
import signal

import pytest
from conftest import wait_until
from test_redis_primary import Redis, formed
from test_redis_primary import pytestmark as as_there

pytestmark = [*as_there, pytest.mark.never_again]


def wait_until_its_agent_has_looked(redis):
    def asked():
        line = next(line for line in redis("INFO", "commandstats").splitlines() if line.startswith("cmdstat_info:"))
        return int(line.split("calls=")[1].split(",")[0])

    own, before = 0, asked()

    def looked():
        nonlocal own
        own += 1
        return asked() - before > own

    wait_until(looked, 10, "its agent to look")


def test_a_better_replica_that_died_along_with_its_primary_is_waited_for(muster):
    cache = formed(muster)
    assert cache.primary() == "cache-1"
    before = cache.members()
    late = before["cache-3"]["pid"]
    os.kill(late, signal.SIGSTOP)
    try:
        # More than lies between two servers that one doesn't read.
        with Redis(cache.address("cache-1"), timeout=10) as redis:
            for number in range(30):
                assert redis("SET", f"kept:{number}", "x" * (1 << 20)) == "OK"
            assert redis("WAIT", 1, 5000) >= 1
            wait_until_its_agent_has_looked(redis)
        for name in ("cache-1", "cache-2"):
            os.kill(before[name]["pid"], signal.SIGKILL)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(late, signal.SIGCONT)

    def is_back(name, one):
        return one["state"] == "ready" and (name == "cache-3" or one["pid"] != before[name]["pid"])

    # Who was killed may take some time to be back, and has to take over what it lacks.
    wait_until(lambda: all(is_back(name, one) for name, one in cache.members().items()), 60, "all members")
    cache.settled(60)
    for name in cache.members():
        wait_until(lambda name=name: cache.call(name, "DBSIZE") == 30, 30, f"{name} to have all")
