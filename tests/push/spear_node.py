"""What tests of muster-push stand on: a server of their own on ports of their own, which leaves nothing behind.

A plugin that each of them names, and no conftest.py: of that name pytest keeps one module, which tests/integration has."""

import json
import os
import re
import signal
import subprocess

import pytest
import yaml

from wire import PROGRAM, request, wait_until

TOKEN = "the-token-of-tests"


class Spear:
    """A running muster-push."""

    def __init__(self, folder, settings, environment=None, files=None):
        settings = {"listen": ["127.0.0.1:0"], "admin": {"listen": ["127.0.0.1:0"]}, "shards": 2, **settings}
        self.config = folder / "spear.yaml"
        self.config.write_text(yaml.safe_dump(settings))
        self.log_path = folder / "log"
        self.environment = {**os.environ, "MUSTER_PUSH_ADMIN_TOKEN": TOKEN, **(environment or {})}
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [*(["prlimit", f"--nofile={files}"] if files else []), PROGRAM, "spear", "--config", self.config], stdout=log, stderr=subprocess.STDOUT, env=self.environment)
        pattern = r"listening for=(\w+) address=\[?([\d.:a-f]+?)\]?:(\d+)(?: |\n)"

        def listening():
            assert self.process.poll() is None, self.log()
            found = re.findall(pattern, self.log())
            return found if {"clients", "admin"} <= {each[0] for each in found} else None

        places = wait_until(listening, what="the server to listen")
        self.addresses = [(host, int(port)) for kind, host, port in places if kind == "clients"]
        self.address = self.addresses[0]
        self.admin = next((host, int(port)) for kind, host, port in places if kind == "admin")

    def log(self):
        return self.log_path.read_text()

    def state(self):
        """The sums of all shards."""
        state = json.loads(request(self.admin, "GET", "/state")[2])
        sums = {}
        for shard in state["shards"]:
            for name, value in shard.items():
                sums[name] = sums.get(name, 0) + value
        return {**state, **sums}

    def api(self, method, path, body=None, token=TOKEN):
        text = json.dumps(body) if body is not None else None
        status, _, answer = request(self.admin, method, path, text, {"Authorization": f"Bearer {token}"})
        return status, json.loads(answer)

    def push(self, **order):
        status, answer = self.api("POST", "/v1/push", order)
        assert status == 200, answer
        return answer

    def die(self):
        self.process.kill()
        self.process.wait()

    def come_back(self):
        """Started again at the same addresses; it may not listen yet."""
        settings = yaml.safe_load(self.config.read_text())
        settings["listen"] = ["%s:%d" % address for address in self.addresses]
        settings["admin"]["listen"] = ["%s:%d" % self.admin]
        self.config.write_text(yaml.safe_dump(settings))
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen([PROGRAM, "spear", "--config", self.config], stdout=log, stderr=subprocess.STDOUT,
                                            env=self.environment)

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise
        # A sanitizer that found something ends it with another code.
        assert self.process.returncode == 0, self.log()


@pytest.fixture
def spear(tmp_path):
    """Starts servers: spear(setting=…) → Spear."""
    started = []

    def start(environment=None, files=None, **settings):
        folder = tmp_path / str(len(started))
        folder.mkdir()
        started.append(Spear(folder, {"drain": {"over": "0s"}, **settings}, environment, files))
        return started[-1]

    yield start
    for each in started:
        alive = each.process.poll()
        each.end()
        assert alive in (None, 0), each.log()
        assert "ERROR: " not in each.log() and "runtime error" not in each.log(), each.log()


def shared(tmp_path_factory, **settings):
    """A server of several tests, which has to outlive them."""
    server = Spear(tmp_path_factory.mktemp("spear"), {"drain": {"over": "0s"}, **settings})
    yield server
    alive = server.process.poll()
    server.end()
    assert alive is None, server.log()


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The server that the protocols' official suites expect."""
    yield from shared(tmp_path_factory, reference=True, namespaces=["/", "/custom"], connect_timeout="1s",
                      heartbeat={"interval": "300ms", "timeout": "200ms"})


@pytest.fixture(scope="module")
def steady(tmp_path_factory):
    """The same with a heartbeat that a busy machine keeps up with."""
    yield from shared(tmp_path_factory, reference=True, namespaces=["/", "/custom"])


@pytest.fixture(scope="module")
def chat(tmp_path_factory):
    """A server as users have it, for tests that change nothing of it."""
    yield from shared(tmp_path_factory, presence=True, recovery={"enabled": True}, namespaces=["/", "/other"],
                      allow_eio3=True)
