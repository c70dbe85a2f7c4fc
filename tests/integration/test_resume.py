"""A run that the server's death left half done: resumed, or given up by a `down`."""

import os
import signal

import pytest

from conftest import edge, get, processes_below, wait_until, web

KEY = "web@rehearsal"


def half_done(muster, instances=3):
    """Three apps of which the roll to version 2 has replaced the first when the server is killed."""
    file = muster.file(web(muster, instances=instances, hosts=1, extra="--start-delay=1s --version=1"))
    muster.run("up", file, "--rehearse")
    before = {name: one["pid"] for name, one in muster.instances(KEY).items()}
    file.write_text(file.read_text().replace("--version=1", "--version=2"))
    up = muster.start("up", file, "--rehearse")

    def first_is_replaced():
        one = muster.instances(KEY)["app-1"]
        return one["pid"] != before["app-1"] and one["state"] == "ready"

    wait_until(first_is_replaced, what="the first to be replaced")
    os.kill(muster.server_pid(), signal.SIGKILL)
    told = up.communicate(timeout=30)[0]
    assert up.returncode != 0, told
    return file, before


def last_run(muster):
    return muster.json("history", "--runs", "--cluster", KEY)["runs"][0]


def versions(muster):
    return {name: get(f"http://{one['address']}:{one['ports']['http']}/info")[2].split('"version":"')[1][0]
            for name, one in muster.instances(KEY).items() if name.startswith("app-")}


def nothing_is_left(muster):
    return not [command for command in processes_below(muster.home).values() if "server run" not in command]


def test_resume_does_the_rest_and_nothing_twice(muster):
    file, before = half_done(muster)
    muster.run("server", "start")
    wait_until(lambda: last_run(muster)["state"] == "paused", what="the run to be taken over")
    replaced = muster.instances(KEY)["app-1"]["pid"]
    served = {get(edge(muster, KEY))[0] for _ in range(12)}
    assert served == {200}
    done = muster.run("resume", "--cluster", KEY)
    assert "app-3" in done.stdout
    after = {name: one["pid"] for name, one in muster.instances(KEY).items()}
    assert after["app-1"] == replaced  # it had been done
    assert after["edge-1"] == before["edge-1"]
    assert after["app-3"] != before["app-3"]
    assert set(versions(muster).values()) == {"2"}
    assert len(muster.app_pids()) == 3
    muster.run("plan", file, "--rehearse", code=0)
    assert last_run(muster)["state"] == "done"
    assert "no run is paused" in (lambda again: again.stdout + again.stderr)(muster.run("resume", "--cluster", KEY, code=None))


def test_down_while_a_resumed_run_is_under_way(muster):
    half_done(muster)
    muster.run("server", "start")
    wait_until(lambda: last_run(muster)["state"] == "paused", what="the run to be taken over")
    resume = muster.start("resume", "--cluster", KEY)
    try:
        wait_until(lambda: muster.status(KEY)["run"] and last_run(muster)["state"] == "running", what="the run to go on")
        down = muster.run("down", "--cluster", KEY)
        told = resume.communicate(timeout=60)[0]
    finally:
        resume.kill()
    # Whoever wants everything gone needn't wait: the resumed run was cancelled, and is told so.
    assert "down" in down.stdout
    assert resume.returncode == 1 and "cancelled" in told, told
    wait_until(lambda: nothing_is_left(muster), what="instances and agents to be gone")
    assert muster.status(KEY)["down"]
    # No agent died on the way, and came back.
    assert "is silent" not in down.stdout


@pytest.mark.parametrize("agents_too", [False, True])
def test_down_takes_a_half_done_run_away(muster, agents_too):
    """By the command line alone: it starts the server again."""
    file, _ = half_done(muster)
    if agents_too:
        for pid in muster.agent_pids():
            os.kill(pid, signal.SIGKILL)
    muster.run("down", "--cluster", KEY)
    wait_until(lambda: nothing_is_left(muster), what="instances and agents to be gone")
    muster.run("up", file, "--rehearse")
    assert set(versions(muster).values()) == {"2"}
    assert muster.status(KEY)["health"] == "green"


def test_what_was_taken_down_is_neither_resumed_nor_rolled_back(muster):
    file = muster.file(web(muster, instances=1))
    muster.run("up", file, "--rehearse")
    file.write_text(file.read_text().replace("    health:", "    env: { APP_COLOR: red }\n    health:"))
    muster.run("up", file, "--rehearse")
    muster.run("down")
    for command in ("resume", "rollback"):
        refused = muster.run(command, code=None)
        told = refused.stdout + refused.stderr
        assert refused.returncode not in (0, 2) and "is down" in told and "muster up FILE" in told, told
    assert not muster.app_pids()


def test_what_was_resumed_can_be_cancelled(muster):
    """Its start waits behind that of the run which the server's death interrupted."""
    file = muster.file(web(muster, instances=2, update="{ max_unavailable: 1, deadline: 60s }"))
    muster.run("up", file, "--rehearse")
    file.write_text(file.read_text().replace("--peers=", "--never-ready --peers="))
    first = muster.start("up", file, "--rehearse")
    try:
        wait_until(lambda: "starting" in [one["state"] for one in muster.instances(KEY).values()], what="one to start")
        os.kill(muster.server_pid(), signal.SIGKILL)
        assert "run-paused" in first.communicate(timeout=30)[0]
    finally:
        first.kill()
    resume = muster.start("resume", "--cluster", KEY)
    try:
        wait_until(lambda: muster.status(KEY)["run"] and last_run(muster)["state"] == "running", what="the run to go on")
        resume.send_signal(signal.SIGINT)
        told = resume.communicate(timeout=30)[0]
    finally:
        resume.kill()
    assert "cancelled" in told and "timeout" not in told, told
    assert last_run(muster)["state"] == "cancelled"
