"""Where muster's own disk is full: told, nothing lost, and it goes on by itself once there is room."""

import os
import signal

import pytest
from conftest import edge, get, wait_until, web
from small_disk import SmallDisk

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")


@pytest.fixture
def disk(muster):
    with SmallDisk(muster, "m") as small:
        yield small


def test_a_full_disk_is_told_and_loses_nothing(muster, disk):
    file = muster.file(web(muster, instances=1))
    muster.run("up", file, "--rehearse")
    before = muster.instances("web@rehearsal")["app-1"]["pid"]
    disk.fill()
    good = file.read_text()
    file.write_text(good.replace("    health:", "    env: { APP_COLOR: red }\n    health:"))
    failed = muster.run("up", file, "--rehearse", code=1)
    assert "disk-full" in failed.stdout + failed.stderr
    assert get(edge(muster, "web@rehearsal"))[0] == 200
    assert muster.instances("web@rehearsal")["app-1"]["pid"] == before
    # What can't be started for want of room is no crash: it comes back by itself once there is some.
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: muster.instances("web@rehearsal")["app-1"]["last_exit"] == "disk-full", what="app-1 to wait")
    assert muster.state("web@rehearsal", "app-1") == "backoff"
    disk.make_room()
    wait_until(lambda: muster.state("web@rehearsal", "app-1") == "ready", what="app-1 to return by itself")
    muster.run("up", file, "--rehearse")
    assert muster.instances("web@rehearsal")["app-1"]["pid"] != before


def test_what_cannot_be_started_for_want_of_room_is_no_crash_and_comes_back_by_itself(muster, disk):
    muster.run("up", muster.file(web(muster, instances=1)), "--rehearse")
    before = muster.instances("web@rehearsal")["app-1"]["pid"]
    disk.fill()
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: muster.instances("web@rehearsal")["app-1"]["last_exit"] == "disk-full", what="app-1 to wait")
    assert muster.state("web@rehearsal", "app-1") == "backoff"
    disk.make_room()
    wait_until(lambda: muster.state("web@rehearsal", "app-1") == "ready", what="app-1 to return by itself")
    assert muster.instances("web@rehearsal")["app-1"]["restarts"] == 1


def test_a_server_killed_on_a_full_disk_sees_all_and_rules_again_once_there_is_room(muster, disk):
    file = muster.file(web(muster, instances=2))
    muster.run("up", file, "--rehearse")
    before = {name: one["pid"] for name, one in muster.instances("web@rehearsal").items()}
    disk.fill()
    os.kill(muster.server_pid(), signal.SIGKILL)
    now = muster.instances("web@rehearsal")  # starts a server
    assert {name: one["pid"] for name, one in now.items()} == before
    status = muster.status("web@rehearsal")
    assert status["health"] == "red"
    assert "no space" in str(status["services"])
    for act in (("restart", "app-1"), ("down",)):
        refused = muster.run(act[0], "--cluster", "web@rehearsal", *act[1:], code=1)
        assert "disk-full" in refused.stderr, refused.stderr
    assert get(edge(muster, "web@rehearsal"))[0] == 200
    disk.make_room()
    wait_until(lambda: muster.status("web@rehearsal")["health"] == "green")
    os.kill(before["app-1"], signal.SIGKILL)
    wait_until(lambda: muster.instances("web@rehearsal")["app-1"]["pid"] not in (0, before["app-1"]))
    wait_until(lambda: muster.status("web@rehearsal")["health"] == "green")
    muster.run("down", "--cluster", "web@rehearsal")
    assert not muster.app_pids()
