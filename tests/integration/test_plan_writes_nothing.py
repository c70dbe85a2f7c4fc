"""`plan` changes nothing: traced by strace over command, server and agents."""

import re
import signal
import subprocess

from conftest import wait_until, web

WRITING = re.compile(r"(openat?|creat)\(.*(O_WRONLY|O_RDWR|O_CREAT|O_TRUNC)|"
                     r"^\S*\s*(rename|unlink|mkdir|rmdir|link|symlink|chmod|fchmod|chown|fchown|truncate|ftruncate|fallocate|"
                     r"mknod|utime|setxattr)\w*\(")
# Server and agents have their files open already: the store is written to by its descriptor alone. strace -y names
# what is behind it; sockets and pipes have no path.
STORING = re.compile(r"^\S*\s*(?:write|writev|pwrite|pwrite64|pwritev|pwritev2)\(\d+<(/[^>]*)>")
HARMLESS = re.compile(r'"/dev/(null|tty|pts/\d+)"|ENOENT|O_RDWR\|O_CLOEXEC\) = -1|/proc/self|muster\.db-shm|/dev/shm')
TRACE = ["strace", "-f", "-y", "-qq", "-e", "trace=file,desc", "-e", "signal=none"]
# Agents turn over and stamp the logs of their instances all the time, whoever plans.
LOG_KEEPING = re.compile(r"logs/|current\.(log|times)")


def traced(path, home):
    """What was written according to the trace: names made, changed or opened to write; bytes put into files below `home`."""
    found = []
    for line in path.read_text(errors="replace").splitlines():
        into = STORING.match(line)
        stored = into and into[1].startswith(home + "/")
        if (stored or WRITING.search(line)) and not HARMLESS.search(line):
            found.append(line)
    return found


class Traced:
    """One command, traced together with the server and both agents."""

    def __init__(self, muster, name):
        self.muster, self.name, self.logs, self.tracers = muster, name, [], []

    def run(self, *args, input=None):
        for pid in [self.muster.server_pid(), *self.muster.agent_pids()]:
            self.logs.append(self.muster.folder / f"{self.name}-{pid}.trace")
            self.tracers.append(subprocess.Popen([*TRACE, "-o", self.logs[-1], "-p", str(pid)], stderr=subprocess.DEVNULL))
            wait_until(lambda: "TracerPid:\t0" not in open(f"/proc/{pid}/status").read(), what="strace to attach")
        self.logs.append(self.muster.folder / f"{self.name}.trace")
        try:
            return subprocess.run([*TRACE, "-o", self.logs[-1], self.muster.program, *args], env=self.muster.env,
                                  capture_output=True, text=True, timeout=60, input=input)
        finally:
            for tracer in self.tracers:
                tracer.send_signal(signal.SIGINT)
                tracer.wait()

    def written(self):
        return [line for log in self.logs for line in traced(log, self.muster.home) if not LOG_KEEPING.search(line)]


def test_plan_writes_nothing(muster):
    file = muster.file(web(muster, instances=2))

    # With nothing there: no server, no store, and none afterwards.
    log = muster.folder / "fresh.trace"
    done = subprocess.run([*TRACE, "-o", log, muster.program, "plan", file, "--rehearse"], env=muster.env,
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 2, done.stderr
    assert [line for line in traced(log, muster.home) if muster.home in line] == []

    # With a cluster there and a change to make: command, server and both agents.
    muster.run("up", file, "--rehearse")
    file.write_text(file.read_text().replace("    health:", "    env: { APP_COLOR: red }\n    health:"))
    plan = Traced(muster, "plan")
    done = plan.run("plan", file, "--rehearse")
    assert done.returncode == 2, done.stderr
    assert len(plan.logs) == 4 and all(one.stat().st_size for one in plan.logs)
    assert plan.written() == []

    # That the same eyes see a write: a secret goes into the store that the server has open.
    control = Traced(muster, "control")
    done = control.run("secret", "set", "color", "--cluster", "web@rehearsal", input="red\n")
    assert done.returncode == 0, done.stderr
    assert any(STORING.match(line) and "muster.db" in line for line in control.written()), control.written()
