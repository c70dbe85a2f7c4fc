"""Real clients, over both transports and with the upgrade between them: python3-socketio, and where npm is installed the official
ones of Socket.IO 4, 3 and 2."""

import json
import os
import pathlib
import subprocess
import threading

import pytest
import requests
from certificates import certificates
from real_clients import needed, node_modules
from spear_node import TOKEN
from wire import wait_until

pytest_plugins = ["spear_node"]

socketio = pytest.importorskip("socketio")


@pytest.mark.parametrize("transports", [["websocket"], ["polling"], ["polling", "websocket"]])
def test_python_socketio(chat, transports):
    url = "http://%s:%d" % chat.address
    client, other = socketio.Client(), socketio.Client()
    got, done = [], threading.Event()

    @client.on("msg")
    def on_msg(message, *_):
        got.append(message["content"])
        done.set()

    client.connect(url, transports=transports, wait_timeout=10)
    other.connect(url, transports=transports, wait_timeout=10)
    try:
        user = "python-" + "-".join(transports)
        assert client.call("auth", {"id": user, "name": "P"})["success"]
        assert other.call("auth", {"id": user + "-other"})["success"]
        assert other.call("msg", {"type": 0, "target": {"id": user}, "content": "h\u00e9llo"})["success"]
        assert done.wait(10)
        assert got == ["h\u00e9llo"]
        assert other.call("echo", {"bytes": b"\1\2\3"}) == {"bytes": b"\1\2\3"}
        assert client.transport() == transports[-1]
    finally:
        client.disconnect()
        other.disconnect()


def test_python_socketio_is_told_of_a_bad_namespace(chat):
    client = socketio.Client()
    with pytest.raises(socketio.exceptions.ConnectionError):
        client.connect("http://%s:%d" % chat.address, namespaces=["/none"], wait_timeout=2)


@pytest.fixture
def python_client(request):
    """Makes python3-socketio's clients, and disconnects them."""
    made = []

    def make(**how):
        made.append(socketio.Client(**how))
        return made[-1]
    yield make
    for client in made:
        client.disconnect()


@pytest.mark.parametrize("transports", [["websocket"], ["polling"]])
def test_python_socketio_answers_acks_and_takes_binary_events_of_rooms(chat, python_client, transports):
    one, other = python_client(), python_client()
    got, done = [], threading.Event()
    one.on("sum", lambda *numbers: sum(numbers))
    one.on("bytes", lambda: b"\1\2")

    @one.on("picture")
    def on_picture(*rest):
        got.append(rest)
        if len(got) == 2:
            done.set()

    for client in (one, other):
        client.connect("http://%s:%d" % chat.address, transports=transports, wait_timeout=10)
        client.call("join", "python-pictures-" + transports[0])
    user = "python-acks-" + transports[0]
    assert one.call("auth", {"id": user})["success"]
    assert chat.push(to={"user": user}, event="sum", arguments=[1, 41], ack="10s")["answers"] == [[42]]
    assert chat.push(to={"user": user}, event="bytes", arguments=[], ack="10s")["answers"] == [[{"base64": "AQI="}]]
    for picture in ({"name": "a", "bytes": b"\0\xff"}, b"\7" * 100_000):
        other.emit("emit", ("python-pictures-" + transports[0], "picture", picture))
    assert done.wait(10)
    assert got == [({"name": "a", "bytes": b"\0\xff"},), (b"\7" * 100_000,)]


@pytest.mark.parametrize("transports", [["websocket"], ["polling"]])
def test_python_socketio_hears_that_it_is_kicked(chat, python_client, transports):
    client, heard, gone = python_client(), [], threading.Event()
    client.on("kicked", heard.append)
    client.on("disconnect", gone.set)
    client.connect("http://%s:%d" % chat.address, transports=transports, wait_timeout=10)
    assert client.call("auth", {"id": "python-kicked"})["success"]
    assert chat.api("POST", "/v1/kick", {"user": "python-kicked"}) == (200, {"kicked": 1})
    assert gone.wait(10)
    wait_until(lambda: heard == [{}], what="kicked")


def test_python_socketio_comes_back_to_a_node_that_died(spear, python_client):
    server = spear()
    client = python_client(reconnection_delay=0.05, reconnection_delay_max=0.1)
    connects = []
    client.on("connect", lambda: connects.append(client.sid))
    client.connect("http://%s:%d" % server.address, wait_timeout=10)
    server.die()
    server.come_back()
    wait_until(lambda: len(connects) == 2, what="the second connect")
    assert connects[0] != connects[1]
    assert client.call("echo", "again") == "again"


def test_python_socketio_over_tls_with_a_ca_of_ones_own(spear, python_client, tmp_path):
    ca, files = certificates(tmp_path)
    server = spear(tls=files)
    session = requests.Session()
    session.trust_env = False  # where a variable names another CA that comes first
    session.verify = str(ca)
    client = python_client(http_session=session)
    client.connect("https://%s:%d" % server.address, wait_timeout=10)
    wait_until(lambda: client.transport() == "websocket", what="the upgrade")
    assert client.call("echo", b"\1" * 70_000) == b"\1" * 70_000
    with pytest.raises(socketio.exceptions.ConnectionError):
        python_client().connect("https://%s:%d" % server.address, wait_timeout=10)


@pytest.mark.parametrize("release", [4, 3, 2])
def test_official_client(spear, tmp_path, release):
    node = needed("node", "it runs the official Socket.IO clients")
    modules = node_modules()
    ca, files = certificates(tmp_path)

    def url(place, scheme="http"):
        return scheme + "://%s:%d" % place
    settings = {"allow_eio3": True, "presence": True, "namespaces": ["/", "/custom"]}
    server, secure = spear(recovery={"enabled": True}, **settings), spear(tls=files, **settings)
    restless = spear(recovery={"enabled": True}, heartbeat={"interval": "500ms", "timeout": "2s"}, **settings)
    draining = spear(drain={"over": "300ms", "elsewhere": url(server.address)}, **settings)
    places = {"url": url(server.address), "admin": url(server.admin), "token": TOKEN, "restless": url(restless.address),
              "restlessAdmin": url(restless.admin), "secure": url(secure.address, "https"), "ca": str(ca),
              "draining": url(draining.address), "drainingAdmin": url(draining.admin), "elsewhere": url(server.address)}
    done = subprocess.run([node, pathlib.Path(__file__).with_name("official_clients.js"), str(release)],
                          env={**os.environ, "NODE_PATH": str(modules), "PLACES": json.dumps(places)}, capture_output=True, text=True,
                          timeout=300, check=False)
    assert done.returncode == 0 and f"{13 if release >= 4 else 11} passed, 0 failed" in done.stdout, done.stdout + done.stderr
    # What was drained has ended by itself.
    draining.process.wait(10)
