"""Runs the transcripts of this folder: what a person types, and what muster answers.

A scenario is a text file:

    Anything before the first file or command is for the reader; so is a line that begins with `## `.
    --- file demo.yaml        the lines up to `---` are written to demo.yaml, beside which the commands run
    cluster: demo
    ---
    $ muster check demo.yaml  a command line for bash; a line that ends in a backslash goes on in the next
    demo.yaml:3:5: error: …   what it prints, both streams together
    [exit 1]                  its exit code, where it isn't 0
    $~ muster ps              the same, but tried again until it matches, for at most 20 s

In what is expected `[..]` stands for any text within a line, and a line `[...]` for any number of lines.
`{{PORT1}}` to `{{PORT40}}` are ports that were free a moment ago, one after the other; `{{APP}}` is the example
app, `{{DIR}}` the folder of the scenario. `## needs nginx` skips the scenario where the program isn't installed.

Each scenario has a MUSTER_HOME of its own. At its end its clusters are taken down with their data, the server is
stopped, and a process of that home that still lives is a failure.
"""
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import pytest

HERE = pathlib.Path(__file__).resolve().parent
BUILD = pathlib.Path(os.environ.get("MUSTER_BUILD", HERE.parent.parent / "build"))
PORTS = 40
COMMAND_SECONDS = 120
EVENTUALLY_SECONDS = 20


class Step:
    def __init__(self, number, command, eventually):
        self.number = number
        self.command = command
        self.eventually = eventually
        self.expected = []
        self.exit = 0


class Scenario:
    def __init__(self, text):
        self.needs = []
        self.steps = []  # ("file", name, text) or Step
        lines = text.split("\n")
        if lines and not lines[-1]:
            lines.pop()
        i, step = 0, None
        while i < len(lines):
            line = lines[i]
            i += 1
            if line.startswith("## needs "):
                self.needs += line.split()[2:]
            elif line.startswith("## "):
                pass
            elif line.startswith("--- file "):
                content = []
                while i < len(lines) and lines[i] != "---":
                    content.append(lines[i])
                    i += 1
                i += 1
                self.steps.append(("file", line[len("--- file "):].strip(), "\n".join(content) + "\n"))
                step = None
            elif line.startswith("$ ") or line.startswith("$~ "):
                number, eventually = i, line[1] == "~"
                command = line.split(" ", 1)[1]
                while command.endswith("\\"):
                    command = command[:-1] + lines[i]
                    i += 1
                step = Step(number, command, eventually)
                self.steps.append(step)
            elif step is not None:
                code = re.fullmatch(r"\[exit (\d+)\]", line)
                if code:
                    step.exit = int(code[1])
                    step = None
                else:
                    step.expected.append(line)
        for step in self.steps:
            if isinstance(step, Step):
                while step.expected and not step.expected[-1].strip():
                    step.expected.pop()  # an empty line before the next command is for the reader


def matches(expected, actual):
    """Do these lines match? `[...]` may take any number of them."""
    if not expected:
        return not actual
    if expected[0] == "[...]":
        return any(matches(expected[1:], actual[i:]) for i in range(len(actual) + 1))
    if not actual:
        return False
    pattern = ".*".join(re.escape(part) for part in expected[0].split("[..]"))
    return re.fullmatch(pattern, actual[0]) is not None and matches(expected[1:], actual[1:])


def free_block(count):
    """The first of `count` ports in a row that nobody has, below those that clients get."""
    for _ in range(200):
        first = random.randrange(10000, 32000 - count)
        taken = False
        for port in range(first, first + count):
            with socket.socket() as probe:
                try:
                    probe.bind(("0.0.0.0", port))
                except OSError:
                    taken = True
                    break
        if not taken:
            return first
    raise RuntimeError("no free block of ports found")


class World:
    """A folder, a MUSTER_HOME and ports for one scenario."""

    def __init__(self):
        # Short, since a Unix socket's path has at most 107 characters.
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="must-"))
        self.root.chmod(0o755)
        self.home = self.root / "h"
        self.folder = self.root / "w"
        self.folder.mkdir()
        self.first_port = free_block(PORTS)
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("MUSTER")}
        self.environment.update(
            MUSTER_HOME=str(self.home), PATH=f"{BUILD}:{os.environ['PATH']}", TERM="dumb", LC_ALL="C.UTF-8")

    def fill(self, text):
        text = re.sub(r"\{\{PORT(\d+)\}\}", lambda found: str(self.first_port + int(found[1]) - 1), text)
        return text.replace("{{APP}}", str(BUILD / "example-app")).replace("{{DIR}}", str(self.folder))

    def run(self, command, seconds=COMMAND_SECONDS):
        with tempfile.TemporaryFile() as out:  # a file, not a pipe: what a server holds open must not keep us
            done = subprocess.run(["bash", "-c", command], cwd=self.folder, env=self.environment, stdout=out,
                                  stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=seconds, check=False)
            out.seek(0)
            return done.returncode, out.read().decode(errors="replace")

    def processes(self):
        """Those that work for this home: the pids with what they are."""
        found = {}
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                words = command + " " + os.readlink(entry / "cwd")
                environment = (entry / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if not command:
                continue  # a zombie that nobody has asked after yet
            if str(self.root) in words or f"MUSTER_HOME={self.home}".encode() in environment:
                found[int(entry.name)] = command
        return found

    def close(self):
        """Takes down what was started; tells what had to be killed."""
        problems = []
        try:
            if (self.home / "server").exists():
                status, text = self.run("muster status --all --json 2>/dev/null")
                try:
                    answer = json.loads(text)
                except ValueError:
                    answer = {}
                for cluster in answer.get("clusters", []):
                    name, key = cluster.get("name", ""), cluster.get("cluster", "")
                    status, text = self.run(f"muster down -c '{key}' --delete-data --confirm '{name}'")
                    if status != 0:
                        problems.append(f"down of {key}: {text}")
                status, text = self.run("muster server stop")
                if status != 0:
                    problems.append(f"server stop: {text}")
        except subprocess.TimeoutExpired as error:
            problems.append(str(error))
        end = time.monotonic() + 5
        while self.processes() and time.monotonic() < end:
            time.sleep(0.05)
        for pid, command in self.processes().items():
            problems.append(f"still runs: {pid} {command}")
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if not problems:
            shutil.rmtree(self.root, ignore_errors=True)
        return problems


def check_step(world, step):
    expected = [world.fill(line) for line in step.expected]
    end = time.monotonic() + EVENTUALLY_SECONDS
    while True:
        status, text = world.run(world.fill(step.command))
        actual = [line.rstrip() for line in text.rstrip("\n").split("\n")] if text.strip() else []
        if status == step.exit and matches(expected, actual):
            return None
        if not step.eventually or time.monotonic() > end:
            return (f"line {step.number}: $ {step.command}\n--- expected (exit {step.exit})\n" + "\n".join(expected) +
                    f"\n--- got (exit {status})\n" + "\n".join(actual))
        time.sleep(0.1)


def play(world, scenario):
    for step in scenario.steps:
        if isinstance(step, Step):
            problem = check_step(world, step)
            if problem:
                return problem
        else:
            _, name, text = step
            path = world.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(world.fill(text))
            if text.startswith("#!"):
                path.chmod(0o755)
    return None


@pytest.mark.parametrize("path", sorted(HERE.glob("*.txt")), ids=lambda path: path.stem)
def test_scenario(path):
    scenario = Scenario(path.read_text())
    assert scenario.steps, f"{path} has no command"
    for program in scenario.needs:
        if not shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin"):
            pytest.skip(f"{program} is not installed")
    world = World()
    problem = None
    try:
        problem = play(world, scenario)
        if problem:
            log = world.home / "server" / "server.log"
            if log.exists():
                problem += "\n--- end of server.log\n" + "\n".join(log.read_text().splitlines()[-20:])
    finally:
        leftovers = world.close()
    assert not problem, problem
    assert not leftovers, "\n".join(leftovers)


def test_the_runner_tells_a_match_from_none():
    assert matches(["a [..] c", "[...]", "z"], ["a b c", "x", "y", "z"])
    assert matches(["[...]"], [])
    assert not matches(["a"], ["a", "b"])
    assert not matches(["a [..]"], ["b c"])
    scenario = Scenario("Words\n--- file x\n1\n---\n$ true\n\n$~ false\nout\n[exit 1]\n")
    assert scenario.steps[0] == ("file", "x", "1\n")
    assert [step.exit for step in scenario.steps[1:]] == [0, 1]
    assert scenario.steps[1].expected == [] and scenario.steps[2].eventually
