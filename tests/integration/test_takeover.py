"""A home with a half-done run, as version 0.1.0 left it when its machine lost power, is taken over to its end.

The fixture is never made anew; a later form of the home gets a folder of its own beside it. It was made by
    MUSTER_REHEARSAL_NETWORK=loopback /usr/bin/python3 tests/integration/test_takeover.py NEW_FOLDER
as root: three apps behind an nginx, version 2 under way. app-1 has it, app-2 is out of the balancer and about to
stop, app-3 is still of version 1. Then everything was killed at once.

A home knows its own path, and its instances their ports, so both are fixed here; a lock lets one test at a time in.
"""

import contextlib
import fcntl
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import sys
import tarfile

import pytest

from conftest import BUILD, TOP, Muster, edge, get, processes_below, purge, wait_until

FIXTURE = TOP / "tests" / "fixtures" / "half-done-run-v1"
HOME = "/tmp/mt-half-done-run-v1"
PORT = 18730
KEY = "half@rehearsal"
CLUSTER = f"""cluster: half
hosts:
  h1: {{ address: 10.0.0.1 }}
services:
  app:
    kind: app
    artifact: ./app.sh
    command: "{{{{artifact}}}} --port={{{{ports.http}}}} --address={{{{address}}}} --id={{{{instance}}}} --version=1"
    instances: 3
    ports: {{ http: {PORT + 1} }}
    env: {{ APP_TOKEN: "{{{{secret.token}}}}" }}
    data: [box]
    health: {{ http: /health, every: 1s }}
  edge:
    kind: nginx
    listen: {PORT}
    routes:
      - {{ path: /, to: app, websocket: true }}
"""


@contextlib.contextmanager
def home():
    """A Muster in the fixed home, empty but for the example app, for one at a time."""
    with open("/tmp/muster-half-done-run.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        purge(HOME)
        one = Muster(home=HOME)
        try:
            shutil.copy(BUILD / "example-app", HOME)
            yield one
        finally:
            one.close()


def make(out):
    out = pathlib.Path(out)
    out.mkdir()
    with home() as muster:
        script = muster.file(f'#!/bin/sh\nexec {HOME}/example-app "$@"\n', "app.sh")
        script.chmod(0o755)
        file = muster.file(CLUSTER, "half.yaml")
        muster.run("secret", "set", "--cluster", KEY, "token", input="of the fixture\n")
        muster.run("up", file, "--rehearse")
        for data in pathlib.Path(HOME).glob("m/hosts/*/*/instances/app-*/data/box"):
            (data / "precious").write_text("kept\n")
        # The second stops slowly, so that there is time to pull the plug.
        file.write_text(CLUSTER.replace("--version=1", "--version=2"))
        slow = muster.instances(KEY)["app-2"]["pid"]
        os.kill(slow, signal.SIGSTOP)
        up = muster.start("up", file, "--rehearse")
        wait_until(lambda: muster.state(KEY, "app-2") == "stopping", what="the second to be under way")
        pids = [up.pid, muster.server_pid(), *muster.agent_pids()]  # in the order in which they start each other
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        for pid in processes_below(HOME + "/m"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        up.communicate(timeout=30)
        wait_until(lambda: not processes_below(HOME + "/m"), what="silence")
        with tarfile.open(out / "home.tar.gz", "w:gz") as tar:
            tar.add(HOME + "/m", arcname="m", filter=lambda one: None if one.name.endswith(".sock") else one)
        shutil.rmtree(HOME + "/m")  # there is nothing to take down


def unpack():
    with tarfile.open(FIXTURE / "home.tar.gz") as tar:
        tar.extractall(HOME, filter="fully_trusted") if hasattr(tarfile, "data_filter") else tar.extractall(HOME)
        if os.geteuid() != 0:
            return
        for one in tar.getmembers():  # by name: on this machine the user may have another number
            with contextlib.suppress(KeyError):
                pwd.getpwnam(one.uname)
                os.chown(f"{HOME}/{one.name}", pwd.getpwnam(one.uname).pw_uid, pwd.getpwnam(one.uname).pw_gid,
                         follow_symlinks=False)
                continue
            subprocess.run(["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", one.uname],
                           check=True)
            os.chown(f"{HOME}/{one.name}", pwd.getpwnam(one.uname).pw_uid, pwd.getpwnam(one.uname).pw_gid)


@pytest.fixture
def muster():
    with home() as one:
        unpack()
        yield one


def info(muster, name):
    one = muster.instances(KEY)[name]
    return get(f"http://{one['address']}:{one['ports']['http']}/")[2]


def versions(muster):
    return [next(line for line in info(muster, f"app-{n}").splitlines() if line.startswith("version: "))[9:]
            for n in (1, 2, 3)]


def test_a_half_done_run_of_version_1_is_taken_over_and_done(muster):
    muster.run("server", "start")
    run = wait_until(lambda: (lambda last: last["state"] == "paused" and last)(
        muster.json("history", "--runs", "--cluster", KEY)["runs"][0]), what="the run to be taken over")
    wait_until(lambda: muster.state(KEY, "app-1") == muster.state(KEY, "app-3") == "ready", what="the rest to come back")
    first = muster.instances(KEY)["app-1"]["pid"]
    muster.run("resume", "--cluster", KEY)
    assert versions(muster) == ["2", "2", "2"]
    assert muster.instances(KEY)["app-1"]["pid"] == first  # that one had been done
    assert muster.status(KEY)["health"] == "green"
    wait_until(lambda: {get(edge(muster, KEY))[1].get("X-Instance") for _ in range(12)} == {"app-1", "app-2", "app-3"},
               what="all behind the balancer")

    # Everything else is there, too: data, secret, history, and the way back.
    for data in pathlib.Path(HOME).glob("m/hosts/*/*/instances/app-*/data/box"):
        assert (data / "precious").read_text() == "kept\n"
    assert "APP_TOKEN=of the fixture" in info(muster, "app-2")
    runs = muster.json("history", "--runs", "--cluster", KEY)["runs"]
    assert runs[0]["state"] == "done" and run["run"] in [one["run"] for one in runs[1:]]
    muster.run("rollback", "--cluster", KEY, "1")
    assert versions(muster) == ["1", "1", "1"]
    muster.run("down", "--cluster", KEY, "--delete-data", "--confirm", "half")
    wait_until(lambda: not list(pathlib.Path(HOME).glob("m/hosts/*")), what="nothing to be left")


def test_an_up_takes_over_as_well_as_resume(muster):
    (muster.folder / "app.sh").write_text(f'#!/bin/sh\nexec {HOME}/example-app "$@"\n')
    (muster.folder / "app.sh").chmod(0o755)
    file = muster.file(CLUSTER.replace("--version=1", "--version=2"), "half.yaml")
    muster.run("up", file, "--rehearse")
    assert versions(muster) == ["2", "2", "2"]
    muster.run("plan", file, "--rehearse", code=0)


def test_down_takes_a_half_done_run_of_version_1_away(muster):
    muster.run("down", "--cluster", KEY, "--delete-data", "--confirm", "half")
    wait_until(lambda: not list(pathlib.Path(HOME).glob("m/hosts/*")), what="nothing to be left")
    assert muster.app_pids() == []


if __name__ == "__main__":
    make(sys.argv[1])
