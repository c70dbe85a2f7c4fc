"""What a client of the load balancer meets: WebSockets, also through a roll, and TLS."""

import base64
import hashlib
import json
import os
import pathlib
import socket
import ssl
import struct
import subprocess
import threading

import pytest

from conftest import edge, free_ports, processes_below, wait_until, web

GOING_AWAY = 1001


class WebSocket:
    """A client (RFC 6455) that notices how its connection ends."""

    def __init__(self, host, port, tls=None, path="/ws"):
        self.socket = socket.create_connection((host, port), timeout=30)
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall((f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                             f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n").encode())
        self.file = self.socket.makefile("rb")
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = self.file.readline()
            assert line, head
            head += line
        accept = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest())
        assert head.startswith(b"HTTP/1.1 101 ") and accept in head, head

    def send(self, opcode, payload):
        """One whole message of less than 126 bytes, or a close frame."""
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
        self.socket.sendall(bytes([0x80 | opcode, 0x80 | len(payload)]) + mask + masked)

    def receive(self):
        """(opcode, payload) of the next frame; None where the connection ends without one."""
        head = self.file.read(2)
        if len(head) < 2:
            return None
        payload = self.file.read(head[1] & 0x7F)
        return head[0] & 0x0F, payload

    def echo(self, text):
        self.send(1, text.encode())
        opcode, payload = self.receive()
        return opcode == 1 and payload.decode() == text

    def close(self):
        self.file.close()
        self.socket.close()


def place(url):
    host, _, port = url.split("//")[1].strip("/").partition(":")
    return host, int(port)


def test_a_roll_closes_each_websocket_with_a_close_frame(muster):
    muster.run("up", muster.file(web(muster, instances=3)), "--rehearse")
    where = place(edge(muster, "web@rehearsal"))
    sockets = [WebSocket(*where) for _ in range(9)]
    assert all(one.echo(f"hello {i}") for i, one in enumerate(sockets))
    ends = [None] * len(sockets)

    def await_end(i):
        ends[i] = sockets[i].receive()
        if ends[i] and ends[i][0] == 8:
            sockets[i].send(8, ends[i][1])  # the closing handshake's other half
            assert sockets[i].receive() is None  # and nothing more

    threads = [threading.Thread(target=await_end, args=(i,)) for i in range(len(sockets))]
    for thread in threads:
        thread.start()
    muster.run("restart", "--cluster", "web@rehearsal", "app")
    for thread in threads:
        thread.join(timeout=30)
    codes = [end and (end[0], struct.unpack(">H", end[1][:2])[0]) for end in ends]
    assert codes == [(8, GOING_AWAY)] * len(sockets)
    for one in sockets:
        one.close()
    again = WebSocket(*where)
    assert again.echo("who comes back is served by the new ones")
    again.close()


def test_a_websocket_outlives_reloads_that_do_not_concern_it(muster):
    alone = "{{artifact}} --port={{ports.http}} --address={{address}} --id={{instance}}"  # its peers are nothing to it
    muster.run("up", muster.file(web(muster, instances=2, command=alone)), "--rehearse")
    where = place(edge(muster, "web@rehearsal"))
    sockets = [WebSocket(*where) for _ in range(4)]
    before = {name: one["pid"] for name, one in muster.instances("web@rehearsal").items()}
    muster.run("scale", "--cluster", "web@rehearsal", "app", "4")  # nginx has two more members to read
    after = muster.instances("web@rehearsal")
    assert all(after[name]["pid"] == pid for name, pid in before.items())
    assert all(one.echo("still here") for one in sockets)
    for one in sockets:
        one.close()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """A certificate for localhost and its key, signed by itself."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
                    "-keyout", folder / "edge.key", "-out", folder / "edge.crt"], check=True, capture_output=True)
    return folder


def with_tls(muster, certificate, key):
    first = free_ports(3)
    text = web(muster, instances=2, port=first, listen=first + 2)
    (muster.folder / "edge.crt").write_bytes((certificate / "edge.crt").read_bytes())
    return muster.file(text.replace("    hosts: [h1]", "    hosts: [h1]\n    tls: { certificate: ./edge.crt, %s }" % key))


def ask(where, tls, path="/"):
    with tls.wrap_socket(socket.create_connection(where, timeout=10), server_hostname="localhost") as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while more := sock.recv(65536):
            answer += more
    return answer.decode()


def test_tls_ends_at_the_balancer_and_the_key_may_be_a_secret(muster, certificate):
    file = with_tls(muster, certificate, "key_secret: edge-key")
    key = (certificate / "edge.key").read_text()
    # As long as it isn't set, each command tells so with its place, and looks for all else that is wrong as well.
    for command in ("check", "plan", "up"):
        refused = muster.run(command, file, "--rehearse", code=1)
        line = next(i for i, text in enumerate(open(file), 1) if "key_secret" in text)
        assert f":{line}:49: error: the secret edge-key of web@rehearsal is not set [secret-missing]" in refused.stderr
    muster.run("render", file, "--rehearse", "--out", muster.folder / "shown")
    shown = list((muster.folder / "shown").glob("*/*/conf/tls-1.key"))
    assert [one.read_text() for one in shown] == ["{{secret.edge-key}}"]
    muster.run("secret", "set", "--cluster", "web@rehearsal", "edge-key", input=key)
    muster.run("check", file, "--rehearse")
    muster.run("up", file, "--rehearse")
    muster.run("check", file, "--rehearse")
    url = edge(muster, "web@rehearsal")
    assert url.startswith("https://")
    where = place(url)
    trusting = ssl.create_default_context(cafile=str(certificate / "edge.crt"))
    answer = ask(where, trusting, "/echo/x")
    assert answer.startswith("HTTP/1.1 200 ") and '"x-forwarded-proto":"https"' in answer.lower().replace('": "', '":"')
    with pytest.raises(ssl.SSLCertVerificationError):
        ask(where, ssl.create_default_context())
    client = WebSocket(*where, tls=trusting)
    assert client.echo("over TLS")
    client.close()
    assert muster.json("verify", "--cluster", "web@rehearsal")["passed"]
    # The key's text is nowhere but in the file that nginx reads.
    shown = muster.run("plan", file, "--rehearse", code=0).stdout + muster.run("logs", "--cluster", "web@rehearsal").stdout
    assert key.splitlines()[1] not in shown


def new_key(path):
    """A new key and its certificate; returns a line of the key that no other key has."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-days", "2", "-subj", "/CN=localhost", "-keyout", path / "edge.key", "-out", path / "edge.crt"],
                   check=True, capture_output=True)
    return (path / "edge.key").read_text().splitlines()[2]


def serves(where, certificate):
    """Does nginx have the key of this certificate?"""
    found = ssl.get_server_certificate(where, timeout=10)
    return ssl.PEM_cert_to_DER_cert(found) == ssl.PEM_cert_to_DER_cert(certificate)


def test_a_key_in_a_file_and_an_env_file_are_shown_nowhere(muster):
    first = free_ports(3)
    text = web(muster, instances=1, port=first, listen=first + 2)
    text = text.replace("    hosts: [h1]", "    hosts: [h1]\n    tls: { certificate: ./edge.crt, key: ./edge.key }")
    text = text.replace("    kind: app\n", "    kind: app\n    env_file: ./app.env\n")
    (muster.folder / "app.env").write_text("APP_TOKEN=canary-in-an-env-file\n")
    canaries = [new_key(muster.folder), "canary-in-an-env-file"]
    certificates = [(muster.folder / "edge.crt").read_text()]
    file, key = muster.file(text), "web@rehearsal"
    shown = []

    def run(*args, code=None, **more):
        done = muster.run(*args, code=code, **more)
        shown.append((args, done.stdout + done.stderr))
        return done

    run("check", file, "--rehearse", code=0)
    run("up", file, "--rehearse", "--json", code=0)
    where = place(edge(muster, key))
    assert serves(where, certificates[0])
    # What a certificate's renewal on the host does: another key stands there than was put there.
    installed = list(pathlib.Path(muster.home).glob("**/instances/edge-1/conf/tls-1.key"))
    assert len(installed) == 1 and installed[0].stat().st_mode & 0o777 == 0o600
    before = installed[0].read_text()
    assert canaries[0] in before
    pid = muster.instances(key)["edge-1"]["pid"]
    drifted = pathlib.Path(muster.home) / "drifted"
    drifted.mkdir()
    canaries.append(new_key(drifted))
    installed[0].write_text((drifted / "edge.key").read_text())
    assert "(not shown: the file holds a secret)" in run("plan", file, "--rehearse", code=2).stdout
    run("plan", file, "--rehearse", "--json", code=2)
    run("ps", "--cluster", key, "--json")
    run("up", file, "--rehearse", code=0)
    assert installed[0].read_text() == before
    # A new key in the file, and the way back to the first one.
    canaries.append(new_key(muster.folder))
    certificates.append((muster.folder / "edge.crt").read_text())
    run("plan", file, "--rehearse", code=2)
    run("up", file, "--rehearse", code=0)
    wait_until(lambda: serves(where, certificates[1]), what="the new certificate")
    run("rollback", "--cluster", key, code=0)
    wait_until(lambda: serves(where, certificates[0]), what="the certificate of before")
    assert installed[0].read_text() == before
    assert muster.instances(key)["edge-1"]["pid"] == pid
    run("secret", "rotate", code=0)
    run("rollback", "--cluster", key, "2", code=0)
    wait_until(lambda: serves(where, certificates[1]), what="the second certificate")
    for args in (["status"], ["ps"], ["history"], ["audit"], ["secret", "list"], ["verify"], ["logs"],
                 *(["history", "--show", number] for number in (1, 2, 3))):
        run(*args, "--cluster", key)
        run(*args, "--cluster", key, *([] if args[0] == "logs" else ["--json"]))
    run("render", file, "--rehearse", "--out", muster.folder / "rendered", code=0)
    api = ["curl", "-s", "--unix-socket", muster.home + "/m/server/api.sock"]
    for target in ("runs", "revisions/1", "revisions/2", "instances", "history"):
        answer = subprocess.run([*api, f"http://muster/v1/clusters/web%40rehearsal/{target}"], capture_output=True, text=True)
        shown.append((target, answer.stdout))
    runs = json.loads(shown[-5][1])["runs"]
    assert len(runs) >= 4
    for one in runs:
        for target in (f"runs/{one['run']}", f"runs/{one['run']}/events"):
            answer = subprocess.run([*api, "--max-time", "10", f"http://muster/v1/{target}"], capture_output=True, text=True)
            shown.append((target, answer.stdout))
    for path in muster.folder.glob("rendered/**/*.key"):
        shown.append((path, path.read_text()))
    shown += [("a process", command) for command in processes_below(muster.home).values()]
    for who, what in shown:
        assert not [one for one in canaries if one in what], f"{who}: {what}"
    # On the disk: what nginx and the app are given, for their own user only; nowhere of the server's.
    server, found = pathlib.Path(muster.home) / "m" / "server", set()
    for path in (pathlib.Path(muster.home) / "m").rglob("*"):
        if not path.is_file() or path.is_symlink():
            continue
        held = [one for one in canaries if one.encode() in path.read_bytes()]
        found.update(held)
        if held:
            assert path.stat().st_mode & 0o077 == 0, f"{path} has {held} and is open to others"
            assert server not in path.parents and path.suffix != ".log", f"{path} has {held}"
    assert found == {canaries[1], canaries[3]}  # of what runs


def test_headers_hold_all_that_a_header_can(muster):
    first = free_ports(3)
    values = {"Strict-Transport-Security": "max-age=63072000; includeSubDomains",
              "Content-Security-Policy": "default-src 'self'; script-src 'self' 'unsafe-inline'; img-src *",
              "Report-To": '{"group":"csp","endpoints":[{"url":"https://r.example/{data}"}]}',
              "X-Odd": 'a\\tb \\" } { ; # é'}
    text = web(muster, instances=1, port=first, listen=first + 2)
    lines = "".join(f"      {name}: {json.dumps(value, ensure_ascii=False)}\n" for name, value in values.items())
    text = text.replace("    hosts: [h1]\n", "    hosts: [h1]\n    response_headers:\n" + lines, 1)
    file = muster.file(text)
    muster.run("up", file, "--rehearse")
    with socket.create_connection(place(edge(muster, "web@rehearsal")), timeout=10) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = sock.makefile("rb").read().decode()
    for name, value in values.items():
        assert f"\r\n{name}: {value}\r\n" in answer
    bad = muster.file(text.replace("      X-Odd: ", '      X-Bell: "a\\ab"\n      X-Var: "{{secret.token}}"\n      X-Odd: '))
    refused = muster.run("check", bad, "--file-only", code=1).stderr
    assert "with a control character in it: U+0007 [bad-pattern]" in refused
    refused = muster.run("check", muster.file(text.replace("      X-Odd: ", '      X-Var: "{{secret.token}}"\n      X-Odd: ')),
                         "--file-only", code=1).stderr
    assert "{{secret.token}} is not filled in here [bad-value]" in refused


def test_a_certificate_is_replaced_without_a_broken_connection(muster, certificate):
    (muster.folder / "edge.key").write_bytes((certificate / "edge.key").read_bytes())
    file = with_tls(muster, certificate, "key: ./edge.key")
    muster.run("up", file, "--rehearse")
    where = place(edge(muster, "web@rehearsal"))
    old = ssl.create_default_context(cafile=str(certificate / "edge.crt"))
    client = WebSocket(*where, tls=old)
    before = muster.instances("web@rehearsal")["edge-1"]["pid"]
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout",
                    muster.folder / "edge.key", "-out", muster.folder / "edge.crt"], check=True, capture_output=True)
    muster.run("up", file, "--rehearse")
    new = ssl.create_default_context(cafile=str(muster.folder / "edge.crt"))
    wait_until(lambda: served_by(where, new), what="the new certificate")
    assert muster.instances("web@rehearsal")["edge-1"]["pid"] == before
    assert client.echo("as before")
    client.close()


def served_by(where, tls):
    try:
        return ask(where, tls).startswith("HTTP/1.1 200 ")
    except ssl.SSLCertVerificationError:
        return False
