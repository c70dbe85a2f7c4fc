"""All clients of a node lose it at once, and come back at once.

MUSTER_TEST_CLIENTS says how many (500 where it says nothing; `tools/dev test --long` has 10,000)."""

import json
import os
import re
import resource
import select
import socket
import struct
import time

import pytest
from wire import WebSocket, request, wait_until

pytest_plugins = ["spear_node"]

CLIENTS = int(os.environ.get("MUSTER_TEST_CLIENTS", "500"))
SECONDS = 60 + CLIENTS / 100  # for all of them, on a machine that does other work
HANDSHAKE = (b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
             b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")


@pytest.fixture(autouse=True)
def _files():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] < CLIENTS + 200:
        pytest.skip(f"{CLIENTS} clients need more files than the {before[1]} that a process may have here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


class Crowd:
    """Many clients over WebSocket, all of which do the same at the same time. One is its socket, and what it has got."""

    def __init__(self, address):
        self.address = address
        self.sockets, self.bytes, self.texts = {}, {}, {}
        self.by_file = {}  # the numbers of clients
        self.poll = select.epoll()

    def come(self):
        """All dial at once, and again where they are refused or cut off, as real clients do; until each has its first word."""
        end = time.monotonic() + SECONDS
        missing = set(range(CLIENTS))
        while missing:
            assert time.monotonic() < end, f"{len(missing)} didn't get in"
            for number in missing - set(self.numbers()):
                self.dial(number)
            self.turn()
            missing = {number for number in missing if not any(text.startswith("0{") for text in self.texts.get(number, []))}

    def numbers(self):
        return self.sockets.keys()

    def dial(self, number):
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.connect_ex(self.address)
        self.sockets[number], self.bytes[number], self.texts[number] = sock, b"", []
        self.poll.register(sock, select.EPOLLIN | select.EPOLLOUT)
        self.by_file[sock.fileno()] = number

    def drop(self, number):
        sock = self.sockets.pop(number)
        del self.by_file[sock.fileno()]
        self.poll.unregister(sock)
        # With no time to linger the other side is reset, as when a network goes.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()

    def turn(self):
        for file, events in self.poll.poll(0.05, 4096):
            number = self.by_file.get(file)
            if number is None:
                continue
            sock = self.sockets[number]
            try:
                if events & select.EPOLLOUT:
                    self.poll.modify(sock, select.EPOLLIN)
                    sock.sendall(HANDSHAKE)
                    continue
                got = sock.recv(65536)
            except OSError:
                got = b""
            if not got:
                self.drop(number)
                continue
            self.bytes[number] += got
            self.take(number)

    def take(self, number):
        data = self.bytes[number]
        if data.startswith(b"HTTP"):
            if b"\r\n\r\n" not in data:
                return
            data = data.partition(b"\r\n\r\n")[2]
        while len(data) >= 2:
            size, head = data[1], 2
            if size == 126:
                if len(data) < 4:
                    break
                size, head = struct.unpack("!H", data[2:4])[0], 4
            if len(data) < head + size:
                break
            assert data[0] & 15 == 1, data
            text, data = data[head:head + size].decode(), data[head + size:]
            if text == "2":
                self.say(number, "3")
            else:
                self.texts[number].append(text)
        self.bytes[number] = data

    def say(self, number, text):
        self.sockets[number].sendall(WebSocket.encode(1, text.encode()))

    def hear(self, start):
        """Until each has got a text that begins so: these, by number."""
        end = time.monotonic() + SECONDS
        found = {}
        while len(found) < CLIENTS:
            left = [number for number in range(CLIENTS) if number not in found]
            assert time.monotonic() < end, f"{len(left)} of {CLIENTS} never got {start}: {self.texts.get(left[0])}"
            for number in left:
                text = next((text for text in self.texts.get(number, []) if text.startswith(start)), None)
                if text is not None:
                    found[number] = text
            self.turn()
        return found

    def join(self, how):
        """Each goes to the main namespace with what `how(number)` says; what it is told."""
        for number in range(CLIENTS):
            self.say(number, "40" + json.dumps(how(number)))
        return {number: json.loads(text[2:]) for number, text in self.hear("40{").items()}

    def leave(self):
        for number in list(self.sockets):
            self.drop(number)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.leave()
        self.poll.close()


def test_who_lost_the_network_gets_back_in_with_what_was_missed(spear):
    server = spear(recovery={"enabled": True})
    with Crowd(server.address) as crowd:
        crowd.come()
        first = crowd.join(lambda number: {"id": f"user-{number}"})
        assert server.push(to={"all": True}, event="tick", arguments=[1])["delivered"] == CLIENTS
        offsets = {number: json.loads(text[2:])[-1] for number, text in crowd.hear('42["tick",1').items()}
        crowd.leave()
        wait_until(lambda: server.state()["sockets"] == 0, seconds=SECONDS, what="all to be gone")
        server.push(to={"all": True}, event="tick", arguments=[2])
        crowd.come()
        second = crowd.join(lambda number: {"id": f"user-{number}", "pid": first[number]["pid"], "offset": offsets[number]})
        assert {number: one["sid"] for number, one in second.items()} == {number: one["sid"] for number, one in first.items()}
        crowd.hear('42["tick",2')
        assert server.push(to={"all": True}, event="tick", arguments=[3])["delivered"] == CLIENTS
        crowd.hear('42["tick",3')
        ticks = {tuple(re.findall(r'42\["tick",(\d)', " ".join(texts))) for texts in crowd.texts.values()}
        assert ticks == {("2", "3")}  # neither once more nor out of order
        assert server.push(to={"user": f"user-{CLIENTS - 1}"}, content="you")["delivered"] == 1
        state = server.state()
        assert (state["sockets"], state["users"]) == (CLIENTS, CLIENTS)


def test_a_node_that_died_takes_all_of_them_when_it_is_back(spear):
    server = spear()
    with Crowd(server.address) as crowd:
        crowd.come()
        crowd.join(lambda number: {"id": f"user-{number}"})
        server.die()
        wait_until(lambda: crowd.turn() or not crowd.sockets, seconds=SECONDS, what="all to see that it is gone")
        server.come_back()
        crowd.come()  # some dial before it listens
        crowd.join(lambda number: {"id": f"user-{number}"})
        assert server.push(to={"all": True}, event="tick", arguments=[1])["delivered"] == CLIENTS
        crowd.hear('42["tick",1')
        assert json.loads(request(server.admin, "GET", "/health")[2]) == {"status": "ok"}
