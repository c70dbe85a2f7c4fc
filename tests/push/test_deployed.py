"""examples/push-single.yaml as it stands: muster brings the node up, sees to its health, and lets it drain when it ends."""

import hashlib
import hmac
import json
import pathlib
import shutil
import sys
import threading
import time

import pytest
import yaml
from wire import PROGRAM, TOP, Client, request, wait_until

sys.path.insert(0, str(TOP / "tests/integration"))

from conftest import Muster  # noqa: E402

TOKEN = "the-token-of-the-example"
SECRET = "the-secret-of-the-example"
CLUSTER = "push@rehearsal"


@pytest.fixture
def deployed():
    muster = Muster()
    try:
        # The example names the built program relative to itself.
        (muster.folder / "examples").mkdir()
        (muster.folder / "build").mkdir()
        file = pathlib.Path(shutil.copy(TOP / "examples/push-single.yaml", muster.folder / "examples"))
        shutil.copy(PROGRAM, muster.folder / "build")
        muster.run("secret", "set", "api_token", "--rehearse", "--file", file, input=TOKEN)
        muster.run("secret", "set", "auth_secret", "--rehearse", "--file", file, input=SECRET)
        muster.run("up", file, "--rehearse")
        yield muster
    finally:
        muster.close()


def places(muster):
    """The addresses of clients and of back-ends."""
    one = muster.instances(CLUSTER)["spear-1"]
    return (one["address"], one["ports"]["clients"]), (one["address"], one["ports"]["admin"])


def token(user):
    """As back-ends sign it."""
    expiry = int(time.time()) + 100
    return f"{expiry}." + hmac.new(SECRET.encode(), f"{user}\n\n{expiry}".encode(), hashlib.sha256).hexdigest()


def push(admin, order):
    status, _, answer = request(admin, "POST", "/v1/push", json.dumps(order), {"Authorization": f"Bearer {TOKEN}"})
    return status, json.loads(answer)


def test_a_message_goes_through_the_node_that_muster_brought_up(deployed):
    clients, admin = places(deployed)
    assert deployed.status(CLUSTER)["health"] == "green"
    assert deployed.json("verify", "--cluster", CLUSTER)["passed"]
    with Client(clients) as ann, Client(clients) as bob:
        ann.auth("ann", token=token("ann"))
        bob.auth("bob", token=token("bob"))
        assert ann.call("msg", {"type": 0, "target": {"id": "bob"}, "content": "hello"})[0]["success"]
        assert bob.event("msg")[1]["content"] == "hello"
        assert push(admin, {"to": {"user": "ann"}, "content": "from the back-end"})[1]["delivered"] == 1
        assert ann.event("msg")[1]["content"] == "from the back-end"
    with Client(clients) as liar:
        assert not liar.call("echo", 1)[0]["success"]
        assert not liar.call("auth", {"id": "ann"})[0]["success"]
        liar.expect_gone()


def test_the_example_has_files_for_its_clients_and_no_secret():
    text = (TOP / "examples/push-single.yaml").read_text()
    spear = yaml.safe_load(text)["services"]["spear"]
    assert spear["limits"]["open_files"] >= 2 * 100_000 + 64
    settings = yaml.safe_load(spear["files"]["conf/spear.yaml"]["content"])
    assert settings["auth"]["mode"] == "signed"
    assert {spear["files"][path]["content"] for path in (settings["auth"]["secret_file"], settings["admin"]["token_file"])} == {
        "{{secret.auth_secret}}", "{{secret.api_token}}"}


def test_a_node_that_muster_stops_drains_and_comes_back(deployed):
    with Client(places(deployed)[0]) as ann:
        stop = threading.Thread(target=deployed.run, args=("stop", "spear", "--cluster", CLUSTER))
        stop.start()
        try:
            assert ann.event("drain")[1]["withinMs"] == 5000
            ann.expect_gone()
        finally:
            stop.join()
    assert deployed.state(CLUSTER, "spear-1") == "stopped"
    assert '"event":"ended"' in deployed.run("logs", "spear-1", "--cluster", CLUSTER).stdout  # by itself, and not killed
    deployed.run("start", "spear", "--cluster", CLUSTER)
    wait_until(lambda: deployed.state(CLUSTER, "spear-1") == "ready", what="the node to be ready again")
    with Client(places(deployed)[0], auth={"id": "ann", "token": token("ann")}) as ann:
        assert ann.call("echo", 1) == [1]
