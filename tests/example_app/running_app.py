"""The example program as tests start it and talk to it.

MUSTER_BUILD names the build folder; without it, build/ in the project.
"""
import contextlib
import http.client
import json
import os
import pathlib
import selectors
import signal
import socket
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PROGRAM = pathlib.Path(os.environ.get("MUSTER_BUILD", ROOT / "build")) / "example-app"
BOUND = 10  # seconds that anything may take


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class App:
    """A running example-app; its log is read line by line, so that tests wait for what it says."""

    def __init__(self, *options: str, env: dict | None = None):
        clean = {name: value for name, value in os.environ.items() if name not in ("PORT", "ADDRESS")}
        self.process = subprocess.Popen([PROGRAM, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        env=clean | (env or {}))
        self.pending = b""
        self.lines: list[str] = []
        self.port = 0

    def log_until(self, part: str) -> str:
        """The first line with `part` that wasn't waited for before."""
        out = self.process.stdout
        deadline = time.monotonic() + BOUND
        with selectors.DefaultSelector() as selector:
            selector.register(out, selectors.EVENT_READ)
            while time.monotonic() < deadline:
                while b"\n" in self.pending:
                    line, self.pending = self.pending.split(b"\n", 1)
                    self.lines.append(line.decode())
                    if part in self.lines[-1]:
                        return self.lines[-1]
                if not selector.select(0.2):
                    continue
                read = os.read(out.fileno(), 65536)
                if not read:
                    break
                self.pending += read
        raise AssertionError(f"no line with {part!r} in {self.lines}")

    def listening(self) -> "App":
        self.port = int(self.log_until("listening on").split()[2].rsplit(":", 1)[1])
        return self

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=BOUND)

    def ask(self, target: str, method: str = "GET", **more):
        with contextlib.closing(self.connect()) as connection:
            connection.request(method, target, **more)
            answer = connection.getresponse()
            return answer, answer.read()

    def json(self, target: str, method: str = "GET", **more) -> dict:
        return json.loads(self.ask(target, method, **more)[1])

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def status(self) -> int:
        return self.process.wait(BOUND)
