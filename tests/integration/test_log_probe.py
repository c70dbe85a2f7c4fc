"""Health by a line of the log: each life of an instance has to write its own."""

import os
import pathlib
import signal

from conftest import edge, get, wait_until, web

KEY = "web@rehearsal"


def cluster(muster):
    """Apps that say they are ready when nothing holds them back: a file `hold` in the folder of the tests."""
    hold = muster.folder / "hold"
    script = muster.file(f"#!/bin/sh\necho begun\nwhile [ -e {hold} ]; do sleep 0.05; done\nexec {muster.app} \"$@\"\n", "app.sh")
    script.chmod(0o755)
    muster.folder.chmod(0o755)
    text = web(muster, instances=2, update="{ max_unavailable: 1, deadline: 5s }")
    text = text.replace(f"artifact: {muster.app}", "artifact: ./app.sh")
    text = text.replace("{ http: /health, every: 1s }", "{ log: '^ready on ', every: 100ms }")
    return muster.file(text), hold


def served_by(muster):
    return {get(edge(muster, KEY))[1].get("X-Instance") for _ in range(12)}


def kill_agents(muster):
    """Kills the agents of all hosts; what it returns waits for their successors."""
    killed = muster.agent_pids()
    assert killed
    for pid in killed:
        os.kill(pid, signal.SIGKILL)

    def returned():
        now = muster.agent_pids()
        return (len(now) == len(killed) and set(now).isdisjoint(killed)
                and all(host["connected"] for host in muster.status(KEY)["hosts"]))

    return lambda: wait_until(returned, what="new agents")


def log_of(muster, name):
    return next(pathlib.Path(muster.home).glob(f"m/hosts/{KEY}/*/instances/{name}/logs/current.log")).read_text()


def test_a_line_of_the_former_life_makes_nobody_ready(muster):
    file, hold = cluster(muster)
    muster.run("up", file, "--rehearse")
    assert served_by(muster) == {"app-1", "app-2"}

    # It dies; the next life stands still before its line, below the line of the former.
    hold.touch()
    before = muster.instances(KEY)["app-1"]["pid"]
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: log_of(muster, "app-1").count("begun") == 2, what="the next life")
    assert "ready on " in log_of(muster, "app-1")
    # An `up` looks at it for its whole deadline.
    failed = muster.run("up", file, "--rehearse", "--restart", "app-1", code=1)
    assert "not-ready" in failed.stdout + failed.stderr and "no line of its log matches" in failed.stdout + failed.stderr
    assert muster.state(KEY, "app-1") != "ready"
    assert served_by(muster) == {"app-2"}

    # A new agent has only the files to go by: the log with a line, and that this life hasn't written it.
    kill_agents(muster)()
    failed = muster.run("up", file, "--rehearse", "--restart", "app-1", code=1)
    assert "no line of its log matches" in failed.stdout + failed.stderr
    # The other one wrote its line before, and is as ready as it was.
    assert muster.state(KEY, "app-2") == "ready"

    hold.unlink()
    muster.run("up", file, "--rehearse")
    wait_until(lambda: served_by(muster) == {"app-1", "app-2"}, what="both behind the balancer")
    muster.run("plan", file, "--rehearse", code=0)


def test_a_ready_instance_stays_so_though_its_line_is_far_behind(muster):
    file, _ = cluster(muster)
    muster.run("up", file, "--rehearse")
    one = muster.instances(KEY)["app-1"]
    returned = kill_agents(muster)
    # While no agent looks, the line is taken away, as a rotation by somebody else would.
    log = next(pathlib.Path(muster.home).glob(f"m/hosts/{KEY}/*/instances/app-1/logs/current.log"))
    os.truncate(log, 0)
    returned()
    wait_until(lambda: muster.status(KEY)["health"] == "green", what="green")
    after = muster.instances(KEY)["app-1"]
    assert (after["pid"], after["state"], after["restarts"]) == (one["pid"], "ready", one["restarts"])
