"""What `muster verify` finds at a primary and its replicas."""

import os
import signal

from conftest import processes_below
from redis_clusters import needs_redis
from test_redis_primary import Redis, formed

pytestmark = needs_redis


def test_verify_sees_who_takes_writes_beside_the_primary(muster):
    cache = formed(muster)
    other = next(name for name in cache.members() if name != cache.primary())
    host, address = cache.members()[other]["host"], cache.address(other)
    wanted = f" agent run --cluster {cache.cluster} --host {host} "
    agent, = [pid for pid, command in processes_below(muster.home).items() if wanted in command]
    os.kill(agent, signal.SIGSTOP)  # it would fence it again
    try:
        with Redis(address) as redis:
            redis("REPLICAOF", "NO", "ONE")
        verified = muster.json("verify", "--cluster", cache.cluster, code=None, timeout=120)
        failed = [check["name"] for check in verified["checks"] if not check["passed"]]
        assert f"{other} takes no writes beside {cache.primary()}" in failed, verified
    finally:
        os.kill(agent, signal.SIGCONT)
    cache.settled()
