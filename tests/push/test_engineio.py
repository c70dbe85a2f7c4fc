"""The behaviours of the Engine.IO protocol's text, one by one, and what the reference does beside them."""

import json

import pytest
from wire import TEXT, Gone, Polling, WebSocket, connect, read_response, request, wait_until

pytest_plugins = ["spear_node"]

PATH = "/engine.io/"


@pytest.fixture
def server(steady):
    return steady.address


@pytest.fixture
def quick(reference):
    """One with the suite's heartbeat: 300 ms, and 200 ms for the answer."""
    return reference.address


def session(server):
    return Polling(server, PATH)


def socket(server, more=""):
    return WebSocket(server, f"{PATH}?EIO=4&transport=websocket{more}")


def opened(server):
    ws = socket(server)
    assert ws.receive().startswith("0")
    return ws


def upgraded(server, polling):
    ws = socket(server, "&sid=" + polling.sid)
    ws.send("2probe")
    assert ws.receive() == "3probe"
    ws.send("5")
    return ws


def message(ws):
    """The next message but pings, which are answered."""
    while (text := ws.receive()) == "2":
        ws.send("3")
    return text


def test_polling_opens_a_session(quick):
    found = session(quick).open
    assert found == {"sid": found["sid"], "upgrades": ["websocket"], "pingInterval": 300, "pingTimeout": 200,
                     "maxPayload": 1000000}


def test_websocket_opens_a_session(quick):
    with socket(quick) as ws:
        found = json.loads(ws.receive()[1:])
        assert found == {"sid": found["sid"], "upgrades": [], "pingInterval": 300, "pingTimeout": 200,
                         "maxPayload": 1000000}


@pytest.mark.parametrize("query, code, words", [
    ("transport=polling", 5, "Unsupported protocol version"),
    ("EIO=abc&transport=polling", 5, "Unsupported protocol version"),
    ("EIO=3&transport=polling", 5, "Unsupported protocol version"),
    ("EIO=4", 0, "Transport unknown"),
    ("EIO=4&transport=abc", 0, "Transport unknown"),
    ("EIO=4&transport=polling&sid=abc", 1, "Session ID unknown"),
    ("EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAAAAAA", 1, "Session ID unknown"),
    ("EIO=4&transport=websocket", 3, "Bad request"),
])
def test_polling_refuses_with_the_body_of_the_reference(server, query, code, words):
    status, headers, text = request(server, "GET", PATH + "?" + query)
    assert (status, json.loads(text)) == (400, {"code": code, "message": words})
    assert headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("query", ["transport=websocket", "EIO=abc&transport=websocket", "EIO=4",
                                   "EIO=4&transport=abc", "EIO=4&transport=websocket&sid=abc"])
def test_websocket_refuses(server, query):
    with WebSocket(server, PATH + "?" + query) as ws:
        assert ws.status == 400


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_handshake_is_get_only(server, method):
    status, _, text = request(server, method, PATH + "?EIO=4&transport=polling")
    assert (status, json.loads(text)["code"]) == (400, 2)


@pytest.mark.parametrize("body", ["4hello", "4test1\x1e4test2\x1e4test3", "4hello\x1ebAQIDBA==", "4h\u00e9llo\u20ac"])
def test_polling_echoes_packets(server, body):
    polling = session(server)
    assert polling.post(body) == (200, "ok")
    assert polling.get() == (200, body)


@pytest.mark.parametrize("body", ["abc", "", "4a\x1e", "8", "b!", "4\udcff"])
def test_polling_closes_upon_a_bad_packet(server, body):
    polling = session(server)
    assert polling.post(body.encode("utf8", "surrogateescape"))[0] == 400
    assert polling.get()[0] == 400


def test_polling_takes_chunked_bodies(server):
    polling = session(server)
    with connect(server) as sock:
        sock.sendall(f"POST {polling.path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n4he\r\n".encode())
        sock.sendall(b"3\r\nllo\r\n0\r\n\r\n")
        assert sock.recv(1000).startswith(b"HTTP/1.1 200 OK")
    assert polling.get() == (200, "4hello")


def test_polling_takes_chunked_bodies_that_come_in_pieces(server):
    polling = Polling(server, "/engine.io/")
    text = "4" + "".join(chr(97 + i % 26) for i in range(300))
    with connect(server) as sock, sock.makefile("rb") as file:
        for _ in range(2):  # what was left of the first is not the second's
            sock.sendall(f"POST {polling.path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
            for letter in text:
                sock.sendall(b"1;a=b\r\n")
                sock.sendall(letter.encode() + b"\r\n")
            sock.sendall(b"0\r\n\r\n")
            assert read_response(file) == (200, b"ok")
            assert polling.get() == (200, text)


def test_polling_takes_requests_in_a_row_on_one_connection(server):
    polling = session(server)
    one = f"POST {polling.path} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n4a".encode()
    last = f"GET {polling.path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
    with connect(server) as sock:
        sock.sendall(one + one + last)
        got = b""
        while more := sock.recv(65536):
            got += more
    assert got.count(b"HTTP/1.1 200 OK") == 3
    assert got.endswith(b"4a\x1e4a")


@pytest.mark.parametrize("_", range(8))  # whichever shards connection and session come to
def test_what_follows_a_pending_get_is_answered_behind_it(server, _):
    polling = Polling(server, "/engine.io/")
    with connect(server) as sock, sock.makefile("rb") as file:
        sock.sendall(f"GET /none HTTP/1.1\r\nHost: x\r\n\r\nGET {polling.path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert read_response(file)[0] == 404  # so that the GET is pending before the POST comes
        sock.sendall(f"POST {polling.path} HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\n4later".encode())
        assert polling.post("4first") == (200, "ok")
        assert read_response(file) == (200, b"4first")
        assert read_response(file) == (200, b"ok")
    assert polling.get() == (200, "4later")


def test_polling_closes_upon_two_gets(quick):
    polling = session(quick)
    first = polling.begin_get()
    answers = []

    def again():
        answers.append(polling.get())
        return answers[-1][0] == 400
    wait_until(again, what="the first to have come there")
    # Whichever came first is told of the end.
    assert "1" in [first.getresponse().read().decode(), *(text for _, text in answers)]
    first.close()
    assert polling.get()[0] == 400


def test_polling_closes_upon_two_posts(chat):
    polling = Polling(chat.address)
    with connect(chat.address) as sock:
        sock.sendall(f"POST {polling.path} HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n4h".encode())
        wait_until(lambda: polling.post("3")[0] == 400, what="the first to have come there")
    assert polling.get()[0] == 400


def test_polling_closes_when_a_get_is_given_up(quick):
    polling = session(quick)
    polling.begin_get().close()
    wait_until(lambda: polling.get()[0] == 400, what="the session to end")  # a GET may overtake the end of the first


def test_polling_closes_when_a_post_is_given_up(chat):
    polling = Polling(chat.address)
    with connect(chat.address) as sock:
        sock.sendall(f"POST {polling.path} HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n4h".encode())
    wait_until(lambda: polling.get()[0] == 400 or not polling.post("3"), what="the session to end")


def test_polling_refuses_binary_bodies_in_protocol_4(server):
    polling = session(server)
    assert polling.post(b"4a", {"Content-Type": "application/octet-stream"})[0] == 400


def test_a_body_over_the_limit_is_413(server):
    polling = session(server)
    with connect(server) as sock:
        sock.sendall(f"POST {polling.path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000001\r\n\r\n".encode())
        assert sock.recv(1000).startswith(b"HTTP/1.1 413 ")
    most = "4" + "x" * 999_999
    assert polling.post(most) == (200, "ok")
    assert polling.get() == (200, most)


def test_websocket_echoes_text(server):
    with opened(server) as ws:
        ws.send("4hello")
        assert message(ws) == "4hello"


def test_websocket_echoes_binary(server):
    with opened(server) as ws:
        ws.send(b"\1\2\3\4")
        assert message(ws) == b"\1\2\3\4"


@pytest.mark.parametrize("packet", ["abc", "", "7"])
def test_websocket_closes_upon_a_bad_packet(server, packet):
    with opened(server) as ws:
        ws.send(packet)
        ws.expect_gone()


def test_polling_is_pinged(quick):
    polling = session(quick)
    for _ in range(3):
        assert polling.get() == (200, "2")
        assert polling.post("3") == (200, "ok")


def test_polling_closes_without_pong(quick):
    polling = session(quick)
    assert polling.get() == (200, "2")
    assert polling.get() == (200, "1")  # waits for the end
    assert polling.get()[0] == 400


def test_websocket_is_pinged(quick):
    with opened(quick) as ws:
        for _ in range(3):
            assert ws.receive() == "2"
            ws.send("3")


def test_websocket_closes_without_pong(quick):
    with opened(quick) as ws:
        assert ws.receive() == "2"
        with pytest.raises(Gone):
            ws.receive()


def test_a_clients_ping_has_the_wrong_direction(server):
    with opened(server) as ws:
        ws.send("2")
        ws.expect_gone()


def test_polling_closes_when_told(quick):
    polling = session(quick)
    pending = polling.begin_get()
    assert polling.post("1") == (200, "ok")
    text = pending.getresponse().read()
    pending.close()
    assert text in (b"6", b'{"code":1,"message":"Session ID unknown"}')  # the second where the POST came first
    assert polling.get()[0] == 400


def test_websocket_closes_when_told(server):
    with opened(server) as ws:
        ws.send("1")
        ws.expect_gone()


def test_upgrade(server):
    polling = session(server)
    with socket(server, "&sid=" + polling.sid) as ws:
        ws.send("2probe")
        assert ws.receive() == "3probe"
        assert polling.get() == (200, "6")
        ws.send("5")
        ws.send("4hello")
        assert message(ws) == "4hello"


def test_upgrade_ends_a_pending_get(server):
    polling = session(server)
    pending = polling.begin_get()
    with socket(server, "&sid=" + polling.sid) as ws:
        ws.send("2probe")
        assert ws.receive() == "3probe"
        assert pending.getresponse().read() == b"6"
        pending.close()


def test_upgrade_takes_along_what_waits(server):
    polling = session(server)
    polling.post("4one\x1e4two")
    with upgraded(server, polling) as ws:
        assert [message(ws), message(ws)] == ["4one", "4two"]


def test_polling_is_over_after_the_upgrade(server):
    polling = session(server)
    with upgraded(server, polling) as ws:
        ws.send("4a")
        assert message(ws) == "4a"
        assert polling.get()[0] == 400
        ws.send("4hello")
        assert message(ws) == "4hello"


def test_a_second_websocket_for_a_session_is_closed(server):
    polling = session(server)
    with upgraded(server, polling) as ws, socket(server, "&sid=" + polling.sid) as second:
        second.expect_gone()
        ws.send("4hello")
        assert message(ws) == "4hello"


def test_a_probe_that_says_something_else_is_closed_and_the_session_lives(server):
    polling = session(server)
    with socket(server, "&sid=" + polling.sid) as ws:
        ws.send("4hello")
        ws.expect_gone()
    polling.post("4still")
    assert polling.get() == (200, "4still")


def test_an_upgrade_that_is_not_completed_is_cancelled(spear):
    server = spear(upgrade_timeout="200ms")
    polling = Polling(server.address)
    with WebSocket(server.address, f"/socket.io/?EIO=4&transport=websocket&sid={polling.sid}") as ws:
        ws.send("2probe")
        assert ws.receive() == "3probe"
        ws.expect_gone()
    polling.post("40")
    assert polling.get()[1].startswith("40{")


def test_cors_for_any_origin(server):
    status, headers, _ = request(server, "GET", PATH + "?EIO=4&transport=polling", headers={"Origin": "http://a"})
    assert (status, headers["Access-Control-Allow-Origin"]) == (200, "*")
    status, headers, _ = request(server, "OPTIONS", PATH, headers={
        "Origin": "http://a", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-a"})
    assert (status, headers["Access-Control-Allow-Origin"], headers["Access-Control-Allow-Headers"]) == (204, "*", "x-a")
    assert "POST" in headers["Access-Control-Allow-Methods"]


def test_cors_for_named_origins_with_credentials(spear):
    server = spear(cors={"origins": ["http://a", "http://b"], "credentials": True}, heartbeat={"interval": "200ms"})
    polling = Polling(server.address)
    for origin, code, expected in [("http://b", 200, "http://b"), ("http://c", 403, None)]:
        status, headers, _ = request(server.address, "GET", polling.path, headers={"Origin": origin})  # waits for the ping
        assert status == code
        assert headers["Access-Control-Allow-Origin"] == expected
        assert headers["Access-Control-Allow-Credentials"] == ("true" if expected else None)
        polling.post("3")


def asked_by(server, origin, session=None):
    """Statuses of what a page of that origin would do: a handshake over each transport, and, of a session, an upgrade, a GET and
    a POST."""
    headers, statuses = {"Origin": origin, "Host": "spear.test"}, []
    answers = [request(server.address, "GET", "/socket.io/?EIO=4&transport=polling", headers=headers)]
    if session:
        answers.append(request(server.address, "POST", session.path, "40", headers))
        answers.append(request(server.address, "GET", session.path, headers=headers))
    for status, _, text in answers:
        statuses.append(status)
        assert status == 200 or json.loads(text) == {"code": 4, "message": "Forbidden"}
    for more in ["", f"&sid={session.sid}"] if session else [""]:
        with connect(server.address) as sock:
            sock.sendall(f"GET /socket.io/?EIO=4&transport=websocket{more} HTTP/1.1\r\nHost: spear.test\r\nOrigin: {origin}\r\n"
                         "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode())
            answer = sock.makefile("rb")
            status = int(answer.readline().split()[1])
            statuses.append(status)
            assert status == 101 or answer.read().endswith(b'{"code":4,"message":"Forbidden"}'), "and the connection ends"
    return statuses


@pytest.mark.parametrize("origins", [[], ["http://a"]])
def test_pages_of_no_allowed_origin_are_refused_over_both_transports(spear, origins):
    server = spear(cors={"origins": origins})
    for origin in ["http://evil", "https://spear.test.evil", "http://spear.test:8080", "null", "http://", "http://A.evil/http://a"]:
        session = Polling(server.address)
        assert asked_by(server, origin, session) == [403] * 5, origin
        assert session.post("40")[0] == 200, "it lives, and is none of theirs"
        assert request(server.address, "OPTIONS", "/socket.io/", headers={"Origin": origin})[1]["Access-Control-Allow-Origin"] is None


@pytest.mark.parametrize("origins, origin", [
    (["http://a"], "http://a"), (["*"], "http://any"), (["*"], "null"),
    ([], "http://spear.test"), ([], "https://SPEAR.test"), ([], "https://spear.test:443")])
def test_pages_of_allowed_origins_and_of_the_host_itself_connect_over_both_transports(spear, origins, origin):
    server = spear(cors={"origins": origins})
    assert asked_by(server, origin, Polling(server.address)) == [200, 200, 200, 101, 101]


def test_other_paths_are_not_found(server):
    assert request(server, "GET", "/")[0] == 404


def test_a_handshake_with_a_wrong_version_or_key_is_refused(server):
    for version, key, status in [("12", "dGhlIHNhbXBsZSBub25jZQ==", 426), ("13", "short", 400)]:
        with connect(server) as sock:
            sock.sendall(f"GET {PATH}?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
                         f"Upgrade: websocket\r\nSec-WebSocket-Version: {version}\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode())
            assert sock.recv(1000).startswith(f"HTTP/1.1 {status} ".encode())


def test_transports_can_be_limited(spear):
    server = spear(transports=["websocket"])
    status, _, text = request(server.address, "GET", "/socket.io/?EIO=4&transport=polling")
    assert (status, json.loads(text)["code"]) == (400, 0)
    with WebSocket(server.address, "/socket.io/?EIO=4&transport=websocket") as ws:
        assert ws.receive().startswith("0{")
        ws.frame(TEXT, b"40")
        assert ws.receive().startswith("40{")


def test_requests_find_their_session_on_whatever_shard_they_land(spear):
    server = spear(shards=4, heartbeat={"interval": "20s"})
    for _ in range(20):
        polling = Polling(server.address)
        assert polling.post("40") == (200, "ok")
        assert polling.get()[1].startswith("40{")
    assert server.state()["connections_handed_over_total"] > 0
