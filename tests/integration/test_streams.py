"""Commands beside instances and logs, as long and as slow as they come: nothing lost, nothing left, nothing grows."""

import base64
import contextlib
import hashlib
import http.client
import json
import pathlib
import random
import signal
import socket
import subprocess
import time

import pytest

from conftest import processes_below, wait_until

MIB = 1 << 20


@pytest.fixture
def box(muster):
    """A cluster of two instances that do nothing."""
    muster.run("up", muster.file("""
cluster: box
services:
  app:
    kind: app
    command: sleep 100000
    instances: 2
"""))
    return muster


def exec_args(*command, instance="app-1"):
    return ["exec", "--cluster", "box", instance, "--", *command]


def begin(muster, *args, **more):
    """muster as a process with pipes of bytes."""
    more = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
    return subprocess.Popen([muster.program, *args], env=muster.env, cwd=muster.folder, **more)


def resident(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    raise AssertionError(f"{pid} has gone")


def instance_folder(muster, name="app-1"):
    return next(pathlib.Path(muster.home).glob(f"m/hosts/box/*/instances/{name}"))


def runs(muster, mark):
    return [pid for pid, command in processes_below(muster.home).items() if mark in command and "exec --cluster" not in command]


class Api(http.client.HTTPConnection):
    """The API as any program reaches it: HTTP on a Unix socket."""

    def __init__(self, muster):
        super().__init__("muster", timeout=30)
        self.path = muster.home + "/m/server/api.sock"

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(self.path)

    def ask(self, method, target, body=b""):
        self.request(method, target, body)
        answer = self.getresponse()
        return answer.status, answer.read()


def events(answer):
    """(name, data) of each server-sent event, as they come."""
    name = None
    for line in answer:
        line = line.decode().rstrip("\n")
        if line.startswith("event: "):
            name = line[7:]
        elif line.startswith("data: "):
            yield name, json.loads(line[6:])


# --- Failures first.


def test_a_command_that_is_not_there_exits_127(box):
    done = box.run(*exec_args("no-such-program"), code=127)
    assert "there is no program no-such-program on this host [program-missing]" in done.stderr
    assert done.stdout == ""
    answer = box.json(*exec_args("no-such-program")[:3], "--json", "app-1", "--", "no-such-program", code=127)
    assert answer["status"] == 127 and answer["error"]["code"] == "program-missing"


def test_what_cannot_be_executed_exits_126(box):
    assert "not-executable" in box.run(*exec_args("/etc/passwd"), code=126).stderr
    script = instance_folder(box) / "data" / "script"
    script.write_text("#!/no/such/shell\n")
    script.chmod(0o755)
    done = box.run(*exec_args("./data/script"), code=127)
    assert "its interpreter is missing" in done.stderr


def test_ctrl_c_ends_the_command_too(box):
    one = begin(box, *exec_args("sh", "-c", "echo begun; sleep 54321; echo not reached"))
    assert one.stdout.readline() == b"begun\n"
    assert runs(box, "54321")
    one.send_signal(signal.SIGINT)
    one.communicate(timeout=20)
    assert one.returncode == -signal.SIGINT
    wait_until(lambda: not runs(box, "54321"), what="the command to end")


def test_a_client_that_goes_away_ends_its_command(box):
    # One that waits for output, one that doesn't read any, and one in the middle of its input.
    for command in ("echo begun; sleep 54321", "echo begun; yes 54321", "echo begun; head -c 7 >/dev/null; sleep 54321"):
        one = begin(box, *exec_args("sh", "-c", command), stdin=subprocess.PIPE)
        assert one.stdout.readline() == b"begun\n"
        wait_until(lambda: runs(box, "54321"), what="the command to run")
        one.kill()
        one.communicate()
        wait_until(lambda: not runs(box, "54321"), what="the command to end")
    # The agent is as it was.
    assert box.run(*exec_args("echo", "still here")).stdout == "still here\n"


def test_a_reader_that_leaves_ends_the_command(box):
    one = begin(box, *exec_args("yes", "54321"))
    assert one.stdout.readline() == b"54321\n"
    one.stdout.close()
    assert one.wait(timeout=20) == 128 + signal.SIGPIPE
    wait_until(lambda: not runs(box, "54321"), what="the command to end")


# --- Input.


def test_standard_input_reaches_the_command_and_so_does_its_end(box):
    assert box.run(*exec_args("cat"), input="hi\n").stdout == "hi\n"
    assert box.run(*exec_args("cat"), input="").stdout == ""
    assert box.run(*exec_args("sh", "-c", "read x; echo got $x; exit 5"), input="one\ntwo\n", code=5).stdout == "got one\n"
    # What isn't read doesn't keep it.
    assert box.run(*exec_args("echo", "done"), input="x" * 3 * MIB).stdout == "done\n"
    left = subprocess.run(["sh", "-c", f'"{box.program}" exec --cluster box -n app-1 -- cat; cat'], env=box.env,
                          cwd=box.folder, input=b"mine", capture_output=True, timeout=60)
    assert left.stdout == b"mine"


def test_input_goes_on_while_output_comes(box):
    one = begin(box, *exec_args("sh", "-c", "while read x; do echo got $x; done; echo over"), stdin=subprocess.PIPE)
    for line in (b"one", b"two"):
        one.stdin.write(line + b"\n")
        one.stdin.flush()
        assert one.stdout.readline() == b"got " + line + b"\n"
    one.stdin.close()
    assert one.stdout.read() == b"over\n"
    assert one.wait(timeout=20) == 0


def test_bytes_of_any_kind_come_back_as_they_went(box):
    data = random.Random(1).randbytes(5 * MIB + 17) + "ünïcödé €".encode() * 100000
    one = begin(box, *exec_args("cat"), stdin=subprocess.PIPE)
    out, err = one.communicate(data, timeout=120)
    assert one.returncode == 0, err
    assert hashlib.sha256(out).digest() == hashlib.sha256(data).digest()


def test_any_http_client_can_run_a_command_with_input(box):
    # All of it with the request …
    api = Api(box)
    api.request("POST", "/v1/clusters/box/exec", json.dumps({"instance": "app-1", "argv": ["cat"], "input": "hello"}))
    assert list(events(api.getresponse())) == [("chunk", {"stream": "out", "data": "hello"}), ("end", {"status": 0})]

    # … or piece by piece, while it runs.
    api = Api(box)
    api.request("POST", "/v1/clusters/box/exec",
                json.dumps({"instance": "app-1", "argv": ["cat"], "input": "a", "input_open": True}))
    stream = events(api.getresponse())
    name, started = next(stream)
    assert name == "started" and started["input"] is True
    target = f"/v1/clusters/box/exec/{started['exec']}/input"
    assert next(stream) == ("chunk", {"stream": "out", "data": "a"})
    assert Api(box).ask("POST", target, b"b") == (200, b"{}\n")
    assert next(stream) == ("chunk", {"stream": "out", "data": "b"})
    assert Api(box).ask("POST", target + "?end=1", b"\xff")[0] == 200
    name, chunk = next(stream)
    assert name == "chunk" and base64.b64decode(chunk["base64"]) == b"\xff"
    assert next(stream) == ("end", {"status": 0})
    status, body = Api(box).ask("POST", target, b"late")
    assert status == 404 and json.loads(body)["code"] == "exec-over"


# --- Back-pressure.


def quiet(muster):
    """The processes that must not grow, and how large they are."""
    pids = [muster.server_pid(), *muster.agent_pids()]
    assert len(pids) == 2
    return {pid: resident(pid) for pid in pids}


def settle(look, seconds=20):
    """Waits until `look` gives the same several times."""
    same, last, end = 0, None, time.monotonic() + seconds
    while same < 10:
        assert time.monotonic() < end
        now = look()
        same, last = (same + 1, last) if now == last else (0, now)
        time.sleep(0.02)  # between two looks at what other processes do
    return last


def test_a_command_that_writes_faster_than_it_is_read_makes_nobody_grow(box):
    box.run(*exec_args("sh", "-c", "yes | head -c 3M"))  # what the first one costs isn't counted
    before = quiet(box)
    one = begin(box, *exec_args("sh", "-c", "yes | head -c 200M"))
    assert one.stdout.read(2) == b"y\n"
    # Nobody reads: the command comes to stand, far from its end.
    pid = wait_until(lambda: runs(box, "head -c 200M"), what="the command")[0]
    settle(lambda: pathlib.Path(f"/proc/{pid}/io").read_text() if pathlib.Path(f"/proc/{pid}/io").exists() else "")
    stalled = {pid: resident(pid) - size for pid, size in before.items()}
    # Others aren't held up by it.
    assert box.run(*exec_args("echo", "quick")).stdout == "quick\n"
    most = dict(stalled)
    read = 2
    while chunk := one.stdout.read(4 * MIB):
        read += len(chunk)
        for pid, size in before.items():
            most[pid] = max(most[pid], resident(pid) - size)
    assert one.wait(timeout=60) == 0
    assert read == 200 * MIB
    assert max(most.values()) < 24 * MIB, most


def test_input_that_is_not_read_makes_nobody_grow(box):
    box.run(*exec_args("sh", "-c", "cat >/dev/null"), input="x" * 3 * MIB)
    before = quiet(box)
    go = instance_folder(box) / "data" / "go"
    with open("/dev/zero", "rb") as zero:
        head = subprocess.Popen(["head", "-c", "100M"], stdin=zero, stdout=subprocess.PIPE)
        one = begin(box, *exec_args("sh", "-c", "until test -e data/go; do sleep 0.05; done; wc -c"), stdin=head.stdout)
        head.stdout.close()
        settle(lambda: pathlib.Path(f"/proc/{one.pid}/io").read_text().split("syscw")[0])
        grown = {pid: resident(pid) - size for pid, size in before.items()}
        assert head.poll() is None
        go.write_text("")
        out, _ = one.communicate(timeout=120)
        head.wait()
    assert int(out) == 100 * MIB
    assert max(grown.values()) < 16 * MIB, grown


# --- Logs.


def test_logs_come_whole_and_in_order_however_many(box):
    before = {}
    for name in ("app-1", "app-2"):
        log = instance_folder(box, name) / "logs" / "current.log"
        with open(log, "a") as file:
            file.writelines(f"{number} of {name} {'.' * 80}\n" for number in range(100000))
    box.run("logs", "--cluster", "box", "--tail", "20000")
    before = quiet(box)
    one = begin(box, "logs", "--cluster", "box", "--tail", "1000000")
    next_of = {"app-1": 0, "app-2": 0}
    for line in one.stdout:
        name, _, text = line.decode().partition(" | ")
        name = name.strip()
        assert text.startswith(f"{next_of[name]} of {name} "), line
        next_of[name] += 1
        if next_of[name] == 50000:
            grown = {pid: resident(pid) - size for pid, size in before.items()}
    assert one.wait(timeout=60) == 0
    assert next_of == {"app-1": 100000, "app-2": 100000}
    assert max(grown.values()) < 24 * MIB, grown
    since = box.run("logs", "--cluster", "box", "--since", "1h", "app-2").stdout.splitlines()
    assert len(since) == 100000


def test_a_followed_log_that_nobody_reads_makes_nobody_grow(box):
    log = instance_folder(box) / "logs" / "current.log"
    log.write_text("first\n")
    one = begin(box, "logs", "--cluster", "box", "-f", "app-1", "--json")
    assert json.loads(one.stdout.readline())["line"] == "first"
    before = quiet(box)
    with open(log, "a") as file:
        file.writelines(f"{number} {'.' * 100}\n" for number in range(120000))
    settle(lambda: [resident(pid) // MIB for pid in before])
    grown = {pid: resident(pid) - size for pid, size in before.items()}
    assert max(grown.values()) < 24 * MIB, grown
    # What was kept waiting is all there.
    for number in range(120000):
        assert json.loads(one.stdout.readline())["line"].startswith(f"{number} ")
    one.send_signal(signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        one.communicate(timeout=20)
    assert one.returncode == -signal.SIGINT


COUNTING = """
cluster: box
services:
  app:
    kind: app
    command: "sh -c 'n=0; while sleep 0.05; do n=$((n+1)); echo count $n; done'"
    instances: %s
"""


class Followed:
    """What `muster logs -f` has written so far."""

    def __init__(self, muster):
        self.lines = (muster.folder / "followed").open("w+")
        self.words = (muster.folder / "words").open("w+")
        self.process = begin(muster, "logs", "-f", "--cluster", "box", stdout=self.lines, stderr=self.words)

    def counts(self, name):
        text = pathlib.Path(self.lines.name).read_text().splitlines()
        return [int(line.split()[-1]) for line in text if line.startswith(name + " |")]

    def said(self):
        return pathlib.Path(self.words.name).read_text()

    def goes_on(self, name, more=5):
        last = max(self.counts(name), default=0)
        wait_until(lambda: max(self.counts(name), default=0) > last + more, what=f"more of {name}\n{self.said()}")

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(timeout=10)
        self.process = None
        self.lines.close()
        self.words.close()


def test_who_follows_logs_is_told_of_all_that_comes(muster):
    muster.run("up", muster.file(COUNTING % 1))
    followed = Followed(muster)
    followed.goes_on("app-1")
    muster.run("scale", "--cluster", "box", "app", "2")
    followed.goes_on("app-2")
    assert followed.counts("app-2")[0] == 1
    for pid in muster.agent_pids():
        subprocess.run(["kill", "-9", str(pid)], check=True)
    followed.goes_on("app-1")
    followed.goes_on("app-2")
    subprocess.run(["kill", "-9", str(muster.server_pid())], check=True)
    wait_until(lambda: "the server has gone; its instances run on; looking for it" in followed.said())
    muster.run("server", "start")
    followed.goes_on("app-1", more=30)
    followed.goes_on("app-2")
    # Whatever ended meanwhile: each line once, in its order.
    for name in ("app-1", "app-2"):
        counts = followed.counts(name)
        assert counts == list(range(counts[0], counts[0] + len(counts)))
    muster.run("down", "--cluster", "box")
    assert followed.process.wait(timeout=10) == 0
    assert "box went down: nothing more will be written" in followed.said()
    followed.end()


def test_who_follows_logs_is_told_that_the_server_has_ended(muster):
    muster.run("up", muster.file(COUNTING % 1))
    followed = Followed(muster)
    followed.goes_on("app-1")
    muster.run("server", "stop")
    assert followed.process.wait(timeout=30) == 1
    assert "error: the server ended; the instances run on and go on writing [server-gone]" in followed.said()
    followed.end()
