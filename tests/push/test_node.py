"""A node as who runs it sees it: configuration, limits, slow and broken clients, TLS, metrics, and its end."""

import json
import os
import random
import signal
import socket
import subprocess
import time

import pytest
from wire import PROGRAM, Client, Gone, Polling, WebSocket, connect, read_response, request, wait_until

pytest_plugins = ["spear_node"]


def run(*arguments, **environment):
    return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=10, env={**os.environ, **environment},
                          check=False)


def check(tmp_path, text, **environment):
    (tmp_path / "spear.yaml").write_text(text)
    return run("spear", "--config", tmp_path / "spear.yaml", "--check", **environment)


def test_check_says_all_that_is_wrong_and_where(tmp_path):
    done = check(tmp_path, "shards: many\nheartbeet: {interval: 1s}\nslow:\n  policy: ignore\n", MUSTER_PUSH_MAX_PAYLOAD="lots")
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert [line.split(": error:")[0].rpartition("/")[2] for line in lines if ": error:" in line] == [
        "spear.yaml:1", "spear.yaml:2", "spear.yaml:4", "MUSTER_PUSH_MAX_PAYLOAD"]
    assert check(tmp_path, "shards: 2\n").returncode == 0


def test_settings_are_a_file_that_check_takes(tmp_path):
    assert check(tmp_path, run("settings").stdout).returncode == 0


def test_wrong_command_lines_are_told_apart_from_failures(tmp_path):
    for arguments in ([], ["nonsense"], ["spear", "--nonsense"], ["spear", "--config"], ["spear", "--config", tmp_path / "none"]):
        done = run(*arguments)
        assert done.returncode == 2 and done.stderr
    assert run("--help").returncode == 0
    assert run("version").stdout.startswith("muster-push ")


def test_variables_of_a_service_of_its_name_are_left_out_and_slips_refused(tmp_path, spear):
    service = {"MUSTER_PUSH_SERVICE_HOST": "10.0.0.1", "MUSTER_PUSH_PORT_31001_TCP_ADDR": "10.0.0.1"}
    done = check(tmp_path, "shards: 2\n", **service)
    assert done.returncode == 0, done.stderr
    assert "MUSTER_PUSH_PORT_31001_TCP_ADDR, MUSTER_PUSH_SERVICE_HOST" in done.stdout
    done = check(tmp_path, "shards: 2\n", **service, MUSTER_PUSH_SERVICE_HOSTS="10.0.0.1")
    assert done.returncode == 2 and "MUSTER_PUSH_SERVICE_HOSTS: error:" in done.stderr
    server = spear(environment=service)
    assert 'variables of a service left out names="MUSTER_PUSH_PORT_31001_TCP_ADDR, MUSTER_PUSH_SERVICE_HOST"' in server.log()


def test_a_secret_in_the_file_is_refused_and_not_printed(tmp_path):
    done = check(tmp_path, "admin: {token: do-not-tell}\n")
    assert done.returncode == 2 and "do-not-tell" not in done.stderr + done.stdout


def test_a_port_that_is_taken_is_said(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        (tmp_path / "spear.yaml").write_text(f"listen: 127.0.0.1:{taken.getsockname()[1]}\nadmin: {{listen: []}}\n")
        done = run("spear", "--config", tmp_path / "spear.yaml")
    assert done.returncode == 1 and "[port-taken]" in done.stderr


def test_two_nodes_never_share_a_port_unseen(spear, tmp_path):
    server = spear()
    (tmp_path / "spear.yaml").write_text("listen: %s:%d\nadmin: {listen: []}\n" % server.address)
    done = run("spear", "--config", tmp_path / "spear.yaml")
    assert done.returncode == 1 and "[port-taken]" in done.stderr


def test_health_metrics_and_state(spear):
    server = spear()
    with Client(server.address) as client:
        client.auth("ann")
        assert json.loads(request(server.admin, "GET", "/health")[2]) == {"status": "ok"}
        wait_until(lambda: server.state()["users"] == 1)  # is counted at the end of a turn, which the answer doesn't wait for
        metrics = request(server.admin, "GET", "/metrics")[2]
        values = {}
        for line in metrics.splitlines():
            if not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                values[name.split("{")[0]] = values.get(name.split("{")[0], 0) + float(value)
        assert values["muster_push_sessions_websocket"] == 1
        assert values["muster_push_users"] == 1
        assert values["muster_push_events_received_total"] == 1
        assert values["process_resident_memory_bytes"] > 1e6
        state = server.state()
        assert (state["sockets"], state["draining"], state["name"]) == (1, False, "spear")
    wait_until(lambda: server.state()["sockets"] == 0, what="the client to be gone")


def test_who_asks_and_ends_in_one_breath_is_answered(spear):
    node = spear()
    sock = connect(node.address)
    os.kill(node.process.pid, signal.SIGSTOP)  # so that it finds both at once
    try:
        sock.sendall(b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n\r\n")
        sock.shutdown(socket.SHUT_WR)
    finally:
        os.kill(node.process.pid, signal.SIGCONT)
    answer = b""
    while more := sock.recv(65536):  # to the end, which spear answers the other's with
        answer += more
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n") and b'"sid"' in answer
    sock.close()


def test_the_log_may_be_json():
    done = subprocess.Popen([PROGRAM, "spear"], stderr=subprocess.PIPE, text=True, env={
        **os.environ, "MUSTER_PUSH_LOG_FORMAT": "json", "MUSTER_PUSH_LISTEN": "127.0.0.1:0", "MUSTER_PUSH_ADMIN_LISTEN": ""})
    line = json.loads(done.stderr.readline())
    done.send_signal(signal.SIGTERM)
    done.send_signal(signal.SIGTERM)
    done.communicate(timeout=10)
    assert (line["event"], line["level"], line["for"]) == ("listening", "info", "clients")


def test_drain_tells_clients_and_ends_them_one_after_the_other(spear):
    server = spear(drain={"over": "600ms", "elsewhere": "http://other:1"}, shards=1)
    clients = [Client(server.address) for _ in range(20)]
    polling = Polling(server.address)
    polling.post("40")
    assert polling.get()[1].startswith("40{")
    server.process.send_signal(signal.SIGTERM)
    for client in clients:
        assert client.event("drain")[1] == {"elsewhere": "http://other:1", "withinMs": 600}
    assert request(server.address, "GET", "/socket.io/?EIO=4&transport=polling")[0] == 503
    assert request(server.admin, "GET", "/health")[0] == 503
    told = ""
    while not told.endswith("1"):  # at once, or with what it is told of the drain before it
        status, text = polling.get()
        assert status == 200, told
        told += text
    assert '42["drain",{"elsewhere":"http://other:1","withinMs":600}]' in told
    for client in clients:
        client.expect_gone()
        client.sock.close()
    assert server.process.wait(10) == 0


@pytest.mark.parametrize("end", ["bad packet", "kick", "drain"])
def test_no_probe_takes_over_a_session_that_was_closed(spear, end):
    server = spear(drain={"over": "6s"}, shards=1)
    with Client(server.address) as witness:  # the first to come is the last that a drain closes
        polling = Polling(server.address)
        polling.post('40{"id":"prober"}')
        assert polling.get()[1].startswith("40{")
        with WebSocket(server.address, f"/socket.io/?EIO=4&transport=websocket&sid={polling.sid}") as probe:
            probe.send("2probe")
            assert probe.receive() == "3probe"
            assert polling.get()[1].endswith("6")  # from here on no GET is pending
            if end == "bad packet":
                polling.post("4x")
            elif end == "kick":
                assert server.api("POST", "/v1/kick", {"user": "prober"}) == (200, {"kicked": 1})
            else:
                server.process.send_signal(signal.SIGTERM)
            wait_until(lambda: server.state()["sockets"] == 1, what="the session to be closed")
            probe.send("5")
            probe.send("40")
            assert witness.call("echo", "still here") == ["still here"]
            probe.expect_gone()
        assert witness.call("echo", "and now") == ["and now"]
        if end == "drain":  # what waited for a GET still does
            assert polling.get()[1].startswith('42["drain",')
            assert polling.get()[1] == "1"


def test_while_a_node_drains_every_shard_answers(spear):
    server = spear(drain={"over": "1h"}, shards=4)
    with Client(server.address) as client:  # the others have nobody to send away
        server.process.send_signal(signal.SIGTERM)
        assert client.event("drain")[1]["withinMs"] == 3_600_000

        def refused():
            return request(server.address, "GET", "/socket.io/?EIO=4&transport=polling")[0] == 503

        wait_until(lambda: all(refused() for _ in range(16)), what="all shards to have heard of it")
        end = time.monotonic() + 1  # three times as long as a shard waits for its last client to read
        while time.monotonic() < end:
            assert refused()
        assert client.call("echo", "still here") == ["still here"]


def test_drain_by_the_api(spear):
    server = spear()
    assert server.api("POST", "/v1/drain") == (202, {"status": "draining"})
    assert server.process.wait(10) == 0


def test_a_second_signal_ends_at_once(spear):
    server = spear(drain={"over": "1h"})
    with Client(server.address):
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "draining" in server.log())
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(10) == 0


def make_certificate(folder, name):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                    "-subj", f"/CN={name}", "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
                   check=True, capture_output=True)


def common_name(address):
    done = subprocess.run(["openssl", "s_client", "-connect", "%s:%d" % address], input="", capture_output=True, text=True, check=False)
    return done.stdout


def test_tls_and_a_new_certificate_while_clients_stay(spear, tmp_path):
    make_certificate(tmp_path, "first")
    server = spear(tls={"certificate": str(tmp_path / "cert.pem"), "key": str(tmp_path / "key.pem")})
    with Client(server.address, tls=True) as client:
        assert client.call("echo", "x" * 300_000) == ["x" * 300_000]
        assert "CN = first" in common_name(server.address)
        make_certificate(tmp_path, "second")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "CN = second" in common_name(server.address), what="the new certificate")
        (tmp_path / "cert.pem").write_text("broken")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "not reloaded" in server.log())
        assert "CN = second" in common_name(server.address)
        assert client.call("echo", 1) == [1]


@pytest.mark.parametrize("later", [0, 5])
def test_a_new_certificate_is_seen_whose_files_are_of_one_time(spear, tmp_path, later):
    def make(name, seconds):
        folder = tmp_path / name
        folder.mkdir()
        make_certificate(folder, name)
        for file in ("cert.pem", "key.pem"):
            os.utime(folder / file, (1_000_000 + seconds,) * 2)
        # Both at once, as Kubernetes does with those of a secret.
        os.symlink(folder, tmp_path / "next")
        os.replace(tmp_path / "next", tmp_path / "now")
    make("first", 0)
    server = spear(tls={"certificate": str(tmp_path / "now/cert.pem"), "key": str(tmp_path / "now/key.pem")})
    assert "CN = first" in common_name(server.address)
    make("second", later)
    wait_until(lambda: "CN = second" in common_name(server.address), what="the new certificate")


def test_who_always_sends_over_tls_holds_up_nobody(spear, tmp_path):
    make_certificate(tmp_path, "first")
    server = spear(tls={"certificate": str(tmp_path / "cert.pem"), "key": str(tmp_path / "key.pem")}, shards=1)
    with Client(server.address, tls=True) as busy, Client(server.address, tls=True) as other:
        frames = busy.encode(1, b'42["echo","' + b"x" * 60_000 + b'"]') * 20

        def flood():
            for _ in range(20):
                busy.sock.sendall(frames)
            return server.state()["reads_put_off_total"] > 0
        wait_until(flood, what="a turn that reads no further")
        assert other.call("echo", 1) == [1]
        # What was put off comes in order and to the last byte, without anything more being sent.
        assert busy.call("echo", "the last") == ["the last"]


def test_tls_that_cannot_be_read_is_said(tmp_path):
    make_certificate(tmp_path, "first")
    (tmp_path / "bad.pem").write_text("no pem")
    for files, code in [(("bad.pem", "key.pem"), "tls-bad-certificate"), (("cert.pem", "bad.pem"), "tls-bad-key"),
                        (("none.pem", "key.pem"), "file-missing")]:
        done = check(tmp_path, f"tls: {{certificate: {tmp_path / files[0]}, key: {tmp_path / files[1]}}}\n")
        assert done.returncode == 2 and f"[{code}]" in done.stderr


def test_limit_of_one_address(spear):
    server = spear(limits={"per_address": 3})
    held = [Client(server.address) for _ in range(3)]
    with connect(server.address) as sock:
        assert sock.recv(1000).startswith(b"HTTP/1.1 429 ")
    held.pop().sock.close()
    for client in held:
        client.sock.close()

    def again():
        try:
            Client(server.address).sock.close()
            return True
        except (AssertionError, OSError, IndexError):
            return False
    wait_until(again, what="a place to be free")
    assert server.state()["connections_refused_address_total"] >= 1


def test_limit_of_the_node(spear):
    server = spear(limits={"connections": 2}, shards=1)
    with Client(server.address), Client(server.address), connect(server.address) as sock:
        assert sock.recv(1000).startswith(b"HTTP/1.1 503 ")


def test_the_limit_of_the_node_is_one_of_all_its_shards(spear):
    server = spear(limits={"connections": 7}, shards=4)
    held = [Client(server.address) for _ in range(7)]  # whatever shard the kernel gave each to
    with connect(server.address) as sock:
        assert sock.recv(1000).startswith(b"HTTP/1.1 503 ")
    wait_until(lambda: server.state()["connections_refused_node_total"] == 1, what="the refusal to be counted")
    held.pop().sock.close()

    def again():
        try:
            return Client(server.address)
        except (AssertionError, OSError, IndexError):
            return None
    held.append(wait_until(again, what="a place to be free"))
    for client in held:
        client.sock.close()


def handshakes(address, count):
    """Statuses of so many handshakes of long-polling on one connection, as long as it lives."""
    statuses = []
    with connect(address) as sock, sock.makefile("rb") as file:
        for _ in range(count):
            sock.sendall(b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n\r\n")
            statuses.append(read_response(file)[0])
            if statuses[-1] != 200:
                assert file.read() == b"", "the connection ends"
                break
    return statuses


@pytest.mark.parametrize("limit, status, metric", [("connections", 503, "node"), ("per_address", 429, "address")])
def test_sessions_without_a_connection_count_under_the_limits(spear, limit, status, metric):
    server = spear(limits={limit: 5}, shards=4)
    assert handshakes(server.address, 50) == [200] * 5 + [status]
    with WebSocket(server.address, "/socket.io/?EIO=4&transport=websocket") as ws:
        assert ws.status == status
    assert server.state()[f"connections_refused_{metric}_total"] == 2
    assert server.state()["sessions_polling"] == 5
    assert f"connection refused limit=limits.{limit} address=127.0.0.1" in server.log()


def test_a_session_and_its_connection_count_once_also_after_an_upgrade(spear):
    server = spear(limits={"connections": 3}, shards=1)
    polling = Polling(server.address)
    with Client(server.address), Client(server.address), WebSocket(
            server.address, f"/socket.io/?EIO=4&transport=websocket&sid={polling.sid}") as upgraded:
        upgraded.send("2probe")
        assert upgraded.receive() == "3probe"
        upgraded.send("5")
        wait_until(lambda: server.state()["sessions_websocket"] == 3)
        with connect(server.address) as sock:
            assert sock.recv(1000).startswith(b"HTTP/1.1 503 ")


def test_sessions_that_end_make_room(spear):
    server = spear(limits={"per_address": 2}, heartbeat={"interval": "200ms", "timeout": "200ms"})
    assert handshakes(server.address, 9) == [200, 200, 429]
    wait_until(lambda: server.state()["sessions_polling"] == 0, what="sessions that nobody asks for to end")
    Polling(server.address).post("1")  # which ends it
    # What is refused for another reason takes no place either.
    for _ in range(3):
        with connect(server.address) as sock:
            sock.sendall(b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
                         b"Upgrade: websocket\r\nSec-WebSocket-Version: 12\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
            assert sock.recv(1000).startswith(b"HTTP/1.1 426 ")
        wait_until(lambda: server.state()["connections"] == 1)  # which asks
    with Client(server.address), Client(server.address):
        pass


def test_without_a_limit_files_are_one_for_sessions_too(spear):
    server = spear(files=100)
    statuses = handshakes(server.address, 200)
    assert 0 < len(statuses) <= 100 and statuses[-1] == 503
    assert server.state()["connections_refused_files_total"] == 1


def test_a_node_without_files_for_clients_still_tells_of_itself(spear):
    server = spear(files=100)
    held = [connect(server.address) for _ in range(100)]
    wait_until(lambda: server.state()["connections_refused_files_total"] > 0, what="files to be used up")
    assert request(server.admin, "GET", "/health")[0] == 200
    assert server.push(to={"all": True}, content=1)["delivered"] == 0
    assert "connection refused limit=files address=127.0.0.1" in server.log()
    for sock in held:
        sock.close()


def test_a_node_that_is_full_still_tells_of_itself(spear):
    server = spear(limits={"connections": 1, "per_address": 1}, shards=1)
    with Client(server.address) as client:
        with connect(server.address) as sock:
            assert sock.recv(1000).startswith(b"HTTP/1.1 503 ")
        assert request(server.admin, "GET", "/health")[0] == 200
        client.auth("ann")
        assert server.push(to={"user": "ann"}, content=1)["delivered"] == 1


def test_limit_of_packets(spear):
    server = spear(limits={"packets_per_second": 50})
    with Client(server.address) as client:
        for number in range(200):
            try:
                client.emit("echo", number)
            except OSError:
                break
        client.expect_gone()
    assert server.state()["packets_over_rate_total"] == 1


@pytest.mark.parametrize("policy", ["close", "drop"])
def test_a_slow_consumer_holds_up_nobody(spear, policy):
    server = spear(slow={"bytes": "256k", "policy": policy}, shards=1, max_payload="2m")
    with Client(server.address) as slow, Client(server.address) as quick:
        slow.auth("slow")
        quick.auth("quick")
        slow.subscribe("all")
        quick.subscribe("all")
        big = "x" * 60_000
        for number in range(200):  # 12 MB: more than kernel and node keep for anybody
            server.push(to={"group": "all"}, content=[number, big])
            assert quick.event("msg")[1]["content"][0] == number
        state = server.state()
        assert state["slow_dropped_total"] > 0
        if policy == "close":
            assert state["slow_closed_total"] == 1
            slow.expect_gone()
        else:
            assert state["slow_closed_total"] == 0
            seen = slow.event("msg")[1]["content"][0]
            assert seen == 0
    wait_until(lambda: server.state()["connections"] <= 1)


@pytest.mark.parametrize("secure", [False, True])
def test_who_was_too_slow_is_told_so_and_does_not_come_back(spear, tmp_path, secure):
    make_certificate(tmp_path, "slow")
    tls = {"tls": {"certificate": str(tmp_path / "cert.pem"), "key": str(tmp_path / "key.pem")}} if secure else {}
    server = spear(slow={"bytes": "256k"}, shards=1, recovery={"enabled": True}, **tls)
    with Client(server.address, tls=secure) as slow:
        slow.auth("slow")
        server.push(to={"user": "slow"}, content="first")
        offset = slow.event("msg")[2]
        wait_until(lambda: server.push(to={"user": "slow"}, content="x" * 240_000)["delivered"] == 0, seconds=60, what="it to be too slow")
        assert server.state()["slow_closed_total"] == 1
        # Every frame is whole, and this is the last.
        assert slow.close_code() == 1008
        with pytest.raises((Gone, OSError)):
            slow.receive_frame()
    assert server.state()["recovery_saved"] == 0
    with Client(server.address, auth={"pid": slow.connected["pid"], "offset": offset}, tls=secure) as again:
        assert again.sid != slow.sid


def test_nothing_comes_behind_a_close_frame(spear):
    server = spear(shards=1)
    with Client(server.address) as leaving, Client(server.address) as other, Client(server.address) as third:
        for client in (leaving, other, third):
            assert client.call("join", "room")[0]["success"]
        os.kill(server.process.pid, signal.SIGSTOP)  # so that it finds all in one turn, in this order
        try:
            leaving.sock.sendall(leaving.encode(1, b'42["emit","room","first"]') + leaving.encode(8, b"\x03\xe8"))
            other.emit("emit", "room", "second")
        finally:
            os.kill(server.process.pid, signal.SIGCONT)
        assert [third.event()[0], third.event()[0]] == ["first", "second"]
        assert leaving.receive_frame() == (8, b"\x03\xe8")
        with pytest.raises(Gone):
            leaving.receive_frame()


@pytest.mark.parametrize("policy", ["close", "drop"])
def test_a_polling_client_that_never_asks_is_slow_too(spear, policy):
    server = spear(slow={"bytes": "64k", "policy": policy})
    polling = Polling(server.address)
    polling.post('40{"id":"lazy"}')
    assert polling.get()[1].startswith("40{")
    got = [server.push(to={"user": "lazy"}, content="x" * 10_000)["delivered"] for _ in range(10)]
    assert got[:6] == [1] * 6 and got[-1] == 0
    status, text = polling.get()
    assert status == (400 if policy == "close" else 200)
    assert policy == "close" or text.count('42["msg"') == 6


def test_what_is_volatile_waits_for_nobody(spear):
    server = spear()
    polling = Polling(server.address)
    polling.post('40{"id":"lazy"}')
    assert polling.get()[1].startswith("40{")
    assert server.push(to={"user": "lazy"}, content="now or never", volatile=True)["delivered"] == 0
    assert server.push(to={"user": "lazy"}, content="later")["delivered"] == 1
    assert "later" in polling.get()[1]


def test_a_client_that_reads_nothing_is_not_read_from_for_ever(spear):
    server = spear(slow={"bytes": "1m"}, shards=1)
    with Client(server.address) as client:
        client.sock.setblocking(False)
        frame = client.encode(1, b'421["echo","' + b"x" * 10_000 + b'"]')
        sent = 0
        try:
            while sent < 100_000_000:
                sent += client.sock.send(frame)
        except BlockingIOError:
            pass
        assert sent < 100_000_000
        with Client(server.address) as other:
            assert other.call("echo", 1) == [1]
        assert server.state()["residentBytes"] < 64 << 20


def test_slowloris_is_ended(spear):
    server = spear(limits={"request_timeout": "300ms"})
    held = [connect(server.address) for _ in range(20)]
    for sock in held[:10]:
        sock.sendall(b"GET /socket.io/?EIO=4 HTT")
    for sock in held[10:15]:
        sock.sendall(b"POST /socket.io/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab")
    for index, sock in enumerate(held):
        answer = sock.recv(1000)
        assert answer.startswith(b"HTTP/1.1 408 ") if index < 15 else answer == b""
        sock.close()
    wait_until(lambda: server.state()["connections"] <= 1)


def test_garbage_harms_nobody(spear):
    server = spear()
    dice = random.Random(5)
    with Client(server.address) as witness:
        for _ in range(200):
            with connect(server.address) as sock:
                try:
                    sock.sendall(dice.randbytes(dice.randrange(1, 3000)))
                except OSError:
                    pass
        for _ in range(200):
            with WebSocket(server.address, "/socket.io/?EIO=4&transport=websocket") as ws:
                try:
                    ws.sock.sendall(dice.randbytes(dice.randrange(1, 300)))
                    ws.frame(1, ("4" + dice.choice(["0", "2", "5", "51-", "2/a,", ""]) + dice.choice(["{", "[", '["a",', "1", "\x00"])).encode())
                except OSError:
                    pass
        assert witness.call("echo", 1) == [1]
    wait_until(lambda: server.state()["connections"] <= 1, what="all to be gone")
    assert server.state()["sockets"] == 0


def test_half_open_connections_are_found_by_the_heartbeat(spear):
    server = spear(heartbeat={"interval": "200ms", "timeout": "200ms"})
    with Client(server.address):  # says nothing more, and doesn't go either
        assert server.state()["sockets"] == 1
        wait_until(lambda: server.state()["sockets"] == 0, what="the heartbeat to fail")
    assert server.state()["sessions_closed_ping_total"] == 1


def test_many_clients_coming_back_at_once_all_get_in(spear):
    server = spear()
    for _ in range(2):
        clients = [connect(server.address) for _ in range(500)]
        for sock in clients:
            sock.sendall(b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                         b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" + WebSocket.encode(1, b"40"))
        wait_until(lambda: server.state()["sockets"] == 500, what="all to be in")
        for sock in clients:
            sock.close()
        wait_until(lambda: server.state()["sockets"] == 0, what="all to be gone")


def test_no_descriptor_and_little_memory_is_lost(spear):
    server = spear()

    def descriptors():
        return len(os.listdir(f"/proc/{server.process.pid}/fd"))

    server.state()
    before = wait_until(descriptors)
    for turn in range(100):
        with Client(server.address) as client:
            client.auth(turn)
            client.subscribe(turn)
        Polling(server.address).post("1")
    wait_until(lambda: server.state()["sockets"] == 0 and server.state()["sessions_polling"] == 0)
    wait_until(lambda: descriptors() <= before + 1, what="descriptors to be closed")
    state = server.state()
    assert (state["users"], state["rooms"]) == (0, 0)
