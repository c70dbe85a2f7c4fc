"""Real clients: python3-socketio, over both transports and with the upgrade between them."""

import threading

import pytest

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
