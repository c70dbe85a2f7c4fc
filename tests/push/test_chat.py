"""examples/chat in a real browser: two windows, and a back-end that says something to both.

MUSTER_SCREENSHOTS names a folder that a picture of both is written to, as docs/push/chat.png is."""

import base64
import functools
import http.server
import os
import pathlib
import shutil
import threading
import urllib.parse

import pytest
from real_clients import Browser, needed, node_modules
from wire import TOP

pytest_plugins = ["spear_node"]


@pytest.fixture
def site(tmp_path):
    """Serves the example as its page says it is to be: with the client's file beside it."""
    needed("chromium", "apt-get install chromium")
    folder = tmp_path / "chat"
    shutil.copytree(TOP / "examples/chat", folder)
    shutil.copy(node_modules() / "socket.io-client/dist/socket.io.min.js", folder)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    handler.func.log_message = lambda *_: None
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def side_by_side(browser, pages):
    """One picture of several windows."""
    images = "".join(f"<img style='border: 1px solid #bbb; margin: 4px' src='data:image/png;base64,{base64.b64encode(page.picture()).decode()}'>"
                     for page in pages)
    page = browser.open()
    page.size(820, 570)
    tree = page.do("Page.getFrameTree")
    page.do("Page.setDocumentContent", frameId=tree["frameTree"]["frame"]["id"],
            html=f"<body style='margin: 0; white-space: nowrap'>{images}")
    page.value("Promise.all([...document.images].map(each => each.decode())).then(() => true)")
    return page.picture()


def test_two_windows_exchange_messages(chat, site, tmp_path):
    def url(name):
        return site + "?" + urllib.parse.urlencode({"server": "http://%s:%d" % chat.address, "name": name, "group": "tea"})

    with Browser(tmp_path) as browser:
        ann = browser.open(url("ann"))
        ann.wait_for("#state", "ann in tea, with 1 online")
        bob = browser.open(url("bob"))
        bob.wait_for("#state", "bob in tea, with 2 online")
        ann.wait_for("#lines", "bob came")
        ann.wait_for("#state", "with 2 online")
        ann.size(400, 560), bob.size(400, 560)
        ann.type("#text", "Hello Bob, h\u00e9 <b>you</b>!")
        for each in (ann, bob):
            each.wait_for("#lines", "ann: Hello Bob, h\u00e9 <b>you</b>!")
        bob.type("#text", "Hello Ann.")
        for each in (ann, bob):
            each.wait_for("#lines", "bob: Hello Ann.")
        assert chat.push(to={"group": "tea"}, content="Tea is ready")["delivered"] == 2
        for each in (ann, bob):
            each.wait_for("#lines", "server: Tea is ready")
            assert each.value("socket.io.engine.transport.name") == "websocket"
        picture = side_by_side(browser, (ann, bob))
        assert picture.startswith(b"\x89PNG") and len(picture) > 5000
        folder = os.environ.get("MUSTER_SCREENSHOTS")
        if folder:
            (pathlib.Path(folder) / "chat.png").write_bytes(picture)
        ann.do("Page.close")
        bob.wait_for("#lines", "ann left")
        bob.wait_for("#state", "with 1 online")
