"""What integration tests stand on: a muster of their own in a home of their own, with nothing left behind."""

import contextlib
import glob
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("MUSTER_BUILD", TOP / "build"))
HOMES = "/tmp/mt-"  # short: paths of Unix sockets have at most 107 bytes
# Who was started behind a shell's back has Ctrl-C ignored, and all that it starts would inherit that.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def wait_until(condition, seconds=20, what="condition"):
    """Asks again until `condition` is true, at most `seconds`. Returns what it returned."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.02)  # between two looks at something that another process does


def impatient(text):
    """The same file with a deadline that something which never gets ready soon misses. What is to get ready has the long
    one: a busy machine may stand still for seconds."""
    assert "deadline: 60s" in text
    return text.replace("deadline: 60s", "deadline: 3s")


def processes_below(folder):
    """pids of living processes that work in `folder` or name it in their command line."""
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            state = pathlib.Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[0]
            command = pathlib.Path(f"/proc/{entry}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            where = os.readlink(f"/proc/{entry}/cwd")
            environment = pathlib.Path(f"/proc/{entry}/environ").read_bytes().decode(errors="replace")
        except (OSError, IndexError):
            continue
        home = f"MUSTER_HOME={folder}/" in environment and "pytest" not in command
        if state != "Z" and (home or folder in command or where.startswith(folder)):
            found[int(entry)] = command
    return found


def free_ports(count):
    """A run of `count` ports that nothing listens on just now."""
    for _ in range(200):
        first = random.randrange(20000, 32000 - count)
        with contextlib.ExitStack() as stack:
            try:
                for port in range(first, first + count):
                    one = stack.enter_context(socket.socket())
                    one.bind(("127.0.0.1", port))
            except OSError:
                continue
        return first
    raise RuntimeError("no free ports")


class Muster:
    """One MUSTER_HOME and the commands that use it."""

    def __init__(self, build=BUILD, home=None):
        self.program = str(build / "muster")
        self.app = str(build / "example-app")
        self.home = home or tempfile.mkdtemp(prefix=HOMES)
        os.makedirs(self.home, exist_ok=True)
        os.chmod(self.home, 0o711)
        pathlib.Path(self.home, "owner").write_text(str(os.getpid()))
        self.folder = pathlib.Path(self.home, "work")
        self.folder.mkdir(mode=0o755)
        self.env = {**os.environ, "MUSTER_HOME": self.home + "/m", "NO_COLOR": "1"}
        self.env.setdefault("MUSTER_REHEARSAL_NETWORK", "loopback")

    def run(self, *args, code=0, timeout=60, env=None, input=None):
        done = subprocess.run([self.program, *map(str, args)], env={**self.env, **(env or {})}, cwd=self.folder,
                              capture_output=True, text=True, timeout=timeout, input=input)
        if code is not None:
            assert done.returncode == code, f"muster {args}: {done.returncode}\n{done.stdout}\n{done.stderr}\n{self.logs()}"
        return done

    def start(self, *args, env=None):
        return subprocess.Popen([self.program, *map(str, args)], env={**self.env, **(env or {})}, cwd=self.folder,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def json(self, *args, code=0, **more):
        return json.loads(self.run(*args, "--json", code=code, **more).stdout)

    def file(self, text, name="cluster.yaml"):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def status(self, cluster):
        return self.json("status", "--cluster", cluster)

    def instances(self, cluster):
        return {one["name"]: one for one in self.json("ps", "--cluster", cluster)["instances"]}

    def state(self, cluster, instance):
        return self.instances(cluster).get(instance, {}).get("state")

    def server_pid(self):
        return json.loads(self.run("server", "status", "--json").stdout)["pid"]

    def agent_pids(self):
        return [pid for pid, command in processes_below(self.home).items() if " agent run " in command]

    def app_pids(self):
        return [pid for pid, command in processes_below(self.home).items() if "example-app" in command.split(" ")[0]]

    def logs(self):
        text = ""
        for path in glob.glob(self.home + "/m/server/server.log") + glob.glob(self.home + "/m/hosts/*/*/agent.log"):
            text += f"--- {path}\n" + "".join(pathlib.Path(path).read_text(errors="replace").splitlines(True)[-30:])
        return text

    def close(self):
        """Takes everything down; what doesn't go by itself is killed, and a `down` that hangs is told of."""
        hangs = None
        try:
            for cluster in self.json("status", "--all", timeout=20)["clusters"]:
                self.run("down", "--cluster", cluster["cluster"], "--delete-data", "--confirm", cluster["name"],
                         code=None, timeout=30)
        except subprocess.TimeoutExpired as late:
            said = [text.decode(errors="replace") for text in (late.stdout, late.stderr) if text]
            hangs = f"{late}\n{''.join(said)}{processes_below(self.home)}\n{self.logs()}"
        except Exception:
            pass  # a test of what doesn't work may have left what doesn't
        with contextlib.suppress(Exception):
            self.run("server", "stop", code=None, timeout=10)
        purge(self.home)
        assert not hangs, hangs


def purge(home):
    end = time.monotonic() + 10
    while time.monotonic() < end:
        left = processes_below(home)
        if not left:
            break
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    shutil.rmtree(home, ignore_errors=True)


def pytest_configure(config):
    config.addinivalue_line("markers", "never_again: looks for lost data; where it fails, tools/dev doesn't try it again")


@pytest.fixture(scope="session", autouse=True)
def _no_leftovers():
    """Clears what earlier runs left that were killed."""
    for home in glob.glob(HOMES + "*"):
        try:
            owner = int(pathlib.Path(home, "owner").read_text())
            os.kill(owner, 0)
        except ProcessLookupError:
            purge(home)
        except (OSError, ValueError):
            continue
    yield


@pytest.fixture
def muster():
    one = Muster()
    yield one
    one.close()


def get(url, timeout=5, headers=None):
    """(status, headers, body) of a GET; errors of HTTP are answers too."""
    request = urllib.request.Request(url, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.status, dict(answer.headers), answer.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read().decode(errors="replace")


def web(muster, instances=4, hosts=2, name="web", extra="", app_extra="", update="{ max_unavailable: 1 }", command="",
        listen=None, port=None):
    """A cluster file with nginx in front of apps, on ports of its own."""
    port = port or free_ports(instances + 1)
    listen = listen or port + instances
    lines = [f"cluster: {name}", "hosts:"]
    for host in range(1, hosts + 1):
        lines.append(f"  h{host}: {{ address: 10.0.0.{host} }}")
    command = command or ("{{artifact}} --port={{ports.http}} --address={{address}} --id={{instance}} "
                          "--peers={{peers.http}} " + extra)
    lines += ["services:", "  app:", "    kind: app", f'    command: "{command}"', f"    artifact: {muster.app}",
              f"    instances: {instances}", f"    ports: {{ http: {port} }}",
              "    health: { http: /health, every: 1s }", f"    update: {update}"]
    if app_extra:
        lines += ["    " + line for line in app_extra.strip().splitlines()]
    lines += ["  edge:", "    kind: nginx", f"    listen: {listen}", "    hosts: [h1]", "    routes:",
              "      - { path: /, to: app, websocket: true }"]
    return "\n".join(lines) + "\n"


def edge(muster, cluster):
    """The URL of the load balancer."""
    endpoints = muster.status(cluster)["endpoints"]
    return next(one["url"] for one in endpoints if one["service"] == "edge")
