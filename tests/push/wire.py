"""A client that says exactly what a test wants said: HTTP and WebSocket on plain sockets, and nothing done by itself."""

import base64
import http.client
import json
import os
import pathlib
import re
import socket
import ssl
import struct
import time

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
SECONDS = 10  # a test that waits longer has failed
TOP = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = pathlib.Path(os.environ.get("MUSTER_BUILD", TOP / "build")) / "muster-push"


def wait_until(condition, seconds=15, what="condition"):
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.01)  # between two looks at something that another process does


class Gone(Exception):
    """The other side has closed the connection."""


def connect(address, tls=False):
    host, port = address
    sock = socket.create_connection((host, port), timeout=SECONDS)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if tls:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        sock = context.wrap_socket(sock)
    return sock


def request(address, method, path, body=None, headers=None):
    """(status, headers, text) of one request on a connection of its own."""
    connection = http.client.HTTPConnection(*address, timeout=SECONDS)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        response = connection.getresponse()
        return response.status, response.headers, response.read().decode()
    finally:
        connection.close()


def read_response(file):
    """The next response of a connection's file: its status and body."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        more = file.read(1)
        if not more:
            raise Gone
        head += more
    length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])
    return int(head.split()[1]), file.read(length)


class WebSocket:
    """One WebSocket, frame by frame."""

    def __init__(self, address, path, headers="", tls=False):
        self.sock = connect(address, tls)
        self.bytes = b""
        key = base64.b64encode(os.urandom(16)).decode()
        self.sock.sendall(
            f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n{headers}\r\n".encode())
        head = self.until(b"\r\n\r\n")
        self.status = int(head.split()[1])
        self.head = head.decode()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def more(self):
        got = self.sock.recv(65536)
        if not got:
            raise Gone
        self.bytes += got

    def until(self, end):
        while end not in self.bytes:
            self.more()
        taken, _, self.bytes = self.bytes.partition(end)
        return taken

    def take(self, count):
        while len(self.bytes) < count:
            self.more()
        taken, self.bytes = self.bytes[:count], self.bytes[count:]
        return taken

    @staticmethod
    def encode(opcode, payload, last=True, reserved=0, masked=True):
        length = len(payload)
        head = bytes([(0x80 if last else 0) | reserved << 4 | opcode])
        bit = 0x80 if masked else 0
        if length < 126:
            head += bytes([bit | length])
        elif length < 65536:
            head += bytes([bit | 126]) + struct.pack("!H", length)
        else:
            head += bytes([bit | 127]) + struct.pack("!Q", length)
        if not masked:
            return head + payload
        mask = os.urandom(4)
        key = (mask * (length // 4 + 1))[:length]
        return head + mask + (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(length, "big")

    def frame(self, opcode, payload=b"", **how):
        self.sock.sendall(self.encode(opcode, payload, **how))

    def send(self, text):
        if isinstance(text, bytes):
            self.frame(BINARY, text)
        else:
            self.frame(TEXT, text.encode())

    def receive_frame(self):
        first, second = self.take(2)
        assert second < 128, "a server masks nothing"
        length = second
        if length == 126:
            length = struct.unpack("!H", self.take(2))[0]
        elif length == 127:
            length = struct.unpack("!Q", self.take(8))[0]
        return first & 15, self.take(length)

    def receive(self):
        """The next message: a text, or bytes."""
        opcode, payload = self.receive_frame()
        if opcode == CLOSE:
            raise Gone
        assert opcode in (TEXT, BINARY), opcode
        return payload.decode() if opcode == TEXT else payload

    def expect_gone(self):
        """Reads on until the server ends it."""
        try:
            while True:
                self.receive()
        except (Gone, ConnectionError):
            pass

    def close_code(self):
        """The code of the close frame that comes next, or None for one without."""
        while True:
            opcode, payload = self.receive_frame()
            if opcode == CLOSE:
                return struct.unpack("!H", payload[:2])[0] if payload else None


class Client(WebSocket):
    """A Socket.IO client over WebSocket, connected to a namespace."""

    def __init__(self, address, namespace="/", auth=None, path="/socket.io/", tls=False, headers=""):
        super().__init__(address, f"{path}?EIO=4&transport=websocket", tls=tls, headers=headers)
        assert self.status == 101, self.head
        self.open = json.loads(self.receive()[1:])
        self.prefix = "" if namespace == "/" else namespace + ","
        self.send("40" + self.prefix + (json.dumps(auth) if auth is not None else ""))
        self.ack = 0
        self.waiting = []
        answer = self.packet()
        assert answer.startswith("40" + self.prefix), answer
        self.connected = json.loads(answer[2 + len(self.prefix):])
        self.sid = self.connected["sid"]

    def packet(self):
        """The next packet but pings, which are answered."""
        while True:
            text = self.receive()
            if text != "2":
                return text
            self.send("3")

    def emit(self, *event):
        self.send("42" + self.prefix + json.dumps(event))

    def call(self, *event):
        """Emits and waits for the ack; events that come before it wait for `event`."""
        self.ack += 1
        self.send(f"42{self.prefix}{self.ack}" + json.dumps(event))
        start = f"43{self.prefix}{self.ack}["
        while True:
            text = self.packet()
            if text.startswith(start):
                return json.loads(text[len(start) - 1:])
            self.waiting.append(text)

    def event(self, name=None):
        """The next event (the next of that name): its name and arguments."""
        for index, text in enumerate(self.waiting):
            event = self.read(text)
            if event and (name is None or event[0] == name):
                del self.waiting[index]
                return event
        while True:
            text = self.packet()
            event = self.read(text)
            if event and (name is None or event[0] == name):
                return event
            self.waiting.append(text)

    def read(self, text):
        start = "42" + self.prefix
        if not isinstance(text, str) or not text.startswith(start):
            return None
        rest = text[len(start):]
        number = rest[:rest.index("[")]
        event = json.loads(rest[len(number):])
        self.last_ack = number
        return event

    def auth(self, user, **more):
        answer = self.call("auth", {"id": user, **more})[0]
        assert answer["success"], answer
        return answer

    def subscribe(self, *groups):
        answer = self.call("subscribe", {"subscribeGroups": [{"id": group} for group in groups]})[0]
        assert answer["success"], answer
        return answer


class Polling:
    """An Engine.IO session over long-polling."""

    def __init__(self, address, path="/socket.io/", protocol=4):
        self.address, self.path = address, f"{path}?EIO={protocol}&transport=polling"
        status, _, text = request(address, "GET", self.path)
        assert status == 200, text
        self.open = json.loads(text[text.index("{"):])
        self.sid = self.open["sid"]
        self.path += "&sid=" + self.sid

    def get(self):
        status, _, text = request(self.address, "GET", self.path)
        return status, text

    def post(self, body, headers=None):
        if isinstance(body, str):
            body = body.encode()
        status, _, text = request(self.address, "POST", self.path, body, headers)
        return status, text

    def begin_get(self):
        """Sends a GET and doesn't wait; the connection is returned."""
        connection = http.client.HTTPConnection(*self.address, timeout=SECONDS)
        connection.request("GET", self.path)
        return connection
