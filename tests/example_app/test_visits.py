"""The example program counts visits in Redis, whatever becomes of the node that it asked."""

import contextlib
import pathlib
import shutil
import signal
import socket
import sys
import threading
import time

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests" / "integration"))

from redis_client import Refused, key_slot  # noqa: E402
from redis_servers import Servers, serves, settled, until  # noqa: E402
from running_app import free_port  # noqa: E402

pytest_plugins = ["fresh_app"]
pytestmark = pytest.mark.skipif(not shutil.which("redis-server"), reason="redis-server is not installed")
PASSWORD = "s3cret word"
BOUND = 2.0  # seconds that a visit may take, as --help's page says; looked at with room for a busy machine
ROOM = 2.0


def is_whole(servers):
    """Serves, and each of them knows who follows whom."""
    return serves(servers.nodes, 3, PASSWORD) and settled(servers.nodes, PASSWORD)


@pytest.fixture(scope="module")
def cluster():
    """Three masters and their replicas, by hand. Its tests leave it whole."""
    with Servers(6, password=PASSWORD) as servers:
        servers.start()
        until(lambda: all(map(servers.answers, servers.ports)), what="the servers")
        servers.create(replicas=1)
        until(lambda: is_whole(servers), what="the cluster")
        yield servers


@pytest.fixture
def single():
    with Servers(1, {"cluster-enabled": "no"}) as servers:
        servers.start()
        until(lambda: servers.answers(servers.ports[0]), what="the server")
        yield servers


def redis_option(ports):
    return "--redis=" + ",".join(f"127.0.0.1:{port}" for port in ports)


def visit(app):
    answer, _ = app.ask("/visits")
    return answer.status, app.json("/info")["redis"]


def test_without_redis_nothing_is_counted(start):
    app = start().listening()
    assert app.ask("/visits")[0].status == 404
    assert b"visits" not in app.ask("/")[1]
    assert app.json("/info")["redis"] == {"nodes": [], "visits": 0, "node": "", "error": ""}


def test_counts_in_a_single_redis_told_by_the_environment(start, single):
    node = f"127.0.0.1:{single.ports[0]}"
    app = start(env={"REDIS_NODES": node}).listening()
    assert app.json("/visits") == {"id": "app", "visits": 1, "node": node, "error": ""}
    assert f"visits: 2, counted in Redis by {node}\n".encode() in app.ask("/")[1]
    assert app.json("/info")["redis"] == {"nodes": [node], "visits": 2, "node": node, "error": ""}
    with single.redis(single.ports[0]) as redis:
        assert redis.ask("GET", "visits") == "2"


def test_finds_the_owner_from_whichever_node_it_knows(start, cluster):
    owner, _ = cluster.owner("visits")
    numbers = []
    for port in cluster.ports:
        app = start(redis_option([port]), env={"REDIS_PASSWORD": PASSWORD}).listening()
        told = app.json("/visits")
        assert told["node"] == f"127.0.0.1:{owner}", told
        numbers.append(told["visits"])
    assert numbers == list(range(numbers[0], numbers[0] + 6))


def test_counts_each_visit_once_while_many_come(start, cluster):
    app = start(redis_option(cluster.ports), env={"REDIS_PASSWORD": PASSWORD}).listening()
    begin = app.json("/visits")["visits"]
    numbers = []

    def visitor():
        for _ in range(50):
            numbers.append(app.json("/visits")["visits"])

    threads = [threading.Thread(target=visitor) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(numbers) == list(range(begin + 1, begin + 201))


def test_goes_along_while_the_slot_moves(start, cluster):
    app = start(redis_option(cluster.ports), env={"REDIS_PASSWORD": PASSWORD}).listening()
    first = app.json("/visits")
    here, _ = cluster.owner("visits")
    there = next(port for port in cluster.ports if cluster.owner(f"{{{other_tag(here, cluster)}}}")[0] == port)
    slot = key_slot("visits")
    with cluster.redis(here) as old, cluster.redis(there) as new:
        ids = {here: old.ask("CLUSTER", "MYID"), there: new.ask("CLUSTER", "MYID")}
        try:
            new.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[here])
            old.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[there])
            old.ask("MIGRATE", "127.0.0.1", there, "visits", 0, 5000, "AUTH", PASSWORD)
            asked = [app.json("/visits") for _ in range(3)]
            assert [one["visits"] for one in asked] == [first["visits"] + n for n in (1, 2, 3)]
            assert {one["node"] for one in asked} == {f"127.0.0.1:{there}"}
            for redis in (new, old):
                redis.ask("CLUSTER", "SETSLOT", slot, "NODE", ids[there])
            assert app.json("/visits")["visits"] == first["visits"] + 4
        finally:  # back to where it was
            with contextlib.suppress(Refused):
                old.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[there])
                new.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[here])
                new.ask("MIGRATE", "127.0.0.1", here, "visits", 0, 5000, "AUTH", PASSWORD)
            for redis in (old, new):
                redis.ask("CLUSTER", "SETSLOT", slot, "NODE", ids[here])
    assert app.json("/visits")["visits"] == first["visits"] + 5
    until(lambda: is_whole(cluster), what="the cluster")


def other_tag(port, cluster):
    """A word whose slot isn't on `port`."""
    return next(word for word in map(str, range(100)) if cluster.owner(word)[0] != port)


def test_lives_through_a_failover(start, cluster):
    owner, replicas = cluster.owner("visits")
    # It knows the one that dies alone, and the others from it; and one that is there.
    app = start(redis_option([owner, *replicas]), env={"REDIS_PASSWORD": PASSWORD}).listening()
    assert app.json("/visits")["node"] == f"127.0.0.1:{owner}"
    cluster.signal(owner)
    with cluster.redis(replicas[0]) as redis:
        redis.ask("CLUSTER", "FAILOVER", "TAKEOVER")
    told = app.json("/visits")
    assert told["node"] == f"127.0.0.1:{replicas[0]}" and told["visits"] > 0, told
    cluster.start(owner)
    until(lambda: is_whole(cluster), what="the cluster")


def test_a_frozen_node_holds_up_its_visit_only(start, cluster):
    owner, replicas = cluster.owner("visits")
    app = start(redis_option(cluster.ports), env={"REDIS_PASSWORD": PASSWORD}).listening()
    assert app.ask("/visits")[0].status == 200
    cluster.signal(owner, signal.SIGSTOP)
    try:
        begin, told = time.monotonic(), []
        visitor = threading.Thread(target=lambda: told.append((app.ask("/visits"), time.monotonic() - begin)))
        visitor.start()
        answered = 0
        while visitor.is_alive():
            asked = time.monotonic()
            assert app.ask("/health")[0].status == 200
            assert time.monotonic() - asked < 1
            answered += 1
        visitor.join()
        (answer, body), took = told[0]
        # Redis' own failover may come first; nobody waits longer than the bound for it.
        assert answer.status in (200, 503) and took < BOUND + ROOM and answered > 10
        if answer.status == 503:
            assert b'"visits":0' in body and b'"error":""' not in body
    finally:
        cluster.signal(owner, signal.SIGCONT)
    until(lambda: app.ask("/visits")[0].status == 200, what="a visit that counts")
    until(lambda: is_whole(cluster), what="the cluster")


def test_says_that_nobody_is_there_and_counts_when_somebody_is(start):
    with Servers(1, {"cluster-enabled": "no"}) as servers:
        app = start(redis_option(servers.ports)).listening()
        begin = time.monotonic()
        answer, body = app.ask("/visits")
        assert answer.status == 503 and b"Connection refused" in body
        assert time.monotonic() - begin < BOUND + ROOM
        answer, body = app.ask("/")  # the page comes all the same
        assert answer.status == 200 and b"visits: not counted: " in body
        assert app.ask("/health")[0].status == 200
        servers.start()
        until(lambda: app.ask("/visits")[0].status == 200, what="a visit that counts")
        app.log_until("visits are counted by")


def test_a_wrong_password_is_told_at_once_and_never_shown(start, cluster):
    app = start(redis_option(cluster.ports), env={"REDIS_PASSWORD": "guessed-wrong"}).listening()
    answer, body = app.ask("/visits")
    assert answer.status == 503 and b"WRONGPASS" in body
    for page in (body, app.ask("/")[1], app.ask("/info")[1]):
        assert b"guessed-wrong" not in page
    app.log_until("a visit isn't counted: WRONGPASS")
    assert not any("guessed-wrong" in line for line in app.lines)
    # Without one, where one is needed.
    answer, body = start(redis_option(cluster.ports)).listening().ask("/visits")
    assert answer.status == 503 and b"NOAUTH" in body


def test_what_speaks_no_redis_is_told(start):
    with socket.create_server(("127.0.0.1", 0)) as other:
        def answer_all():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = other.accept()
                    with connection:
                        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        threading.Thread(target=answer_all, daemon=True).start()
        app = start(redis_option([other.getsockname()[1]])).listening()
        answer, body = app.ask("/visits")
        other.shutdown(socket.SHUT_RDWR)
    assert answer.status == 503 and b"says what nobody asked" in body, body
    assert app.ask("/health")[0].status == 200


def test_a_stop_waits_for_a_visit_that_is_under_way(start):
    app = start(redis_option([free_port()])).listening()
    with socket.create_connection(("127.0.0.1", app.port), 10) as raw:
        raw.sendall(b"GET /visits HTTP/1.1\r\nHost: x\r\n\r\n")
        app.json("/info")  # came later
        app.terminate()
        app.log_until("stopping")
        assert raw.recv(4096).startswith(b"HTTP/1.1 503 ")
    assert app.status() == 0
