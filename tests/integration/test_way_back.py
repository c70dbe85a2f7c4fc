"""`on_failure: rollback`: whoever waits for a release is told what follows its failure, and a death of the server keeps
nothing from going back."""

import os
import signal

from conftest import wait_until

KEY = "box"
GOOD = "sh -c 'echo ready; exec sleep 1001'"
BAD = "sh -c 'echo never; exec sleep 1002'"


def box(muster, command, deadline="60s", more=""):
    return muster.file(f"""
cluster: {KEY}
services:
  job:
    kind: app
    command: "{command}"
    instances: 2
    health: {{ log: ^ready, every: 100ms }}
    update: {{ max_unavailable: 1, on_failure: rollback, deadline: {deadline} }}
    {more}
""")


def runs(muster):
    return muster.json("history", "--runs", "--cluster", KEY)["runs"]


def bad_release(muster, deadline):
    """An `up` whose first instance never gets ready."""
    muster.run("up", box(muster, GOOD))
    up = muster.start("up", box(muster, BAD, deadline))
    wait_until(lambda: muster.state(KEY, "job-1") == "starting", what="the roll to begin")
    return up


def test_a_resume_after_the_servers_death_goes_back(muster):
    up = bad_release(muster, "5s")
    os.kill(muster.server_pid(), signal.SIGKILL)
    told = up.communicate(timeout=60)[0]
    assert up.returncode == 1 and "muster resume" in told, told
    resumed = muster.run("resume", "--cluster", KEY, code=1)
    assert "not-ready" in resumed.stderr and "went back: the last good revision runs again" in resumed.stdout
    assert [(run["action"], run["state"]) for run in runs(muster)[:2]] == [("rollback", "done"), ("resume", "failed")]
    assert runs(muster)[1]["rolled_back_by"] == runs(muster)[0]["run"]
    assert muster.status(KEY)["health"] == "green"
    muster.run("plan", box(muster, GOOD), code=0)


def test_a_run_that_a_down_cancelled_goes_nowhere(muster):
    up = bad_release(muster, "60s")
    muster.run("down", "--cluster", KEY)
    told = up.communicate(timeout=30)[0]
    assert up.returncode == 1 and "takes box down [cancelled-by-down]" in told, told
    assert "back" not in told, told
    assert [run["action"] for run in runs(muster)][:2] == ["down", "up"]


def test_a_way_back_that_can_not_begin_says_why(muster):
    muster.run("secret", "set", "a", "--cluster", KEY, input="x\n")
    muster.run("up", box(muster, GOOD, more='env: { A: "{{secret.a}}" }'))
    muster.run("secret", "delete", "a", "--cluster", KEY)
    failed = muster.run("up", box(muster, BAD, "2s"), code=1)
    assert "not-ready" in failed.stderr
    assert "going back to the last good revision: " in failed.stderr and "[secret-missing]" in failed.stderr
    assert "or go back: muster rollback" in failed.stderr
    assert "going back" not in failed.stdout
    assert runs(muster)[0]["no_way_back"]["code"] == "secret-missing"


def test_a_note_steers_no_rollback(muster):
    muster.run("up", box(muster, GOOD))
    muster.run("up", box(muster, GOOD.replace("1001", "1003")))
    muster.run("up", box(muster, GOOD.replace("1001", "1004")), "--note", "rollback to 1 was no option: see #7")
    muster.run("rollback", "--cluster", KEY)
    revisions = muster.json("history", "--cluster", KEY)["revisions"]
    assert [one["note"] for one in revisions][:2] == ["rollback to 2", "rollback to 1 was no option: see #7"]
    muster.run("rollback", "--cluster", KEY)
    assert muster.json("history", "--cluster", KEY)["revisions"][0]["note"] == "rollback to 1"
