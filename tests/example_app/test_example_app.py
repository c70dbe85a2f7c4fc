"""The example program, from outside: what the examples and the other tests rely on."""
import base64
import hashlib
import http.client
import os
import pathlib
import signal
import socket
import struct
import threading
import time

import pytest

from running_app import BOUND, App, free_port

pytest_plugins = ["fresh_app"]


class WebSocket:
    def __init__(self, app: App, path: str = "/ws"):
        self.socket = socket.create_connection(("127.0.0.1", app.port), BOUND)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall((f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
                             f"Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
                             "Sec-WebSocket-Version: 13\r\n\r\n").encode())
        self.file = self.socket.makefile("rb")
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.file.readline()
        accept = base64.b64encode(hashlib.sha1(
            (key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest())
        assert head.startswith(b"HTTP/1.1 101 ") and accept in head, head

    def send(self, opcode: int, payload: bytes, last: bool = True, masked: bool = True) -> None:
        size = len(payload)
        head = bytes([(0x80 if last else 0) | opcode])
        bit = 0x80 if masked else 0
        if size < 126:
            head += bytes([bit | size])
        elif size < 65536:
            head += bytes([bit | 126]) + struct.pack(">H", size)
        else:
            head += bytes([bit | 127]) + struct.pack(">Q", size)
        if masked:
            mask = os.urandom(4)
            repeated = (mask * (size // 4 + 1))[:size]
            payload = (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(size, "big")
            head += mask
        self.socket.sendall(head + payload)

    def receive(self) -> tuple[int, bytes]:
        first, second = self.file.read(2)
        assert first & 0x80 and not second & 0x80
        size = second & 0x7F
        if size == 126:
            size = struct.unpack(">H", self.file.read(2))[0]
        elif size == 127:
            size = struct.unpack(">Q", self.file.read(8))[0]
        return first & 15, self.file.read(size)

    def close_code(self) -> int:
        opcode, payload = self.receive()
        assert opcode == 8, opcode
        return struct.unpack(">H", payload[:2])[0]

    def end(self) -> None:
        self.file.close()
        self.socket.close()


def test_shows_who_it_is_and_no_secret_of_its_environment(start):
    env = {"APP_COLOR": "red \"1\"", "PASSWORD": "hush", "ROOT_URL": "http://x/"}
    app = start("--port=0", "--id=web-3", "--version=7", "--peers=10.0.0.1:1,10.0.0.2:2",
                "--show-env=ROOT_URL", env=env).listening()
    answer, body = app.ask("/")
    assert answer.status == 200 and answer.headers["X-Instance"] == "web-3"
    assert answer.headers["X-Version"] == "7"
    assert b"id: web-3\n" in body and b"peers: 10.0.0.1:1 10.0.0.2:2\n" in body and b"hush" not in body
    info = app.json("/info")
    assert info["id"] == "web-3" and info["port"] == app.port and info["pid"] == app.process.pid
    assert info["peers"] == ["10.0.0.1:1", "10.0.0.2:2"]
    assert info["environment"] == {"APP_COLOR": "red \"1\"", "ROOT_URL": "http://x/"}


def test_takes_port_address_and_delay_from_the_environment_too(start):
    port = free_port()
    app = start("--id", "e", env={"PORT": str(port), "ADDRESS": "127.0.0.1", "APP_START_DELAY": "60s"})
    assert app.listening().port == port
    assert app.ask("/health")[0].status == 503


def test_echoes_what_a_proxy_made_of_a_request(start):
    app = start().listening()
    echo = app.json("/echo/a%20b?x=1&y", "PUT", body=b"12345", headers={"X-Real-IP": "9.9.9.9", "X-Q": "a\"b"})
    assert echo["method"] == "PUT" and echo["path"] == "/echo/a%20b" and echo["query"] == "x=1&y"
    assert echo["headers"]["x-real-ip"] == "9.9.9.9" and echo["headers"]["x-q"] == "a\"b"
    assert echo["body_bytes"] == 5
    assert app.ask("/nowhere")[0].status == 404
    answer, body = app.ask("/static/x.css", "HEAD")
    assert answer.status == 200 and int(answer.headers["Content-Length"]) > 0 and body == b""


def test_keeps_a_connection_and_answers_requests_that_come_in_one_piece(start):
    app = start("--access-log").listening()
    connection = app.connect()
    ports = set()
    for _ in range(3):
        connection.request("GET", "/health")
        answer = connection.getresponse()
        assert answer.read() == b"ok\n" and answer.headers["Connection"] == "keep-alive"
        ports.add(connection.sock.getsockname()[1])
    assert len(ports) == 1
    connection.close()
    app.log_until("GET /health 200 3")
    with socket.create_connection(("127.0.0.1", app.port), BOUND) as raw:
        raw.sendall(b"GET /slow?ms=30 HTTP/1.1\r\nHost: x\r\n\r\nGET /big?bytes=500000 HTTP/1.1\r\nHost: x\r\n\r\n"
                    b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        text = b""
        while piece := raw.recv(65536):
            text += piece
    assert text.index(b"after 30 ms") < text.index(b"the same line") < text.index(b"ok\n")
    assert text.endswith(b"\r\n\r\nok\n") and len(text) > 500000


def test_counts_uploads_however_they_are_sent(start):
    app = start().listening()
    assert app.json("/upload/file", "POST", body=b"x" * 3_000_000)["bytes"] == 3_000_000
    pieces = iter([b"abc", b"d" * 70_000, b"e"])
    assert app.json("/upload", "POST", body=pieces, encode_chunked=True,
                    headers={"Transfer-Encoding": "chunked"})["bytes"] == 70_004
    with socket.create_connection(("127.0.0.1", app.port), BOUND) as raw:
        raw.sendall(b"POST /upload HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 100 ")
        raw.sendall(b"abc")
        assert b'"bytes":3' in raw.recv(4096)


def test_sends_as_many_bytes_as_asked(start):
    app = start().listening()
    body = app.ask("/big?bytes=2000003")[1]
    assert len(body) == 2_000_003
    line = body[:body.index(b"\n") + 1]
    assert body == (line * (len(body) // len(line) + 1))[:len(body)]


@pytest.mark.parametrize("bad, status", [
    (b"nonsense\r\n\r\n", 400), (b"GET / HTTP/2.0\r\n\r\n", 505), (b"GET /\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000, 431),
    (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400)])
def test_refuses_what_is_no_request_and_lives_on(start, bad, status):
    app = start().listening()
    with socket.create_connection(("127.0.0.1", app.port), BOUND) as raw:
        raw.sendall(bad)
        assert raw.recv(4096).startswith(b"HTTP/1.1 %d " % status)
    assert app.ask("/health")[0].status == 200


def test_health_follows_start_and_wish(start):
    app = start("--start-delay=300ms", "--health-path=/up").listening()
    assert app.ask("/up")[1] == b"starting\n"
    app.log_until("ready on")
    assert app.ask("/up")[0].status == 200
    assert app.ask("/unhealthy")[1] == b"unhealthy\n"
    answer, body = app.ask("/up")
    assert answer.status == 503 and body == b"unhealthy\n"
    app.ask("/unhealthy")
    assert app.ask("/up")[0].status == 200
    assert app.ask("/health")[0].status == 404


def test_never_ready_answers_all_but_health(start):
    app = start("--never-ready").listening()
    assert app.ask("/health")[0].status == 503 and app.ask("/")[0].status == 200


def test_fails_at_the_start_as_told(start):
    app = start("--fail-start")
    assert app.status() == 3
    assert b"told to fail" in app.process.stdout.read()


def test_says_why_it_does_not_start(start, tmp_path):
    taken = start().listening()
    second = start(f"--port={taken.port}")
    assert second.status() == 1 and b"Address already in use" in second.process.stderr.read()
    for options in (["--port=99999"], ["--colour=1"], ["--start-delay=5"], ["--id"],
                    [f"--config={tmp_path}/none"]):
        assert start(*options).status() == 2, options


def test_shows_the_digest_of_its_config_and_reads_it_again(start, tmp_path):
    config = tmp_path / "app.conf"
    config.write_bytes(b"a" * 200)
    app = start(f"--config={config}").listening()
    assert app.json("/info")["config_sha256"] == hashlib.sha256(b"a" * 200).hexdigest()
    config.write_bytes(b"")
    app.process.send_signal(signal.SIGHUP)
    app.log_until("config read again")
    assert app.json("/info")["config_sha256"] == hashlib.sha256(b"").hexdigest()


def test_crashes_exits_and_logs_on_request(start):
    app = start().listening()
    app.ask("/log?line=hello%20there+you")
    app.log_until("hello there you")
    assert app.ask("/exit?status=7")[1] == b"bye\n"
    assert app.status() == 7
    app = start().listening()
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        app.ask("/crash")
    assert app.status() == -signal.SIGABRT


def test_hangs_so_that_only_kill_helps(start):
    app = start().listening()
    with socket.create_connection(("127.0.0.1", app.port), BOUND) as raw:
        raw.sendall(b"GET /hang HTTP/1.1\r\nHost: x\r\n\r\n")
        app.log_until("hang asked for")
        app.terminate()
        raw.settimeout(0.3)
        with pytest.raises(TimeoutError):
            raw.recv(1)
        assert app.process.poll() is None


@pytest.mark.parametrize("path", ["/ws", "/sockjs/1/abc/websocket", "/any/where"])
def test_a_websocket_gets_back_text_binary_and_fragments(start, path):
    app = start().listening()
    ws = WebSocket(app, path)
    for opcode, payload in ((1, "grüße".encode()), (2, bytes(range(256))), (2, os.urandom(70_000)), (1, b"")):
        ws.send(opcode, payload)
        assert ws.receive() == (opcode, payload)
    ws.send(1, "frag".encode(), last=False)
    ws.send(9, b"ping in between")
    ws.send(0, "men".encode(), last=False)
    ws.send(0, "tö".encode()[:2], last=False)
    ws.send(0, "tö".encode()[2:])
    assert ws.receive() == (10, b"ping in between")
    assert ws.receive() == (1, "fragmentö".encode())
    assert app.json("/info")["websockets"] == 1
    ws.send(8, struct.pack(">H", 1000) + b"bye")
    assert ws.close_code() == 1000
    assert ws.file.read() == b""
    ws.end()


@pytest.mark.parametrize("frame, code", [
    (dict(opcode=1, payload=b"\xff\xfe"), 1007), (dict(opcode=1, payload=b"x", masked=False), 1002),
    (dict(opcode=0, payload=b"x"), 1002), (dict(opcode=3, payload=b"x"), 1002),
    (dict(opcode=9, payload=b"x" * 126), 1002), (dict(opcode=9, payload=b"x", last=False), 1002)])
def test_a_websocket_that_breaks_the_rules_is_closed_with_the_reason(start, frame, code):
    app = start().listening()
    ws = WebSocket(app)
    ws.send(**frame)
    assert ws.close_code() == code
    assert ws.file.read() == b""
    ws.end()


def test_refuses_an_upgrade_of_another_version(start):
    app = start().listening()
    answer, _ = app.ask("/ws", headers={"Upgrade": "websocket", "Connection": "Upgrade",
                                        "Sec-WebSocket-Key": "x", "Sec-WebSocket-Version": "8"})
    assert answer.status == 426 and answer.headers["Sec-WebSocket-Version"] == "13"


def test_an_idle_program_stops_at_once(start):
    app = start().listening()
    app.log_until("ready on")
    began = time.monotonic()
    app.terminate()
    assert app.status() == 0
    assert time.monotonic() - began < 1


def test_finishes_what_it_began_and_closes_the_rest_in_order(start):
    app = start().listening()
    idle = app.connect()
    idle.request("GET", "/health")
    assert idle.getresponse().read() == b"ok\n"
    ws = WebSocket(app)
    answers = []
    slow = threading.Thread(target=lambda: answers.append(app.ask("/slow?ms=700")))
    slow.start()
    while app.json("/info")["requests"] < 3:
        pass
    app.terminate()
    app.log_until("stopping")
    assert ws.close_code() == 1001
    ws.send(8, struct.pack(">H", 1001))
    # While something is open it still takes connections, and says that it is going.
    answer, body = app.ask("/health")
    assert answer.status == 503 and body == b"stopping\n" and answer.headers["Connection"] == "close"
    idle.request("GET", "/")
    answer = idle.getresponse()
    assert answer.status == 200 and answer.headers["Connection"] == "close"
    answer.read()
    slow.join(BOUND)
    assert answers[0][0].status == 200 and answers[0][1] == b"after 700 ms\n"
    assert answers[0][0].headers["Connection"] == "close"
    assert app.status() == 0
    with pytest.raises(ConnectionRefusedError):
        app.ask("/")
    idle.close()
    ws.end()


def test_stops_slowly_but_within_its_bound(start):
    app = start("--stop-delay=400ms", "--stop-bound=300ms").listening()
    with socket.create_connection(("127.0.0.1", app.port), BOUND) as raw:
        raw.sendall(b"GET /slow?ms=60000 HTTP/1.1\r\nHost: x\r\n\r\n")
        while app.json("/info")["requests"] < 2:
            pass
        began = time.monotonic()
        app.terminate()
        assert app.status() == 0
        assert 0.4 <= time.monotonic() - began < 3
        app.log_until("cut off")


def test_no_request_is_lost_in_a_stop(start):
    """Clients that heed `Connection: close` see each request answered, or a connection refused before it."""
    app = start().listening()
    failures, done = [], []

    def client():
        connection = None
        try:
            while True:
                connection = connection or app.connect()
                try:
                    connection.connect() if connection.sock is None else None
                except ConnectionRefusedError:
                    return
                connection.request("GET", "/slow?ms=5")
                answer = connection.getresponse()
                assert answer.read() == b"after 5 ms\n"
                done.append(1)
                if answer.headers["Connection"] == "close":
                    connection.close()
                    return
        except Exception as error:  # what is wrong is what the test counts
            failures.append(repr(error))

    clients = [threading.Thread(target=client) for _ in range(20)]
    for one in clients:
        one.start()
    while len(done) < 200:
        time.sleep(0)
    app.terminate()
    for one in clients:
        one.join(BOUND)
    assert app.status() == 0 and failures == []


def test_finds_its_seeds_as_they_come_up(start):
    first_port, second_port = free_port(), free_port()
    seeds = f"--seeds=127.0.0.1:{first_port},127.0.0.1:{second_port}"
    first = start("--id=iot-1", f"--cluster-port={first_port}", seeds).listening()
    first.log_until(f"seed 127.0.0.1:{second_port} doesn't answer")
    second = start("--id=iot-2", f"--cluster-port={second_port}", seeds).listening()
    first.log_until(f"seed 127.0.0.1:{second_port} answers: iot-2")
    second.log_until(f"seed 127.0.0.1:{first_port} answers: iot-1")
    with socket.create_connection(("127.0.0.1", second_port), BOUND) as raw:
        assert raw.makefile().read() == "iot-2\n"
    assert set(first.json("/info")["seeds"].values()) == {"iot-1", "iot-2"}


def test_is_small(start):
    app = start()
    app.log_until("ready on")
    status = pathlib.Path(f"/proc/{app.process.pid}/status").read_text()
    resident_kb = int(status.split("VmRSS:")[1].split()[0])
    assert resident_kb <= 3 * 1024
