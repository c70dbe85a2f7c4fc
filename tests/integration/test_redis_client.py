"""The client that tests and benchmarks count errors with: what it met is told apart."""

import contextlib
import socket
import threading
import time

import pytest

from redis_client import Cluster, Refused


@contextlib.contextmanager
def node(answer):
    """(host, port) of one who answers each question so; None: ends the connection instead."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve():
        with contextlib.suppress(OSError):
            while True:
                link = listening.accept()[0]
                while link.recv(4096):
                    if answer is None:
                        break
                    link.sendall(answer)
                link.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listening.getsockname()
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()


def met(client):
    return client.redirects, len(client.resets), len(client.refused), len(client.other_errors())


def asks_in_vain(client):
    with pytest.raises((OSError, Refused)):
        client.ask("SET", "a", "1", until=time.monotonic())


def test_a_connection_that_ends_under_a_question_is_neither_a_redirect_nor_another_error():
    with node(None) as ends, Cluster([ends]) as client:
        asks_in_vain(client)
        assert met(client) == (0, 1, 0, 0) and client.errors


def test_it_stays_one_where_another_node_names_the_next_owner():
    with node(b"+OK\r\n") as next_one:
        port = str(next_one[1]).encode()
        slots = b"*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:" + port + b"\r\n"
        with node(None) as ends, node(slots) as knows, Cluster([ends, knows]) as client:
            client.owners = dict.fromkeys(range(16384), ends)
            assert client.ask("SET", "a", "1") == "OK"
            assert met(client) == (0, 1, 0, 0) and not client.errors


def test_nobody_who_takes_a_connection_is_counted_by_itself():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        gone = listening.getsockname()
    with Cluster([gone]) as client:
        asks_in_vain(client)
        assert met(client) == (0, 0, 1, 0)


def test_a_redirect_is_a_redirect_and_an_error_another_error():
    with node(b"*0\r\n") as owner, node(f"-MOVED 1 127.0.0.1:{owner[1]}\r\n".encode()) as former, Cluster([former]) as client:
        client.owners = dict.fromkeys(range(16384), former)
        assert client.ask("SET", "a", "1") == []
        assert met(client) == (1, 0, 0, 0)
    with node(b"-MISCONF no\r\n") as refuses, Cluster([refuses]) as client:
        asks_in_vain(client)
        assert met(client) == (0, 0, 0, 1)
