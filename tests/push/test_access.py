"""Who may do what: clients that have to say who they are, and groups that not everybody may join."""

import contextlib
import hashlib
import hmac
import json
import time

from wire import Client, Polling, wait_until

pytest_plugins = ["spear_node"]

SECRET = "s3cret"
REQUIRED = {"required": True, "timeout": "20s"}


def signed(*lines, expiry=None):
    expiry = expiry or int(time.time()) + 100
    text = "\n".join([*lines, str(expiry)])
    return f"{expiry}." + hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).hexdigest()


def claim(user):
    return {"id": user, "token": signed(user, "")}


def token_of(group, user, expiry=None):
    return signed("group", group, user, expiry=expiry)


def refused(answer, words):
    assert not answer["success"] and words in answer["msg"], answer


def test_who_has_to_authenticate_first_is_in_nothing_and_gets_nothing_until_then(spear):
    server = spear(auth=REQUIRED, recovery={"enabled": True})
    with Client(server.address) as client:
        for event in (["subscribe", {"subscribeGroups": [{"id": "g"}]}], ["join", "room"], ["emit", "room", "x"], ["echo", 1],
                      ["online", "g"], ["msg", {"type": 0, "target": {"id": "ann"}, "content": 1}]):
            refused(client.call(*event)[0], "auth comes first")
        for to in ({"all": True}, {"socket": client.sid}, {"group": "g"}, {"room": "room"}):
            assert server.push(to=to, event="early", arguments=[])["delivered"] == 0
        client.auth("ann")
        assert server.push(to={"all": True}, event="news", arguments=[])["delivered"] == 1
        assert client.event()[0] == "news"
    assert not client.waiting


def test_who_does_not_authenticate_in_time_is_put_out(spear):
    server = spear(auth={"required": True, "timeout": "300ms"}, namespaces=["/", "/other"])
    with Client(server.address, auth={"id": "ann"}) as known:
        with Client(server.address) as silent, Client(server.address, "/other", auth={"id": "bob"}) as half:
            half.send("40")
            assert silent.packet() == "41"
            silent.expect_gone()
            half.expect_gone()
        polling = Polling(server.address)
        polling.post("40")
        texts = []
        with contextlib.suppress(AssertionError, json.JSONDecodeError, IndexError):
            while True:
                status, text = polling.get()
                if status != 200:
                    break
                texts.append(text)
        assert any("41" in text.split("\x1e") for text in texts)
        assert server.state()["clients_unauthenticated_total"] == 3
        wait_until(lambda: server.log().count("client closed limit=auth.timeout address=127.0.0.1") == 3)
        assert known.call("echo", 1) == [1]


def test_who_never_authenticated_does_not_come_back_to_what_it_was_kept_from(spear):
    server = spear(auth=REQUIRED, recovery={"enabled": True}, shards=1)
    with Client(server.address, auth={"id": "ann"}) as ann:
        with Client(server.address) as stranger:
            pid = stranger.connected["pid"]
        wait_until(lambda: server.state()["sockets"] == 1)
        server.push(to={"all": True}, event="one", arguments=[])
        offset = ann.event("one")[-1]
        server.push(to={"all": True}, event="two", arguments=[])
        assert server.state()["recovery_saved"] == 0
        with Client(server.address, auth={"pid": pid, "offset": offset}) as back:
            assert back.sid != stranger.sid
            refused(back.call("echo", 1)[0], "auth comes first")
            assert not back.waiting


def test_any_user_uses_any_group_where_groups_are_open_but_has_to_be_one_to_ask_who_is_there(spear):
    server = spear(auth={"mode": "signed"}, environment={"MUSTER_PUSH_AUTH_SECRET": SECRET})
    with Client(server.address) as stranger, Client(server.address, auth=claim("ann")) as ann:
        refused(stranger.call("online", "club")[0], "auth comes first")
        assert ann.call("online", "club")[0]["data"]["userIds"] == []
        assert ann.call("msg", {"type": 1, "target": {"id": "club"}, "content": 1})[0]["success"]


def test_a_group_that_is_not_open_is_for_who_shows_its_token(spear):
    server = spear(auth={"mode": "signed"}, groups={"open": False}, environment={"MUSTER_PUSH_AUTH_SECRET": SECRET})
    with Client(server.address, auth=claim("ann")) as ann, Client(server.address, auth=claim("bob")) as bob:
        def join(client, group, token=None):
            return client.call("subscribe", {"subscribeGroups": [{"id": "free", "token": token_of("free", "ann")}, {"id": group, "token": token}]})[0]
        for token, words in ((None, "bad token"), ("", "bad token"), (claim("ann")["token"], "bad token"),
                             (token_of("club", "bob"), "bad token"), (token_of("other", "ann"), "bad token"),
                             (token_of("club", "ann", expiry=5), "expired")):
            refused(join(ann, "club", token), words)
        refused(ann.call("subscribe", {"subscribeGroups": ["club"]})[0], "bad token: club")
        assert ann.call("unsubscribe", {"groups": []})[0]["data"]["groups"] == []  # of several none was joined
        assert join(ann, "club", token_of("club", "ann"))["success"]
        for event in (["online", "club"], ["msg", {"type": 1, "target": {"id": "club"}, "content": "forged"}]):
            refused(bob.call(*event)[0], "join the group first")
        assert ann.call("online", "club")[0]["data"]["userIds"] == ["ann"]
        assert bob.call("msg", {"type": 0, "target": {"id": "ann"}, "content": "to a user"})[0]["success"]
        assert ann.call("msg", {"type": 1, "target": {"id": "club"}, "content": "hi"})[0]["success"]
        assert server.push(to={"group": "club"}, content="from a back-end")["delivered"] == 1
        assert [ann.event("msg")[1]["content"] for _ in range(3)] == ["to a user", "hi", "from a back-end"]
