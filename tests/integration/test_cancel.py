"""What waits for an instance to be well can be given up: by Ctrl-C, by a `down`, and after the server's death."""

import os
import signal

from conftest import wait_until

KEY = "box"


def box(muster, health="true", min_ready="0s"):
    return muster.file(f"""
cluster: {KEY}
services:
  job:
    kind: app
    command: sleep 1001
    health: {{ command: "{health}", every: 200ms, timeout: 600s }}
    update: {{ min_ready: {min_ready}, deadline: 600s }}
""")


def job(muster):
    return muster.instances(KEY).get("job-1", {})


def proof_under_way(muster, min_ready="0s"):
    """An `up` that waits for a check which never answers."""
    muster.run("up", box(muster))
    before = job(muster)["hash"]
    up = muster.start("up", box(muster, health="sleep 1002", min_ready=min_ready))
    wait_until(lambda: job(muster)["hash"] != before, what="the check to be changed")
    return up


def test_down_does_not_wait_for_min_ready(muster):
    up = muster.start("up", box(muster, min_ready="600s"))
    wait_until(lambda: (muster.json("status", "--all")["clusters"] or [{}])[0].get("run"), what="the run to begin")
    wait_until(lambda: job(muster).get("state") == "ready", what="it to be ready")
    muster.run("down", "--cluster", KEY, timeout=30)
    told = up.communicate(timeout=10)[0]
    assert up.returncode == 1 and "takes box down [cancelled-by-down]" in told, told
    assert muster.status(KEY)["health"] == "down"


def test_ctrl_c_gives_a_proof_up(muster):
    up = proof_under_way(muster)
    pid = job(muster)["pid"]
    up.send_signal(signal.SIGINT)
    told = up.communicate(timeout=30)[0]
    assert up.returncode == 130 and "the run was cancelled" in told, told
    assert job(muster)["pid"] == pid


def test_a_proof_that_the_server_died_in_holds_up_no_down(muster):
    up = proof_under_way(muster, min_ready="70s")
    os.kill(muster.server_pid(), signal.SIGKILL)
    told = up.communicate(timeout=60)[0]
    assert up.returncode == 1 and "muster resume" in told, told
    muster.run("down", "--cluster", KEY, timeout=30)
    assert muster.status(KEY)["health"] == "down"
