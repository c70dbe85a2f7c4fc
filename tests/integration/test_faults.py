"""kill -9 at every fault point of an up and of a roll, then green with nothing lost and nothing started twice."""

import os
import pathlib
import re
import signal

import pytest

from conftest import BUILD, TOP, Muster, edge, get, wait_until, web

FAULTS = pathlib.Path(os.environ.get("MUSTER_FAULT_BUILD", BUILD.parent / "build-faults"))
pytestmark = pytest.mark.skipif(not (FAULTS / "muster").exists(), reason="no build with fault points")


NAMES = sorted({name for path in (TOP / "src").rglob("*.cc") if not path.name.endswith("_test.cc")
                for name in re.findall(r'MUSTER_FAULT\("([^"]+)"\)', path.read_text())})


@pytest.fixture
def muster():
    one = Muster(FAULTS)
    one.app = str(BUILD / "example-app")
    yield one
    one.close()


def fault(muster, name, nth):
    """The environment that kills whoever comes to the point the nth time, and the file that tells it was hit."""
    once = pathlib.Path(muster.home, "once")
    return {"MUSTER_FAULT": f"{name}:{nth}", "MUSTER_FAULT_ONCE": str(once)}, once


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


def everything_dies(muster):
    os.kill(muster.server_pid(), signal.SIGKILL)  # first: it would start its agents again
    for pid in muster.agent_pids():
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not muster.agent_pids(), what="agents to be gone")


def change(file):
    file.write_text(file.read_text().replace("    health:", "    env: { APP_COLOR: red }\n    health:"))


def test_the_points_are_passed_by_up_roll_and_down(muster):
    listing = pathlib.Path(muster.home, "points")
    file = muster.file(web(muster, instances=2))
    env = {"MUSTER_FAULT_LIST": str(listing)}
    muster.run("up", file, "--rehearse", env=env, timeout=90)
    change(file)
    muster.run("up", file, "--rehearse", timeout=90)
    muster.run("down", "--cluster", "web@rehearsal", timeout=90)
    wait_until(lambda: "agent.removed" in listing.read_text(), what="the last of them")
    # The child that is about to become the instance has its user by then, who may not write into the list.
    assert set(NAMES) - set(listing.read_text().split()) <= {"runtime.before-exec"}


@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_a_death_in_an_up(muster, name, nth):
    file = muster.file(web(muster, instances=2))
    env, once = fault(muster, name, nth)
    # The environment reaches the server and its agents through the command that starts the server.
    done = muster.run("up", file, "--rehearse", code=None, env=env, timeout=120)
    assert once.exists() or done.returncode == 0, done.stderr
    converge(muster, file)


@pytest.mark.parametrize("name", NAMES)
def test_a_death_in_a_roll(muster, name):
    file = muster.file(web(muster, instances=2))
    muster.run("up", file, "--rehearse", timeout=90)
    everything_dies(muster)
    change(file)
    env, once = fault(muster, name, 1)
    muster.run("server", "start", env=env, code=None)
    done = muster.run("up", file, "--rehearse", code=None, timeout=120)
    assert once.exists() or done.returncode == 0, done.stderr
    converge(muster, file)
    assert "red" in get(edge(muster, "web@rehearsal"))[2]


def test_server_and_agents_die_together_in_a_roll(muster):
    file = muster.file(web(muster, instances=2))
    muster.run("up", file, "--rehearse", timeout=90)
    file.write_text(file.read_text().replace("--peers=", "--start-delay=1s --peers="))
    rolling = muster.start("up", file, "--rehearse")
    wait_until(lambda: any(one["state"] in ("starting", "stopping", "stopped") for one in
                           muster.instances("web@rehearsal").values()), what="the roll to be under way")
    everything_dies(muster)
    rolling.wait(timeout=120)
    converge(muster, file)
