"""`muster push …`, the spine's way to this program."""

import json
import os
import pathlib
import shutil
import signal
import subprocess

import pytest
from wire import PROGRAM, wait_until

MUSTER = pathlib.Path(PROGRAM).with_name("muster")


@pytest.fixture
def alone(tmp_path):
    """A muster that nothing lies beside."""
    (tmp_path / "bin").mkdir()
    return shutil.copy(MUSTER, tmp_path / "bin")


def run(*command, **environment):
    return subprocess.run(command, capture_output=True, text=True, timeout=20, env={**os.environ, **environment}, check=False)


def test_what_it_is_given_reaches_the_program_beside_it(tmp_path):
    config = tmp_path / "spear.yaml"
    config.write_text("shards: 2\nprofiles:\n  small:\n    shards: 1\n")
    good = run(MUSTER, "push", "spear", "--config", config, "--check")
    assert (good.returncode, good.stdout) == (0, f"{config} is good\n")
    bad = run(MUSTER, "push", "spear", "--config", config, "--profile", "smal", "--check")
    assert (bad.returncode, bad.stdout) == (2, "") and "smal" in bad.stderr
    assert run(MUSTER, "push", "settings").stdout == run(PROGRAM, "settings").stdout != ""


def test_else_the_one_of_path_is_run(alone):
    assert run(alone, "push", "settings", PATH=f"{MUSTER.parent}:{os.environ['PATH']}").stdout == run(PROGRAM, "settings").stdout


def test_where_there_is_none_it_says_what_to_do(alone):
    done = run(alone, "push", "spear", "--config", "spear.yaml", PATH="/nowhere")
    assert (done.returncode, done.stdout) == (1, "")
    assert "[program-missing]" in done.stderr and str(pathlib.Path(alone).parent) in done.stderr and "fix: " in done.stderr


def test_it_becomes_the_server_so_that_signals_reach_it(tmp_path):
    config = tmp_path / "spear.yaml"
    config.write_text("listen: 127.0.0.1:0\nadmin: {listen: []}\nlog: {format: json}\n")
    with open(tmp_path / "log", "wb") as log:
        server = subprocess.Popen([MUSTER, "push", "spear", "--config", config], stderr=log)
    try:
        wait_until(lambda: "listening" in (tmp_path / "log").read_text(), what="the server to listen")
        assert os.readlink(f"/proc/{server.pid}/exe") == os.path.realpath(PROGRAM)
        server.send_signal(signal.SIGTERM)
        assert server.wait(10) == 0
    finally:
        server.kill()
        server.wait()
    assert json.loads((tmp_path / "log").read_text().splitlines()[-1])["event"] == "ended"
