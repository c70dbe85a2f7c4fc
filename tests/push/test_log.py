"""What the log of a node tells of, and that a storm doesn't flood it."""

from wire import Client, WebSocket, connect, request, wait_until

pytest_plugins = ["spear_node"]


def test_the_log_tells_who_was_refused_and_never_the_token(spear):
    server = spear(environment={"MUSTER_PUSH_AUTH_SECRET": "hush"}, auth={"mode": "signed"})
    with Client(server.address) as client:
        assert not client.call("auth", {"id": "ann b", "token": "9999.feed"})[0]["success"]
    with WebSocket(server.address, "/socket.io/?EIO=4&transport=websocket") as ws:
        ws.receive()
        ws.send('40{"id":"bob","token":"9999.feed"}')
        assert "bad token" in ws.receive()
    wait_until(lambda: server.log().count("authentication refused") == 2)
    assert 'warn authentication refused why="bad token" user="ann b" address=127.0.0.1\n' in server.log()
    assert "user=bob" in server.log() and "feed" not in server.log() and "hush" not in server.log()


def test_a_storm_of_refusals_is_told_in_few_lines_and_a_number(spear):
    server = spear()
    for _ in range(100):
        assert server.api("POST", "/v1/push", {}, token="wrong-one")[0] == 401

    def all_told():
        log = server.log().splitlines()
        left_out = sum(int(line.rpartition("count=")[2]) for line in log if "lines left out" in line)
        written = sum("push API call refused code=bad-token" in line for line in log)
        return written + left_out == 100 and (written, left_out)
    written, left_out = wait_until(all_told, what="all to be told of")
    assert written >= 20 and 'lines left out of="push API call refused"' in server.log() and left_out > 0
    assert "wrong-one" not in server.log()


def test_the_log_tells_of_kicks_and_orders_refused(spear):
    server = spear()
    with Client(server.address) as client:
        client.auth("7")
        assert server.api("POST", "/v1/kick", {"user": "7"}) == (200, {"kicked": 1})
        client.expect_gone()
    assert server.api("POST", "/v1/push", {"to": {"user": "7"}})[0] == 400
    wait_until(lambda: "push API call refused" in server.log())
    assert 'kicked whom="user 7" from_group="" count=1 by="push API" address=127.0.0.1' in server.log()
    assert 'push API call refused code=bad-request why="`content` or `arguments` is missing" address=127.0.0.1' in server.log()


def test_the_log_tells_of_limits(spear):
    server = spear(limits={"per_address": 1, "packets_per_second": 5})
    with Client(server.address) as client:
        with connect(server.address) as sock:
            assert sock.recv(1000).startswith(b"HTTP/1.1 429 ")
        for number in range(20):
            try:
                client.emit("echo", number)
            except OSError:
                break
        client.expect_gone()
    wait_until(lambda: "connection refused limit=limits.per_address address=127.0.0.1" in server.log())
    wait_until(lambda: "client closed limit=limits.packets_per_second address=127.0.0.1" in server.log())


def test_the_log_tells_who_was_slow_and_how_much_waited(spear):
    server = spear(slow={"bytes": "64k"}, shards=1)
    with Client(server.address) as slow:
        slow.auth("lazy")
        for _ in range(200):
            server.push(to={"user": "lazy"}, content="x" * 60_000)
            if "slow client closed" in server.log():
                break
    assert "slow client closed address=127.0.0.1 user=lazy bytes=" in server.log()


def test_broken_protocol_is_told_where_it_is_asked_for(spear):
    for level in ("debug", "info"):
        server = spear(log={"level": level})
        with WebSocket(server.address, "/socket.io/?EIO=4&transport=websocket") as ws:
            ws.receive()
            ws.send("4nonsense")
            ws.expect_gone()
        assert request(server.address, "GET", "/socket.io/?EIO=9&transport=polling")[0] == 400
        if level == "debug":
            wait_until(lambda: 'protocol error what="a bad Socket.IO packet" address=127.0.0.1' in server.log())
            wait_until(lambda: 'protocol error what="Unsupported protocol version" address=127.0.0.1' in server.log())
        else:
            assert "protocol error" not in server.log()


def test_the_log_tells_of_a_drain_from_its_beginning_to_its_end(spear):
    server = spear()
    server.api("POST", "/v1/drain")
    assert server.process.wait(10) == 0
    log = server.log()
    assert log.index('draining over=0s by="push API"') < log.index("drained took=") < log.index(" ended\n")
