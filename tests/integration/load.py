"""Keep-alive clients at a fixed rate, for tests and benchmarks under load."""

import socket
import threading
import time


class CutOff(OSError):
    """The connection ended within an answer."""


class Load:
    """A GET is repeated once where the connection closed before any byte of the answer, as browsers do; all else that isn't
    a whole answer of status 200 is a failure: one that is cut off, one that doesn't come in time, a refused connection."""

    def __init__(self, url, clients=4, per_second=200, timeout=10):
        host, port = url.split("//")[1].strip("/").split(":")
        self.where, self.timeout = (host, int(port)), timeout
        self.stop = threading.Event()
        self.failures, self.served, self.repeated = [], 0, 0
        self.pause = clients / per_second
        begin = time.monotonic()
        self.threads = [threading.Thread(target=self.client, args=(begin + number / per_second,))
                        for number in range(clients)]
        for thread in self.threads:
            thread.start()

    def client(self, turn):
        """Asks when it is its turn, however long the last answer took; late for more than a second, it lets turns go."""
        sock = None
        while not self.stop.is_set():
            sock, head = self.ask_twice(sock)
            self.served += 1
            if not head.startswith(b"HTTP/1.1 200"):
                self.failures.append(head[:80])
            if sock and (not head.startswith(b"HTTP/1.1 200") or b"connection: close" in head.lower()):
                sock.close()
                sock = None
            turn = max(turn + self.pause, time.monotonic() - 1)
            self.stop.wait(max(0.0, turn - time.monotonic()))
        if sock:
            sock.close()

    def ask_twice(self, sock):
        """The connection to go on with, and the head of the answer or what went wrong."""
        for attempt in (1, 2):
            try:
                sock = sock or socket.create_connection(self.where, timeout=self.timeout)
                head = ask(sock)
            except OSError as error:
                return sock, f"{type(error).__name__}: {error}".encode()
            if head:
                return sock, head
            sock.close()
            sock = None
            self.repeated += attempt == 1
        return None, b"closed before any byte, twice"

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()


def ask(sock):
    """The head of a whole answer; b"" where the connection closed before any byte of it."""
    data = b""

    def more():
        nonlocal data
        try:
            got = sock.recv(65536)
        except ConnectionError as error:
            got = b""
            if data:
                raise CutOff(f"{error} after {len(data)} bytes") from error
        if not got and data:
            raise CutOff(f"closed after {len(data)} bytes")
        data += got
        return bool(got)

    try:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    except ConnectionError:
        return b""
    while b"\r\n\r\n" not in data:
        if not more():
            return b""
    head = data.partition(b"\r\n\r\n")[0]
    lower, begin = head.lower(), len(head) + 4
    if b"transfer-encoding: chunked" in lower:
        while not data.endswith(b"0\r\n\r\n"):
            more()
    else:
        length = int(lower.split(b"content-length:")[1].split(b"\r\n")[0])
        while len(data) < begin + length:
            more()
    return head
