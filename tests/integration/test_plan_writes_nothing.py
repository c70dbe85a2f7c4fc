"""`plan` changes nothing: traced by strace over command, server and agents."""

import re
import signal
import subprocess

from conftest import wait_until, web

WRITING = re.compile(r"(openat?|creat)\(.*(O_WRONLY|O_RDWR|O_CREAT|O_TRUNC)|"
                     r"^\S*\s*(rename|unlink|mkdir|rmdir|link|symlink|chmod|fchmod|chown|fchown|truncate|ftruncate|fallocate|"
                     r"mknod|utime|setxattr)\w*\(")
HARMLESS = re.compile(r'"/dev/(null|tty|pts/\d+)"|ENOENT|O_RDWR\|O_CLOEXEC\) = -1|/proc/self|muster\.db-shm|/dev/shm')


def traced(path):
    return [line for line in path.read_text().splitlines() if WRITING.search(line) and not HARMLESS.search(line)]


def test_plan_writes_nothing(muster):
    file = muster.file(web(muster, instances=2))
    trace = ["strace", "-f", "-y", "-qq", "-e", "trace=file,desc", "-e", "signal=none"]

    # With nothing there: no server, no store, and none afterwards.
    log = muster.folder / "fresh.trace"
    done = subprocess.run([*trace, "-o", log, muster.program, "plan", file, "--rehearse"], env=muster.env,
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 2, done.stderr
    assert [line for line in traced(log) if muster.home in line] == []

    # With a cluster there and a change to make: command, server and both agents.
    muster.run("up", file, "--rehearse")
    file.write_text(file.read_text().replace("    health:", "    env: { APP_COLOR: red }\n    health:"))
    logs, tracers = [], []
    for pid in [muster.server_pid(), *muster.agent_pids()]:
        logs.append(muster.folder / f"{pid}.trace")
        tracers.append(subprocess.Popen([*trace, "-o", logs[-1], "-p", str(pid)], stderr=subprocess.DEVNULL))
        wait_until(lambda: "TracerPid:\t0" not in open(f"/proc/{pid}/status").read(), what="strace to attach")
    logs.append(muster.folder / "plan.trace")
    try:
        done = subprocess.run([*trace, "-o", logs[-1], muster.program, "plan", file, "--rehearse"], env=muster.env,
                              capture_output=True, text=True, timeout=60)
        assert done.returncode == 2, done.stderr
    finally:
        for tracer in tracers:
            tracer.send_signal(signal.SIGINT)
            tracer.wait()
    written = [line for log in logs for line in traced(log)
               # Agents look after logs all the time, whoever plans.
               if not re.search(r"logs/|current\.(log|times)", line)]
    assert written == []
    assert sum(log.stat().st_size for log in logs) > 0
