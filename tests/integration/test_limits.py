"""Limits are the kernel's: read in the instance's own group, of whichever version of cgroups this machine has.

tests/vm/run runs these on Debian's kernel, with version 2 and systemd.
"""

import fcntl
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

import pytest
from conftest import free_ports, wait_until

ROOT = pathlib.Path("/sys/fs/cgroup")


def version_2():
    return (ROOT / "cgroup.controllers").exists()


def can_be_limited(controller, file):
    if version_2():
        return os.access(ROOT, os.W_OK) and controller in (ROOT / "cgroup.controllers").read_text().split()
    return os.access(ROOT / controller, os.W_OK) and (ROOT / controller / file).exists()


def memory_can_be_limited():
    return can_be_limited("memory", "memory.limit_in_bytes")


def cpu_can_be_limited():
    return can_be_limited("cpu", "cpu.cfs_quota_us")


def groups(cluster):
    """The groups of its instances, in every hierarchy."""
    return [path for top in ("muster", "*/muster") for path in ROOT.glob(f"{top}/{cluster}/*") if path.is_dir()]


def limit_of(pid, controller, files):
    """What the kernel holds the process to, read where /proc says its group is. "" where it is in none."""
    for line in open(f"/proc/{pid}/cgroup").read().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        for root in [ROOT / controllers, ROOT / controller] if controllers else [ROOT, ROOT / "unified"]:
            for file in files:
                if "/muster/" in path and (root / path[1:] / file).exists():
                    return (root / path[1:] / file).read_text().strip()
    return ""


def memory_limit(pid):
    return limit_of(pid, "memory", ("memory.max", "memory.limit_in_bytes"))


def tight(muster, limits, command="", cluster="tight"):
    port = free_ports(1)
    command = command or f"{muster.app} --port={{{{ports.http}}}} --id={{{{instance}}}}"
    return muster.file(f"""
cluster: {cluster}
services:
  box:
    kind: app
    command: "{command}"
    ports: {{ http: {port} }}
    limits: {limits}
    health: {{ {"http: /health" if muster.app in command else "command: /bin/true"}, every: 500ms }}
    restart: {{ first: 10ms }}
    stop: {{ timeout: 1s }}
""")


def test_limits_are_in_force_or_told(muster):
    file = tight(muster, "{ memory: 64m, cpus: 0.5, open_files: 500 }")
    muster.run("up", file)
    pid = muster.instances("tight")["box-1"]["pid"]
    limits = open(f"/proc/{pid}/limits").read()
    assert "Max open files            500" in limits
    memory = memory_limit(pid)
    cpu = limit_of(pid, "cpu", ("cpu.max", "cpu.cfs_quota_us"))
    told = [one for one in json.loads(muster.run("check", "--json", file, code=None).stdout)["findings"]
            if one["code"] == "limits-unset"]
    if memory_can_be_limited():
        assert memory == str(64 << 20), memory
    else:
        assert told, "memory isn't limited, and nobody says so"
    if cpu_can_be_limited():
        quota, period = (cpu.split() + ["100000"])[:2]
        assert int(quota) * 2 == int(period), cpu
    else:
        assert told, "processors aren't limited, and nobody says so"
    if version_2() and memory_can_be_limited() and cpu_can_be_limited():
        assert told == []
        (doctor,) = [one for one in muster.json("doctor")["checks"] if one["what"] == "cgroup"]
        assert (doctor["state"], doctor["text"]) == ("ok", "version 2")


@pytest.mark.skipif(not memory_can_be_limited(), reason="no cgroup of memory can be made here")
def test_a_limit_that_is_changed_or_taken_away_is_so_in_the_kernel(muster):
    muster.run("up", tight(muster, "{ memory: 64m, cpus: 0.5 }"))
    assert memory_limit(muster.instances("tight")["box-1"]["pid"]) == str(64 << 20)
    muster.run("up", tight(muster, "{ memory: 96m, cpus: 2 }"))
    pid = muster.instances("tight")["box-1"]["pid"]
    assert memory_limit(pid) == str(96 << 20)
    muster.run("up", tight(muster, "{}"))
    pid = muster.instances("tight")["box-1"]["pid"]
    none = memory_limit(pid)
    assert none == "max" or int(none) > 1 << 60, none
    assert limit_of(pid, "cpu", ("cpu.max", "cpu.cfs_quota_us")).split()[:1] in ([], ["max"], ["-1"])


@pytest.mark.skipif(not memory_can_be_limited(), reason="no cgroup of memory can be made here")
def test_what_is_killed_at_its_memory_limit_is_said_to_be(muster):
    hog = muster.folder / "hog.py"
    hog.write_text("print('grows', flush=True)\nx = bytearray(200 << 20)\nprint('whole', flush=True)\n")
    file = muster.file(f"""
cluster: greedy
services:
  hog:
    kind: app
    command: "/usr/bin/python3 {hog}"
    limits: {{ memory: 40m }}
    health: {{ log: "^whole$" }}
    restart: {{ first: 10ms, crashes: 2 }}
""")
    failed = muster.run("up", file, code=1)
    assert "killed at its memory limit of 40m" in failed.stdout + failed.stderr, failed.stdout + failed.stderr
    assert "limits: memory" in failed.stdout + failed.stderr
    assert muster.instances("greedy")["hog-1"]["last_exit"] == "killed at its memory limit of 40m"


@pytest.mark.skipif(not memory_can_be_limited(), reason="no cgroup of memory can be made here")
def test_down_leaves_no_group(muster):
    muster.run("up", tight(muster, "{ memory: 64m, cpus: 0.5 }"))
    assert groups("tight")
    muster.run("down", "--cluster", "tight", "--delete-data", "--confirm", "tight")
    wait_until(lambda: not groups("tight"), what="the groups to be gone")
    assert not [*ROOT.glob("muster/tight"), *ROOT.glob("*/muster/tight")]


# It leaves session, descriptors, folder, environment and parent behind: only the group knows whose it is.
STRAY = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.closerange(0, 100)
        os.chdir("/")
        os.execve("/usr/bin/python3", ["python3", "-c", WHAT], {})
    os._exit(0)
while True:
    time.sleep(100)
"""
# Holds a lock while it, or what it forked, lives; says so in a line.
LOCKS = "import fcntl, os, time\nf = open({mark!r}, 'a')\nfcntl.flock(f, fcntl.LOCK_EX)\nprint('here', file=f, flush=True)\n"
SLEEPS = "time.sleep(1000)\n"
# Another pid at every look: what kills one process after the other comes too late.
RUNS = "while True:\n  if os.fork(): os._exit(0)\n"


def lives(mark):
    with open(mark, "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@pytest.mark.parametrize("kind", ["sleeps", "runs"])
@pytest.mark.skipif(not memory_can_be_limited(), reason="no cgroup of memory can be made here")
def test_what_got_away_goes_with_its_group(muster, kind):
    if kind == "runs" and not version_2():
        pytest.skip("only a kernel that kills whole groups catches it surely")
    mark = muster.folder / "mark"
    what = LOCKS.format(mark=str(mark)) + (SLEEPS if kind == "sleeps" else RUNS)
    mark.touch()
    mark.chmod(0o666)
    (muster.folder / "stray.py").write_text(f"WHAT = {what!r}\n{STRAY}")
    muster.run("up", tight(muster, "{ memory: 256m }", f"/usr/bin/python3 {muster.folder}/stray.py"))
    wait_until(lambda: mark.read_text() == "here\n" and lives(mark), what="the stray")
    if kind == "sleeps":
        # The next one gets the lock when the first is gone.
        os.kill(muster.instances("tight")["box-1"]["pid"], signal.SIGKILL)
        wait_until(lambda: mark.read_text() == "here\nhere\n" and lives(mark), what="the stray to go with its instance")
    muster.run("down", "--cluster", "tight", "--delete-data", "--confirm", "tight")
    assert not lives(mark)
    wait_until(lambda: not groups("tight"), what="its groups to be gone")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
def test_somebody_who_may_make_no_groups_is_told_and_runs_without(muster):
    home = tempfile.mkdtemp(prefix="home-", dir=muster.folder)
    shutil.chown(home, "nobody", "nogroup")
    program = shutil.copy(muster.program, home + "/muster")
    port = free_ports(1)
    file = muster.file("cluster: plain\nservices:\n  box:\n    kind: app\n    command: /bin/sleep 1000\n"
                       f"    ports: {{ http: {port} }}\n    health: {{ command: /bin/true }}\n"
                       "    limits: { memory: 64m, open_files: 300 }\n")

    def as_nobody(*args):
        return subprocess.run(["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", program, *args], timeout=60,
                              env={"PATH": os.environ["PATH"], "MUSTER_HOME": home + "/m", "HOME": home}, cwd=home,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    try:
        findings = json.loads(as_nobody("check", "--json", str(file)).stdout)["findings"]
        assert [(one["code"], one["severity"]) for one in findings] == [("limits-unset", "warning")], findings
        (doctor,) = [one for one in json.loads(as_nobody("doctor", "--json").stdout)["checks"] if one["what"] == "cgroup"]
        assert doctor["state"] == "warning" and "no cgroup can be written here" in doctor["text"], doctor
        up = as_nobody("up", str(file))
        assert up.returncode == 0, up.stdout
        pid = json.loads(as_nobody("ps", "-c", "plain", "--json").stdout)["instances"][0]["pid"]
        assert "Max open files            300" in open(f"/proc/{pid}/limits").read()
        assert memory_limit(pid) == ""
    finally:
        as_nobody("down", "-c", "plain", "--delete-data", "--confirm", "plain")
        as_nobody("server", "stop")


@pytest.mark.skipif(not version_2() or not os.path.exists("/run/systemd/system"), reason="systemd with version 2 only")
def test_systemd_leaves_the_limits_as_they_are(muster):
    """Its groups and ours stand side by side below the one root, whose controllers it switches on and off, too."""
    muster.run("up", tight(muster, "{ memory: 64m, cpus: 0.5 }"))
    pid = muster.instances("tight")["box-1"]["pid"]

    def in_force():
        return memory_limit(pid) == str(64 << 20) and limit_of(pid, "cpu", ("cpu.max",)) == "50000 100000"

    assert in_force()
    assert "0::/muster/tight/box-1." in open(f"/proc/{pid}/cgroup").read()
    for command in (["systemctl", "daemon-reload"],
                    ["systemd-run", "--wait", "-p", "CPUQuota=50%", "-p", "MemoryMax=50M", "/bin/true"],
                    ["systemctl", "daemon-reexec"]):
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        assert in_force(), command
    assert muster.instances("tight")["box-1"]["pid"] == pid
