"""Users, groups, messages and rooms, and the push API that back-ends reach them by."""

import hashlib
import hmac
import json
import time

import pytest
from wire import Client, Polling, WebSocket, request

pytest_plugins = ["spear_node"]


@pytest.fixture
def two(chat):
    """Two users of groups and rooms of their own."""
    with Client(chat.address) as ann, Client(chat.address) as bob:
        ann.auth("ann")
        bob.auth("bob")
        yield ann, bob


def content(client):
    return client.event("msg")[1]["content"]


def result(code, words=None):
    def check(answer):
        assert (answer["success"], answer["errorCode"]) == (code == 0, code), answer
        assert words is None or words in answer["msg"], answer
        return answer
    return check


def test_a_message_reaches_a_user_with_all_that_gru_sends(two):
    ann, bob = two
    before = time.time() * 1000
    answer = result(0)(ann.call("msg", {"type": 0, "target": {"id": "bob", "type": 0}, "content": {"text": "h\u00e9", "n": [1]}})[0])
    got = bob.event("msg")[1]
    assert got == {"id": answer["data"]["id"], "createTime": answer["data"]["createTime"], "fromId": "ann", "msgType": 0,
                   "target": {"id": "bob", "type": 0}, "content": {"text": "h\u00e9", "n": [1]}}
    assert got["id"].isdecimal() and before - 1000 < got["createTime"] < before + 10_000


def test_the_argument_may_be_a_string_that_holds_json(two):
    ann, bob = two
    result(0)(ann.call("msg", json.dumps({"type": 0, "target": {"id": "bob", "type": 0}, "content": "hi"}))[0])
    assert content(bob) == "hi"


def test_answers_come_as_events_where_no_ack_is_asked_for(chat):
    with Client(chat.address) as client:
        client.emit("auth", json.dumps({"id": 7, "name": "Ann"}))
        assert client.event("auth_result")[1]["data"]["id"] == "7"
        client.emit("msg", {"type": 0, "target": {"id": "nobody"}, "content": 1})
        assert client.event("msg_result")[1]["success"]


def test_ids_increase_and_messages_keep_their_order(two):
    ann, bob = two
    for number in range(200):
        ann.emit("msg", {"type": 0, "target": {"id": "bob"}, "content": number})
    got = [bob.event("msg")[1] for _ in range(200)]
    assert [each["content"] for each in got] == list(range(200))
    ids = [int(each["id"]) for each in got]
    assert ids == sorted(set(ids))


def test_a_message_reaches_all_of_a_users_devices_or_one(chat):
    with Client(chat.address) as phone, Client(chat.address) as laptop, Client(chat.address) as other:
        phone.auth("multi", device="phone")
        laptop.auth("multi", device="laptop")
        other.auth("someone")
        other.call("msg", {"type": 0, "target": {"id": "multi"}, "content": "both"})
        other.call("msg", {"type": 0, "target": {"id": "multi", "device": "phone"}, "content": "phone"})
        other.call("msg", {"type": 0, "target": {"id": "multi"}, "content": "end"})
        assert [content(phone), content(phone), content(phone)] == ["both", "phone", "end"]
        assert [content(laptop), content(laptop)] == ["both", "end"]


def test_a_message_to_several_users(two):
    ann, bob = two
    result(0)(ann.call("msg", {"type": 2, "target": {"ids": ["ann", "bob"]}, "content": "many"})[0])
    assert (content(ann), content(bob)) == ("many", "many")


def test_a_group_is_joined_written_to_and_left(two):
    ann, bob = two
    assert ann.subscribe("club")["data"]["groups"] == ["club"]
    bob.subscribe("club", "other")
    assert ann.call("online", "club")[0]["data"] == {"groupId": "club", "userIds": ["ann", "bob"]}
    ann.call("msg", {"type": 1, "target": {"id": "club", "type": 1}, "content": "all"})
    assert (content(ann), content(bob)) == ("all", "all")
    assert bob.call("unsubscribe", {"groups": ["club"]})[0]["data"]["groups"] == ["other"]
    assert ann.call("online", {"groupId": "club"})[0]["data"]["userIds"] == ["ann"]
    assert ann.call("online", "nobody is here")[0]["data"]["userIds"] == []


def test_a_group_tells_of_the_first_and_the_last_client_of_a_user(chat):
    with Client(chat.address) as watcher:
        watcher.auth("watcher")
        watcher.subscribe("watched")
        with Client(chat.address) as first, Client(chat.address) as second:
            for client in (first, second):
                client.auth("guest")
                client.subscribe("watched")
            assert watcher.event("presence")[1] == {"groupId": "watched", "userId": "guest", "event": "join"}
        assert watcher.event("presence")[1] == {"groupId": "watched", "userId": "guest", "event": "leave"}
        chat.push(to={"group": "watched"}, content="end")
        watcher.event("msg")
        assert not [text for text in watcher.waiting if "presence" in text]


@pytest.mark.parametrize("event, code, words", [
    (["auth", {}], 1002, "id is missing"), (["auth", "x"], 1003, "an object"), (["auth"], 1003, "an object"),
    (["msg", {"target": {"id": "a"}, "content": 1}], 1002, "auth comes first"),
    (["subscribe", {"subscribeGroups": []}], 1002, "auth comes first"),
    (["online", {}], 1003, "missing"), (["online"], 1003, "missing"), (["join"], 1003, "missing"),
    (["emit", "a", "b"], 1002, "join the room first"), (["emit"], 1003, "wanted"), (["unheard of"], 1003, "no such event"),
])
def test_wrong_requests_are_answered_with_the_codes_of_gru(chat, event, code, words):
    with Client(chat.address) as client:
        result(code, words)(client.call(*event)[0])


@pytest.mark.parametrize("message", [{}, {"target": {}}, {"target": {"id": "a"}}, {"target": "a", "content": 1},
                                     {"type": 9, "target": {"id": "a"}, "content": 1}, {"type": 2, "target": {"id": "a"}, "content": 1},
                                     {"target": {"id": ""}, "content": 1}, {"target": {"id": "x" * 300}, "content": 1}])
def test_wrong_messages_are_refused(two, message):
    result(1003)(two[0].call("msg", message)[0])


def test_one_connection_is_one_user(two):
    ann, _ = two
    result(0)(ann.call("auth", {"id": "ann"})[0])
    result(1002, "another user")(ann.call("auth", {"id": "bob"})[0])
    result(1002, "another user")(ann.call("subscribe", {"userId": "bob", "subscribeGroups": []})[0])


def test_auth_may_come_with_the_connect(chat):
    with Client(chat.address, auth={"id": "early", "device": "tv"}) as client:
        assert chat.push(to={"user": "early", "device": "tv"}, content="hi")["delivered"] == 1
        assert content(client) == "hi"


def test_rooms_reach_all_others_in_them_with_attachments(chat):
    with Client(chat.address) as one, Client(chat.address) as two_, Client(chat.address) as out, Client(chat.address, "/other") as there:
        for client in (one, two_, there):
            result(0)(client.call("join", "room")[0])
        one.ack += 1
        one.send(f'451-{one.ack}["emit","room","picture",{{"_placeholder":true,"num":0}},7]')
        one.send(b"\1\2\3")
        assert one.packet().startswith("43")
        assert two_.packet() == '451-["picture",{"_placeholder":true,"num":0},7]'
        assert two_.packet() == b"\1\2\3"
        result(0)(two_.call("leave", "room")[0])
        one.call("emit", "room", "late")
        assert chat.push(to={"all": True}, event="end", arguments=[])["delivered"] >= 3
        for client in (one, two_, out):
            assert client.event()[0] == "end"
        assert chat.push(to={"room": "room", "namespace": "/other"}, event="there", arguments=[1])["delivered"] == 1
        assert there.event()[:2] == ["there", 1]


def test_echo_gives_back_its_arguments(chat):
    with Client(chat.address) as client:
        assert client.call("echo", 1, {"a": [None]}, "x") == [1, {"a": [None]}, "x"]
        assert client.call("echo") == []


def test_a_push_tells_how_many_got_it(two, chat):
    ann, bob = two
    ann.subscribe("counted")
    bob.subscribe("counted")
    answer = chat.push(to={"group": "counted"}, content="hi", **{"from": "shop"})
    assert answer["delivered"] == 2
    got = bob.event("msg")[1]
    assert (got["id"], got["fromId"], got["msgType"], got["content"]) == (answer["id"], "shop", 1, "hi")
    assert chat.push(to={"user": "nobody"}, content="hi")["delivered"] == 0
    assert chat.push(to={"socket": bob.sid}, event="custom", arguments=[1, {"a": 2}])["delivered"] == 1
    assert bob.event("custom")[:3] == ["custom", 1, {"a": 2}]


def test_a_batch_is_pushed_in_order(two, chat):
    _, bob = two
    status, answer = chat.api("POST", "/v1/push", {"batch": [{"to": {"user": "bob"}, "content": i} for i in range(50)] + [{"to": {}}]})
    assert status == 200
    assert [each.get("delivered") for each in answer["results"]] == [1] * 50 + [None]
    assert answer["results"][50]["error"]["code"] == "bad-target"
    assert [content(bob) for _ in range(50)] == list(range(50))


def test_a_push_waits_for_acks(two, chat):
    ann, bob = two
    ann.subscribe("asked")
    bob.subscribe("asked")
    import threading
    answers = []
    thread = threading.Thread(target=lambda: answers.append(
        chat.push(to={"group": "asked"}, event="question", arguments=["?"], ack="5s")))
    thread.start()
    for client, word in ((ann, "yes"), (bob, "no")):
        assert client.event("question")[1] == "?"
        client.send(f"43{client.last_ack}" + json.dumps([word]))
    thread.join()
    assert (answers[0]["delivered"], answers[0]["acknowledged"]) == (2, 2)
    assert sorted(answers[0]["answers"]) == [["no"], ["yes"]]
    late = chat.push(to={"user": "bob"}, event="question", arguments=[], ack="100ms")
    assert (late["delivered"], late["acknowledged"]) == (1, 0)


@pytest.mark.parametrize("order", [{}, {"to": {"user": "a"}}, {"to": {"user": "a", "group": "b"}, "content": 1}, {"to": "all", "content": 1},
                                   {"to": {"user": "a"}, "content": 1, "event": 5}, {"to": {"group": "a", "device": "b"}, "content": 1},
                                   {"to": {"room": "a", "namespace": "/none"}, "content": 1}, {"to": {"user": "a"}, "content": 1, "ack": "1h"},
                                   {"batch": []}, {"batch": {}}, [], "x"])
def test_wrong_orders_are_refused(chat, order):
    status, answer = chat.api("POST", "/v1/push", order)
    assert status == 400 and answer["error"]["code"] and answer["error"]["message"]


def test_the_api_wants_its_token(chat, spear):
    assert chat.api("POST", "/v1/push", {}, token="wrong")[0] == 401
    assert request(chat.admin, "POST", "/v1/push", "{}")[0] == 401
    assert request(chat.admin, "GET", "/health")[0] == 200
    bare = spear(environment={"MUSTER_PUSH_ADMIN_TOKEN": ""})
    assert bare.api("POST", "/v1/push", {}, token="")[0] == 403
    assert chat.api("GET", "/v1/none")[0] == 404
    assert request(chat.admin, "GET", "/none")[0] == 404


def test_who_is_online_can_be_asked(two, chat):
    ann, bob = two
    ann.subscribe("asked about")
    assert chat.api("GET", "/v1/online?group=asked%20about") == (200, {"clients": 1, "users": ["ann"]})
    status, answer = chat.api("GET", "/v1/online?user=bob")
    assert (status, answer) == (200, {"clients": 1, "sockets": [{"socket": bob.sid, "device": ""}]})
    assert chat.api("GET", "/v1/online")[0] == 400


def test_a_user_is_kicked_out_of_a_group_or_altogether(two, chat):
    ann, bob = two
    ann.subscribe("strict")
    bob.subscribe("strict")
    assert chat.api("POST", "/v1/kick", {"user": "bob", "from_group": "strict"}) == (200, {"kicked": 1})
    assert bob.event("kicked")[1] == {"groupId": "strict"}
    assert ann.call("online", "strict")[0]["data"]["userIds"] == ["ann"]
    assert chat.api("POST", "/v1/kick", {"user": "bob"}) == (200, {"kicked": 1})
    assert bob.event("kicked")[1] == {}
    bob.expect_gone()
    assert chat.api("POST", "/v1/kick", {"user": "bob"}) == (200, {"kicked": 0})
    assert chat.api("POST", "/v1/kick", {})[0] == 400


def test_messages_reach_a_polling_client_too(chat):
    polling = Polling(chat.address)
    polling.post('40{"id":"poller"}')
    assert polling.get()[1].startswith("40{")
    pending = polling.begin_get()
    assert chat.push(to={"user": "poller"}, event="hi", arguments=[1])["delivered"] == 1
    assert pending.getresponse().read().startswith(b'42["hi",1')
    pending.close()
    for word in ("a", "b"):
        chat.push(to={"user": "poller"}, event=word, arguments=[])
    status, text = polling.get()
    assert (status, [each[:6] for each in text.split("\x1e")]) == (200, ['42["a"', '42["b"'])


def test_signed_tokens(spear):
    server = spear(environment={"MUSTER_PUSH_AUTH_SECRET": "s3cret"}, auth={"mode": "signed", "required": True})

    def token(user, expiry):
        return f"{expiry}." + hmac.new(b"s3cret", f"{user}\nweb\n{expiry}".encode(), hashlib.sha256).hexdigest()

    later = int(time.time()) + 100
    with Client(server.address) as client:
        result(1002, "auth comes first")(client.call("echo", 1)[0])
        client.auth("ann", appType="web", token=token("ann", later))
        assert client.call("echo", 1) == [1]
    with Client(server.address) as client:
        result(1002, "bad token")(client.call("auth", {"id": "bob", "appType": "web", "token": token("ann", later)})[0])
        client.expect_gone()
    with Client(server.address) as client:
        result(1002, "expired")(client.call("auth", {"id": "ann", "appType": "web", "token": token("ann", 5)})[0])
    with WebSocket(server.address, "/socket.io/?EIO=4&transport=websocket") as ws:
        ws.receive()
        ws.send('40{"id":"ann","token":"1.2"}')
        assert ws.receive() == '44{"message":"bad token"}'


def test_the_tokens_of_gru(spear, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).write_text(f"salt-{name}\n")
    server = spear(auth={"mode": "md5", "secret_file": str(tmp_path / "one"), "secret_2_file": str(tmp_path / "two")})

    def md5(*parts):
        return hashlib.md5("_".join(parts).encode()).hexdigest()

    first = md5("7", "Ann", "web", "salt-one")
    with Client(server.address) as client:
        client.auth(7, name="Ann", appType="web", token1=first, token2=md5("7", "Ann", "web", first, "salt-two"))
    with Client(server.address) as client:
        result(1002)(client.call("auth", {"id": 8, "name": "Ann", "appType": "web", "token1": first, "token2": "x"})[0])
        client.expect_gone()
