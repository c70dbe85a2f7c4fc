"""`muster verify` fails what isn't as it should be, and says what it couldn't try."""

import os
import pathlib
import signal
import socket
import subprocess
import sys

import pytest

from conftest import free_ports, wait_until, web

KEY = "web@rehearsal"
HEALTH = "    health: { http: /health, every: 1s }"


def verified(muster, *service, cluster=KEY, passed=True):
    """What each check has come to, by name, with its evidence."""
    done = muster.json("verify", *service, "--cluster", cluster, code=0 if passed else 1)
    assert done["passed"] == passed, done
    return {one["name"]: ("skip" if one["skipped"] else "pass" if one["passed"] else "FAIL", "\n".join(one["evidence"]))
            for one in done["checks"]}


def failing(checks):
    return {name: evidence for name, (outcome, evidence) in checks.items() if outcome == "FAIL"}


@pytest.fixture
def listener():
    """A stranger that listens on a port of its own and answers HTTP."""
    started = []

    def listen(address, port):
        script = ("import http.server, sys\n"
                  "class Stranger(http.server.BaseHTTPRequestHandler):\n"
                  "    def do_GET(self):\n"
                  "        self.send_response(200); self.send_header('content-length', '0'); self.end_headers()\n"
                  f"http.server.HTTPServer(('{address}', {port}), Stranger).serve_forever()\n")
        started.append(subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL))

        def answers():
            with socket.socket() as one:
                return one.connect_ex((address, port)) == 0

        wait_until(answers, what="the stranger to listen")
        return started[-1].pid

    yield listen
    for one in started:
        one.kill()
        one.wait()


def test_an_instance_that_is_not_ready_fails_whoever_answers_in_its_place(muster, listener):
    text = web(muster, instances=2, hosts=1, update="{ deadline: 20s }")
    muster.run("up", muster.file(text.replace(HEALTH, HEALTH + "\n    restart: { first: 50ms, crashes: 2 }")), "--rehearse")
    muster.run("stop", "--cluster", KEY, "app-1")
    one = muster.instances(KEY)["app-1"]
    stranger = listener(one["address"], one["ports"]["http"])
    muster.run("start", "--cluster", KEY, "app-1", code=None)
    wait_until(lambda: muster.state(KEY, "app-1") == "failed", what="app-1 to be given up")
    wrong = failing(verified(muster, "app", passed=False))
    assert list(wrong) == ["app-1 answers"] and "it is failed" in wrong["app-1 answers"], wrong
    assert f"is taken by pid {stranger}" in wrong["app-1 answers"]


def test_what_was_stopped_by_hand_does_not_pass(muster):
    muster.run("up", muster.file(web(muster, instances=2)), "--rehearse")
    muster.run("stop", "--cluster", KEY, "app-2")
    checks = verified(muster, passed=False)
    assert failing(checks) == {"app-2 answers": "it is stopped"}, checks


def test_a_stranger_on_the_port_does_not_pass_for_an_instance(muster, listener):
    port = free_ports(1)
    # It is ready by its log, and lets go of its port when it is told to.
    (muster.folder / "app.py").write_text(
        "import signal, socket, sys\n"
        "s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n"
        "s.bind(('127.0.0.1', int(sys.argv[1]))); s.listen()\n"
        "signal.signal(signal.SIGUSR1, lambda *_: (s.close(), print('closed', flush=True)))\n"
        "print('up', flush=True)\n"
        "while True: signal.pause()\n")
    muster.run("up", muster.file(f"""cluster: web
services:
  app:
    kind: app
    command: {sys.executable} {{{{folder}}}}/app.py {{{{ports.http}}}}
    ports: {{ http: {port} }}
    files: {{ app.py: {{ from: ./app.py, template: no }} }}
    health: {{ log: "^up$" }}
"""))
    ready = "app-1 runs, and its log had the line that makes it ready"
    assert verified(muster, cluster="web")[ready][0] == "pass"
    os.kill(muster.instances("web")["app-1"]["pid"], signal.SIGUSR1)
    wait_until(lambda: "closed" in muster.run("logs", "--cluster", "web", "app-1").stdout, what="the port to be free")
    stranger = listener("127.0.0.1", port)
    checks = verified(muster, cluster="web", passed=False)
    assert f"is taken by pid {stranger}" in failing(checks)["app-1 answers"], checks


def test_a_health_command_is_run(muster):
    sign = muster.folder / "well"
    sign.touch()
    muster.run("up", muster.file(f"""cluster: web
services:
  app:
    kind: app
    command: sh -c 'exec sleep 1000'
    health: {{ command: "test -e {sign}", every: 1h, timeout: 5s }}
"""))
    name = "app-1 is well by its health command"
    assert verified(muster, cluster="web")[name] == ("pass", f"test -e {sign}")
    sign.unlink()
    assert "ended with 1" in failing(verified(muster, cluster="web", passed=False))[name]


UDP = """cluster: web
services:
  app:
    kind: app
    command: {python} {{{{folder}}}}/app.py {{{{ports.dns}}}}
    ports: {{ dns: {port}/udp, media: {more}-{last}/udp }}
    files: {{ app.py: {{ from: ./app.py, template: no }} }}
"""


def test_an_app_with_udp_ports_only_is_known_by_its_socket(muster):
    port = free_ports(4)
    (muster.folder / "app.py").write_text(
        "import os, signal, socket, sys\n"
        "s = socket.socket(type=socket.SOCK_DGRAM); s.bind(('127.0.0.1', int(sys.argv[1])))\n"
        "signal.signal(signal.SIGUSR1, lambda *_: (s.close(), print('closed', flush=True)))\n"
        "print('up', flush=True)\n"
        "while True: signal.pause()\n")
    muster.run("up", muster.file(UDP.format(python=sys.executable, port=port, more=port + 1, last=port + 3)))
    wait_until(lambda: "up" in muster.run("logs", "--cluster", "web", "app-1").stdout, what="the socket")
    checks = verified(muster, cluster="web")
    assert checks["app-1 has its UDP port dns open"] == ("pass", f"port {port}")
    assert checks["app-1 has its UDP port media open"][0] == "skip"
    shown = muster.run("verify", "--cluster", "web").stdout
    assert "skip  app-1 has its UDP port media open\n      | of a range" in shown and "1 passed, 0 failed, 1 skipped" in shown
    os.kill(muster.instances("web")["app-1"]["pid"], signal.SIGUSR1)
    wait_until(lambda: "closed" in muster.run("logs", "--cluster", "web", "app-1").stdout, what="the port to be closed")
    assert "nothing has the UDP port" in failing(verified(muster, cluster="web", passed=False))["app-1 has its UDP port dns open"]


def test_udp_ports_can_not_be_asked_by_http(muster):
    text = UDP.format(python=sys.executable, port=5353, more=6000, last=6002) + "    health: { http: / }\n"
    (muster.folder / "app.py").touch()
    found = muster.json("check", muster.file(text), code=1)["findings"]
    assert [(one["code"], one["line"]) for one in found] == [("bad-value", 8)], found


def test_a_route_that_another_one_catches_does_not_pass(muster):
    text = web(muster, instances=2).replace(
        "      - { path: /, to: app, websocket: true }",
        "      - { path: /, to: app-1, websocket: true }\n      - { path: /echo/, to: app-1 }\n"
        "      - { path: '^/(echo|info)', match: regex, to: app-2, try: /echo/x }\n"
        "      - { path: /ws/not, to: app-1, websocket: true, try: /info }\n")
    muster.run("up", muster.file(text), "--rehearse")
    checks = verified(muster, "edge", passed=False)
    assert set(failing(checks)) == {
        "edge-1: /echo/ reaches app-1",
        "edge-1: /ws/not reaches app-1",
        "edge-1: /ws/not echoes over WebSocket: text, binary, fragmented"}, checks
    assert checks["edge-1: / echoes over WebSocket: text, binary, fragmented"][0] == "pass"


def test_files_that_were_changed_by_hand_do_not_pass(muster):
    for name in ("a.txt", "b.txt"):
        (muster.folder / name).write_text(name * 10)
    text = web(muster, instances=1, hosts=1) + "      - { path: /s/, static: { files: { a.txt: ./a.txt, b.txt: ./b.txt } } }\n"
    muster.run("up", muster.file(text), "--rehearse")
    assert verified(muster, "edge")["edge-1: /s/ serves each of its 2 files"][0] == "pass"
    folder = next(pathlib.Path(muster.home).rglob("instances/edge-1/www/1-*"))
    (folder / "b.txt").write_text("mine")
    wrong = failing(verified(muster, "edge", passed=False))
    assert list(wrong) == ["edge-1: /s/ serves each of its 2 files"] and "/s/b.txt" in wrong[list(wrong)[0]]


def test_of_several_members_the_one_that_hangs_is_named(muster):
    text = web(muster, instances=3, hosts=1).replace(HEALTH, "    health: { http: /health, every: 1h }")
    muster.run("up", muster.file(text), "--rehearse")
    hung = muster.instances(KEY)["app-2"]["pid"]
    os.kill(hung, signal.SIGSTOP)
    try:
        wrong = failing(verified(muster, "edge", passed=False))
    finally:
        os.kill(hung, signal.SIGCONT)
    spread = next(evidence for name, evidence in wrong.items() if "spreads" in name)
    counts = {line.split()[0]: int(line.split(": ")[1]) for line in spread.splitlines() if line.startswith("app-")}
    assert counts["app-2"] == 0 and counts["app-1"] > 0 and counts["app-3"] > 0, spread
