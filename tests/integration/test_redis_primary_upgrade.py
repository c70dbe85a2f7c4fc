"""A Redis with one primary goes to another version of its program and back while a client writes, and where the new version
doesn't start on the second member, the roll ends there and goes back from there.

The other version is a copy of the one that Debian has which tells another number; between releases whose data differ it is
tests/integration/test_redis_upgrade.py that goes."""

import pathlib
import re
import shutil
import subprocess

import pytest
from conftest import free_ports, wait_until
from test_redis_primary import Cache, Writer, cluster_file
from test_redis_primary import pytestmark as as_there

pytestmark = [*as_there, pytest.mark.never_again]
KEYS = 100


class Versions:
    """The program in the versions that a cluster goes through."""

    def __init__(self, folder):
        there = pathlib.Path(shutil.which("redis-server"))
        self.before = re.search(r"v=(\S+)", subprocess.run([there, "--version"], capture_output=True, text=True).stdout)[1]
        self.after = self.before[:-1] + str((int(self.before[-1]) + 1) % 10)
        self.old, self.new, self.once = (pathlib.Path(folder, f"redis-{name}") for name in ("old", "new", "once"))
        shutil.copy(there, self.old)
        shutil.copy(there, self.new)
        self.new.write_bytes(there.read_bytes().replace(self.before.encode() + b"\0", self.after.encode() + b"\0"))
        # Starts for who comes first, and for nobody else.
        taken = pathlib.Path(folder, "taken")
        taken.mkdir()
        taken.chmod(0o777)
        self.once.write_text(f"#!/bin/sh\nmkdir {taken}/once && exec {self.new} \"$@\"\necho 'no such instruction' >&2\nexit 3\n")
        self.once.chmod(0o755)


def version(cache, name):
    return re.search(r"redis_version:(\S+)", cache.call(name, "INFO", "server"))[1]


def stopped(said):
    """The members that an `up` or a `rollback` told to have stopped, in its order."""
    return re.findall(r"^\[\d+/\d+\] (\S+) +stopped", said, re.MULTILINE)


def test_the_version_goes_up_and_back_and_one_that_does_not_start_on_the_second_member_goes_back_from_there(muster):
    versions, port = Versions(muster.home), free_ports(4)
    assert versions.before != versions.after

    def run(program):
        extra = f"program: {program}\nrestart: {{ crashes: 2, first: 100ms }}\nupdate: {{ deadline: 10s }}"
        return cluster_file(muster, port=port, extra=extra)

    def are(expected):
        assert {name: version(cache, name) for name in cache.members()} == dict.fromkeys(cache.members(), expected)
        assert cache.plan_is_empty()[0], cache.plan_is_empty()[1]
        # All have all that was written before anything was changed, and what comes.
        for name in cache.members():
            assert [cache.call(name, "GET", f"kept:{number}") for number in range(KEYS)] == [str(n) for n in range(KEYS)]

    cache = Cache(muster, run(versions.old))
    cache.up()
    primary = cache.settled()
    for number in range(KEYS):
        cache.write_to_all(f"kept:{number}", number)
    are(versions.before)

    writer = Writer(cache.addresses())
    writer.wait_for()
    cache.file = run(versions.new)
    said = cache.up().stdout
    assert len(stopped(said)) == 3 and stopped(said)[-1] == primary, said
    primary = cache.settled()
    are(versions.after)
    writer.wait_for()

    said = muster.run("rollback", "--cluster", cache.cluster, timeout=120).stdout
    assert len(stopped(said)) == 3 and stopped(said)[-1] == primary, said
    cache.file = run(versions.old)
    primary = cache.settled()
    are(versions.before)
    writer.wait_for()

    pids = {name: one["pid"] for name, one in cache.members().items()}
    cache.file = run(versions.once)
    failed = muster.run("up", cache.file, "--rehearse", code=None, timeout=120)
    assert failed.returncode not in (0, 2), failed.stdout
    assert "no such instruction" in failed.stdout + failed.stderr
    first, second = stopped(failed.stdout)[:2]
    assert primary not in stopped(failed.stdout)
    assert version(cache, first) == versions.after and cache.members()[second]["state"] != "ready"
    assert cache.members()[primary]["pid"] == pids[primary] and version(cache, primary) == versions.before
    wait_until(lambda: cache.health()["health"] == "yellow", what="it to be yellow")
    writer.wait_for()

    said = muster.run("rollback", "--cluster", cache.cluster, timeout=120).stdout
    assert primary not in stopped(said), said
    cache.file = run(versions.old)
    assert cache.settled() == primary
    assert cache.members()[primary]["pid"] == pids[primary]
    are(versions.before)
    writer.wait_for()
    writer.stop()
    assert cache.lost(writer) == []
    assert writer.outage < 10, writer.outage
