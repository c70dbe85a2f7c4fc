"""The official clients of Socket.IO 4, 3 and 2, and a browser for them. Neither is part of this project, nor of what CI installs."""

import base64
import fcntl
import http.client
import json
import os
import pathlib
import shutil
import signal
import subprocess

import pytest
import websocket
from wire import wait_until

CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "muster/socket.io-clients"
PACKAGES = {"socket.io-client": "socket.io-client@4", "socket.io-client-3": "socket.io-client-3@npm:socket.io-client@3",
            "socket.io-client-2": "socket.io-client-2@npm:socket.io-client@2"}


def needed(program, why):
    """The program's path. Where it isn't there the test is skipped, or fails where all tests were asked for."""
    found = shutil.which(program)
    if not found:
        text = f"{program} is not installed: {why}"
        pytest.fail(text) if os.environ.get("MUSTER_TEST_ALL") else pytest.skip(text)
    return found


def node_modules():
    """The folder of the clients, fetched with npm once."""
    npm = needed("npm", "it fetches the official Socket.IO clients")
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run beside each other
        if not all((CACHE / "node_modules" / name).exists() for name in PACKAGES):
            (CACHE / "package.json").write_text("{}")
            subprocess.run([npm, "install", "--silent", "--no-audit", "--no-fund", *PACKAGES.values()], cwd=CACHE, check=True, timeout=300)
    return CACHE / "node_modules"


class Page:
    """One window, spoken to in the DevTools protocol."""

    def __init__(self, place, target):
        self.number = 0
        # A browser refuses pages of others to speak to it, and takes who says no origin for none of them.
        self.socket = websocket.create_connection(f"ws://{place}/devtools/page/{target}", timeout=30, suppress_origin=True)

    def do(self, method, **params):
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": params}))
        while True:
            answer = json.loads(self.socket.recv())
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return answer["result"]

    def value(self, expression):
        result = self.do("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def text(self, selector):
        # The element isn't there before the page is.
        return self.value(f"document.querySelector({json.dumps(selector)})?.innerText || ''")

    def wait_for(self, selector, wanted):
        return wait_until(lambda: wanted in self.text(selector), seconds=30, what=f"{wanted!r} in {selector}")

    def type(self, selector, text):
        """As fingers do, with Enter at the end."""
        self.do("Page.bringToFront")
        self.value(f"document.querySelector({json.dumps(selector)}).focus()")
        self.do("Input.insertText", text=text)
        for kind in ("keyDown", "keyUp"):
            self.do("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13,
                    **({"text": "\r"} if kind == "keyDown" else {}))

    def size(self, width, height):
        self.do("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def picture(self):
        self.do("Page.bringToFront")  # what is behind isn't drawn
        return base64.b64decode(self.do("Page.captureScreenshot", format="png")["data"])


class Browser:
    """A Chromium without a screen, with nothing of its user's."""

    def __init__(self, folder):
        program = needed("chromium", "apt-get install chromium")
        self.profile = folder / "profile"
        self.log = open(folder / "chromium.log", "wb")
        self.process = subprocess.Popen(
            [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
             f"--user-data-dir={self.profile}", "--remote-debugging-port=0", "about:blank"],
            stdout=self.log, stderr=self.log, env={**os.environ, "HOME": str(folder)}, start_new_session=True)
        self.pages = []

    def place(self):
        file = self.profile / "DevToolsActivePort"

        def port():
            assert self.process.poll() is None, "chromium ended"
            return file.exists() and "\n" in file.read_text() and file.read_text().split("\n")[0]

        return "127.0.0.1:" + wait_until(port, seconds=60, what="chromium to listen")

    def open(self, url=None):
        connection = http.client.HTTPConnection(self.place(), timeout=60)
        connection.request("PUT", "/json/new?about:blank")
        target = json.loads(connection.getresponse().read())
        connection.close()
        page = Page(self.place(), target["id"])
        self.pages.append(page)
        if url:
            page.do("Page.navigate", url=url)
        return page

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for page in self.pages:
            page.socket.close()
        # All of its processes are in the session that was begun for it.
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.log.close()
