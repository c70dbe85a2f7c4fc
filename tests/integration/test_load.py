"""The clients of the tests under load: what they forgive, and what they count."""

import socket
import struct
import threading

import pytest

from conftest import wait_until
from load import Load

WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\nhalf"
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close() sends RST


@pytest.fixture
def serve():
    """Answers the requests of each connection by the list given, then ends it: an answer, a piece of one, or None."""
    listener = socket.create_server(("127.0.0.1", 0))
    connections = []

    def one(connection, answers, reset):
        for answer in answers:
            if not connection.recv(4096):
                break
            if answer:
                connection.sendall(answer)
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        connection.close()

    def accept(answers, reset):
        while True:
            try:
                connection = listener.accept()[0]
            except OSError:
                return
            connections.append(connection)
            threading.Thread(target=one, args=(connection, answers, reset), daemon=True).start()

    def begin(*answers, reset=False):
        threading.Thread(target=accept, args=(answers, reset), daemon=True).start()
        return "http://127.0.0.1:%d" % listener.getsockname()[1]

    yield begin
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def under(url, until, timeout=10):
    load = Load(url, clients=2, per_second=100, timeout=timeout)
    try:
        wait_until(lambda: until(load), what="the clients to meet it")
    finally:
        load.end()
    return load


def test_a_connection_that_closes_before_any_byte_is_tried_once_more(serve):
    load = under(serve(WHOLE, WHOLE, None), lambda load: load.repeated > 3)
    assert load.failures == [] and load.served > load.repeated


def test_one_that_closes_so_twice_is_a_failure(serve):
    load = under(serve(None), lambda load: load.failures)
    assert set(load.failures) == {b"closed before any byte, twice"}


@pytest.mark.parametrize("reset", [False, True])
def test_an_answer_cut_off_half_way_is_a_failure(serve, reset):
    load = under(serve(WHOLE, HALF, reset=reset), lambda load: load.failures)
    assert load.repeated == 0
    assert all(failure.startswith(b"CutOff: ") for failure in load.failures), load.failures


def test_an_answer_that_does_not_come_in_time_is_a_failure(serve):
    load = under(serve(WHOLE, None, WHOLE), lambda load: load.failures, timeout=0.2)
    assert all(failure.startswith(b"TimeoutError") for failure in load.failures), load.failures


def test_another_status_is_a_failure(serve):
    load = under(serve(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"), lambda load: load.failures)
    assert all(failure.startswith(b"HTTP/1.1 502") for failure in load.failures), load.failures


def test_nobody_there_is_a_failure():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = "http://127.0.0.1:%d" % listener.getsockname()[1]
    load = under(url, lambda load: load.failures)
    assert all(failure.startswith(b"ConnectionRefusedError") for failure in load.failures), load.failures
