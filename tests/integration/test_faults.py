"""kill -9 at every fault point of an up and of a roll, then green with nothing lost and nothing started twice."""

import os
import pathlib
import signal

import pytest

from conftest import BUILD, Muster, edge, get, wait_until, web

FAULTS = pathlib.Path(os.environ.get("MUSTER_FAULT_BUILD", BUILD.parent / "build-faults"))
pytestmark = pytest.mark.skipif(not (FAULTS / "muster").exists(), reason="no build with fault points")


@pytest.fixture
def muster():
    one = Muster(FAULTS)
    one.app = str(BUILD / "example-app")
    yield one
    one.close()


def points(muster, act):
    """The fault points that `act` passes, each with how often."""
    listing = pathlib.Path(muster.home, "points")
    act({"MUSTER_FAULT_LIST": str(listing)})
    counts = {}
    for line in listing.read_text().splitlines():
        counts[line] = counts.get(line, 0) + 1
    return counts


def converge(muster, file):
    """What a person would do after such a death: the same command again."""
    done = muster.run("up", file, "--rehearse", code=None, timeout=90)
    if done.returncode != 0:
        muster.run("up", file, "--rehearse", timeout=90)
    wait_until(lambda: muster.status("web@rehearsal")["health"] == "green", seconds=30, what="green")
    muster.run("plan", file, "--rehearse", code=0)
    assert len(muster.app_pids()) == 2, muster.app_pids()
    names = {get(edge(muster, "web@rehearsal"))[1].get("X-Instance") for _ in range(12)}
    assert names == {"app-1", "app-2"}


def bring_up(muster, file, env, code=None):
    # The environment reaches the server and its agents through the command that starts the server.
    return muster.run("up", file, "--rehearse", code=code, env=env, timeout=90)


def everything_dies(muster):
    for pid in [*muster.agent_pids(), muster.server_pid()]:
        os.kill(pid, signal.SIGKILL)


def test_every_fault_point_of_an_up():
    first = Muster(FAULTS)
    first.app = str(BUILD / "example-app")
    try:
        file = first.file(web(first, instances=2))
        found = points(first, lambda env: bring_up(first, file, env, code=0))
    finally:
        first.close()
    assert len(found) >= 6, found
    for name, count in sorted(found.items()):
        for nth in sorted({1, (count + 1) // 2, count}):
            one = Muster(FAULTS)
            one.app = str(BUILD / "example-app")
            try:
                file = one.file(web(one, instances=2))
                once = str(pathlib.Path(one.home, "once"))
                bring_up(one, file, {"MUSTER_FAULT": f"{name}:{nth}", "MUSTER_FAULT_ONCE": once})
                print(name, nth, "hit" if os.path.exists(once) else "not hit")
                converge(one, file)
            finally:
                one.close()


def test_every_fault_point_of_a_roll():
    def rolled(one, env):
        file = one.file(web(one, instances=2))
        one.run("up", file, "--rehearse")
        everything_dies(one)
        file.write_text(file.read_text().replace("    health:", "    env: { APP_COLOR: red }\n    health:"))
        one.run("server", "start", env=env)
        return file

    first = Muster(FAULTS)
    first.app = str(BUILD / "example-app")
    try:
        listing = {"MUSTER_FAULT_LIST": str(pathlib.Path(first.home, "points"))}
        file = rolled(first, listing)
        found = points(first, lambda env: bring_up(first, file, env, code=0))
    finally:
        first.close()
    for name, count in sorted(found.items()):
        one = Muster(FAULTS)
        one.app = str(BUILD / "example-app")
        try:
            once = str(pathlib.Path(one.home, "once"))
            env = {"MUSTER_FAULT": f"{name}:{(count + 1) // 2}", "MUSTER_FAULT_ONCE": once}
            file = rolled(one, env)
            bring_up(one, file, env)
            print(name, "hit" if os.path.exists(once) else "not hit")
            converge(one, file)
        finally:
            one.close()
