"""Users, groups, messages and rooms, and the push API that back-ends reach them by."""

import contextlib
import hashlib
import hmac
import json
import threading
import time

import pytest
from spear_node import TOKEN
from wire import Client, Polling, WebSocket, connect, read_response, request, wait_until

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
    (["auth", {}], 1002, "id is missing"), (["auth", {"id": "a", "name": "x" * 300}], 1002, "too long"),
    (["auth", "x"], 1003, "an object"), (["auth"], 1003, "an object"),
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


def test_attachments_go_with_a_message(two):
    ann, bob = two
    place = '{"_placeholder":true,"num":0}'
    for target, type_ in (('{"id":"bob"}', 0), ('{"ids":["bob"]}', 2)):
        ann.ack += 1
        ann.send(f'451-{ann.ack}["msg",{{"type":{type_},"target":{target},"content":{{"picture":{place}}}}}]')
        ann.send(b"\1\2\3")
        assert ann.packet().startswith("43")
        text = bob.packet()
        assert text.startswith('451-["msg",{') and f'"content":{{"picture":{place}}}' in text
        assert bob.packet() == b"\1\2\3"
    # Without: what stands in a text is none.
    ann.ack += 1
    ann.send(f'451-{ann.ack}["msg",{json.dumps(json.dumps({"type": 0, "target": {"id": "bob"}, "content": {"_placeholder": True, "num": 7}}))}]')
    ann.send(b"\1\2\3")
    assert bob.event("msg")[1]["content"] == {"_placeholder": True, "num": 7}
    ann.call("msg", {"type": 0, "target": {"id": "bob"}, "content": "none"})
    assert content(bob) == "none"


@pytest.mark.parametrize("target, inner", [('{"id":"bob"}', '{"_placeholder":true,"num":7}'),
                                           ('{"id":"bob","in":{"_placeholder":true,"num":7}}', '"none"')])
def test_what_is_taken_out_of_a_place_holds_none_of_an_attachment_that_there_is_not(two, target, inner):
    ann, bob = two  # nobody looks into a place; bob's client would end upon what it finds in the message
    ann.send(f'451-7["msg",{{"_placeholder":true,"num":0,"type":0,"target":{target},"content":{inner}}}]')
    ann.send(b"\1")
    answer = ann.packet()
    assert answer.startswith("437") and json.loads(answer[3:])[0]["errorCode"] == 1003, answer
    ann.call("msg", {"type": 0, "target": {"id": "bob"}, "content": "none"})
    assert content(bob) == "none"


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


@pytest.mark.parametrize("name", ["msg", "presence", "kicked", "drain", "auth_result", "msg_result", "connect", "disconnect",
                                  "connect_error"])
def test_no_client_says_in_a_room_what_spear_alone_may_say(chat, name):
    with Client(chat.address) as one, Client(chat.address) as other:
        for client in (one, other):
            client.call("join", "forged")
        result(1003, "may not")(one.call("emit", "forged", name, {"fromId": "boss"})[0])
        result(0)(one.call("emit", "forged", "quiz_result", 1)[0])
        assert other.event()[:2] == ["quiz_result", 1]


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


def test_a_push_and_a_kick_find_the_one_socket_that_is_meant(spear):
    server = spear(shards=2, namespaces=["/", "/other"])
    clients = [Client(server.address) for _ in range(150)]  # more than fit the index at first
    both = clients[70]
    both.send("40/other,")
    answer = both.packet()
    other = json.loads(answer[len("40/other,"):])["sid"]
    for number in (0, 70, 149):
        assert server.push(to={"socket": clients[number].sid}, event="you", arguments=[number])["delivered"] == 1
        assert clients[number].event("you")[1] == number
    assert server.push(to={"socket": other}, event="you", arguments=[])["delivered"] == 1
    assert both.packet() == '42/other,["you"]'
    sid = clients[3].sid
    for wrong in [sid[:-1], sid + "A", ("B" if sid[0] == "A" else "A") + sid[1:], "?" * 20]:
        assert server.push(to={"socket": wrong}, event="you", arguments=[])["delivered"] == 0
    assert server.api("POST", "/v1/kick", {"socket": sid}) == (200, {"kicked": 1})
    clients[3].expect_gone()
    assert server.push(to={"socket": sid}, event="you", arguments=[])["delivered"] == 0
    assert clients[4].call("echo", 1) == [1]
    for client in clients:
        client.sock.close()


def test_who_is_kicked_leaves_all_namespaces_of_the_connection_and_does_not_come_back(spear):
    server = spear(shards=1, namespaces=["/", "/other"], recovery={"enabled": True})
    with Client(server.address) as client:
        client.auth("ann")
        client.send("40/other," + json.dumps({"id": "ann"}))
        while not client.packet().startswith("40/other,"):
            pass
        wait_until(lambda: server.api("GET", "/v1/online?user=ann")[1]["clients"] == 2)
        assert server.api("POST", "/v1/kick", {"user": "ann"}) == (200, {"kicked": 2})
        client.expect_gone()
    wait_until(lambda: server.state()["sockets"] == 0)
    assert server.state()["recovery_saved"] == 0


@pytest.mark.parametrize("waiting", [True, False], ids=["while a GET waits", "between two GETs"])
def test_who_is_kicked_over_polling_hears_of_it_before_the_connection_ends(spear, waiting):
    server = spear(shards=1)
    polling = Polling(server.address)
    polling.post('40{"id": "ann"}')
    assert polling.get()[1].startswith("40{")
    get = polling.begin_get() if waiting else None
    # Once a POST that came behind it is answered the GET has been seen, too.
    wait_until(lambda: polling.post('42["leave","none"]') == (200, "ok"))
    assert server.api("POST", "/v1/kick", {"user": "ann"}) == (200, {"kicked": 1})
    first = get.getresponse().read().decode() if waiting else None
    # What is still on its way to the server is taken for nothing, and costs nobody the last words.
    assert polling.post('42["leave","none"]') == (200, "ok")
    # The official client closes at "1" before it looks at what came in the same answer, which it drops then.
    assert (first or polling.get()[1]) == '42["kicked",{}]\x1e41'
    assert polling.get() == (200, "1")
    assert polling.get()[0] == 400
    assert server.state()["sessions_polling"] == 0
    if get:
        get.close()


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


def test_the_bytes_of_an_ack_come_as_base64(two, chat):
    ann, _ = two
    answers = []
    thread = threading.Thread(target=lambda: answers.append(chat.push(to={"user": "ann"}, event="file?", arguments=[], ack="10s")))
    thread.start()
    ann.event("file?")
    ann.send(f'462-{ann.last_ack}["two",{{"a":{{"_placeholder":true,"num":1}}}},{{"_placeholder":true,"num":0}}]')
    ann.send(b"\x00\xff")
    ann.send(b"hi")
    thread.join()
    assert answers[0]["answers"] == [["two", {"a": {"base64": "aGk="}}, {"base64": "AP8="}]]


def test_an_ack_counts_once_and_only_of_who_was_asked(two, chat):
    ann, bob = two
    ann.subscribe("asked once")
    bob.subscribe("asked once")
    answers = []
    thread = threading.Thread(target=lambda: answers.append(
        chat.push(to={"group": "asked once"}, event="question", arguments=[], ack="10s")))
    with Client(chat.address) as stranger:
        thread.start()
        ann.event("question")
        bob.event("question")
        shards = {ann.last_ack, bob.last_ack}  # each counts its own
        for client in (stranger, ann, ann, ann):
            for number in shards:
                client.send(f'43{number}["{"stranger" if client is stranger else "ann"}"]')
        for client in (stranger, ann):
            assert client.call("echo", 1) == [1]  # by then those were read
        bob.send(f'43{bob.last_ack}["bob"]')
        thread.join()
    assert (answers[0]["delivered"], answers[0]["acknowledged"]) == (2, 2)
    assert sorted(answers[0]["answers"]) == [["ann"], ["bob"]]


def test_answers_to_a_push_hold_so_many_bytes_and_the_others_are_counted(spear):
    server = spear(admin={"listen": ["127.0.0.1:0"], "answer_bytes": "4k"})
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(server.address)) for _ in range(6)]
        answers = []
        thread = threading.Thread(target=lambda: answers.append(server.push(to={"all": True}, event="question", arguments=[], ack="10s")))
        thread.start()
        for client in clients:
            client.event("question")
            client.send(f"43{client.last_ack}" + json.dumps(["x" * 1500]))
        thread.join()
    assert (answers[0]["delivered"], answers[0]["acknowledged"], answers[0]["answersLeftOut"]) == (6, 6, 4)
    assert answers[0]["answers"] == [["x" * 1500]] * 2
    assert server.state()["answers_left_out_total"] == 4


def test_a_message_to_many_users_is_kept_once_and_reaches_who_was_away(spear):
    server = spear(shards=1, recovery={"enabled": True, "bytes": "1m"})
    ids = ["away", *(f"user {number}" for number in range(100)), "away", "ann", "ann"]
    with Client(server.address, auth={"id": "ann"}) as ann, Client(server.address, auth={"id": "awa"}) as other:
        with Client(server.address, auth={"id": "away"}) as away:
            server.push(to={"all": True}, event="one", arguments=[])
            offset = away.event("one")[-1]
        wait_until(lambda: server.state()["recovery_saved"] == 1)
        assert ann.call("msg", {"type": 2, "target": {"ids": ids}, "content": "x" * 50_000})[0]["success"]
        with Client(server.address, auth={"pid": away.connected["pid"], "offset": offset}) as back:
            assert back.sid == away.sid
            assert back.event()[1]["content"] == "x" * 50_000
            server.push(to={"all": True}, event="end", arguments=[])
            assert [back.event()[0], ann.event("msg")[0], ann.event("end")[0]] == ["end", "msg", "end"]
            assert [other.event()[0], other.event()[0]] == ["one", "end"]
            assert not [text for text in ann.waiting if '"msg"' in text]


def test_a_push_carries_bytes(two, chat):
    ann, _ = two
    arguments = [{"base64": "AAH/"}, {"base64": "aGk=", "b": 1}]
    assert chat.push(to={"user": "ann"}, event="file", arguments=arguments, binary=True)["delivered"] == 1
    assert ann.packet().startswith('451-["file",{"_placeholder":true,"num":0}, {"base64": "aGk=", "b": 1}]')
    assert ann.packet() == b"\x00\x01\xff"
    assert chat.push(to={"user": "ann"}, event="file", arguments=arguments)["delivered"] == 1
    assert ann.event("file")[1:3] == arguments
    assert chat.api("POST", "/v1/push", {"to": {"user": "ann"}, "content": {"base64": "?"}, "binary": True})[0] == 400


def test_who_was_away_hears_who_came_to_a_group(spear):
    server = spear(presence=True, recovery={"enabled": True}, shards=1)
    with Client(server.address, auth={"id": "guest"}) as guest:
        with Client(server.address, auth={"id": "watcher"}) as watcher:
            watcher.subscribe("watched")
            server.push(to={"all": True}, event="one", arguments=[])
            offset = watcher.event("one")[-1]
        wait_until(lambda: server.state()["recovery_saved"] == 1)
        guest.subscribe("watched")
        with Client(server.address, auth={"pid": watcher.connected["pid"], "offset": offset}) as back:
            assert back.event("presence")[1] == {"groupId": "watched", "userId": "guest", "event": "join"}


def test_too_many_groups_says_which_were_joined(spear):
    server = spear(limits={"groups": 2})
    with Client(server.address, auth={"id": "ann"}) as ann:
        answer = result(1002, "too many groups")(ann.call("subscribe", {"subscribeGroups": ["a", "b", "c"]})[0])
        assert answer["data"] == {"groups": ["a", "b"]}


@pytest.mark.parametrize("path", ["/health", "/metrics"])
def test_head_is_answered_as_get_but_for_the_body(chat, path):
    with connect(chat.admin) as sock, sock.makefile("rb") as file:
        sock.sendall(f"HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += file.read(1)
        assert head.startswith(b"HTTP/1.1 200 ") and b"Content-Length: 0\r\n" not in head
        assert read_response(file) == (200, b'{"status":"ok"}')


def test_requests_behind_a_push_that_waits_are_answered_behind_it(chat):
    order = json.dumps({"to": {"user": "waited for"}, "event": "question", "arguments": [], "ack": "10s"})
    with Client(chat.address) as client, connect(chat.admin) as sock, sock.makefile("rb") as file:
        client.auth("waited for")
        head = f"POST /v1/push HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {len(order)}\r\n\r\n"
        sock.sendall((head + order).encode())
        client.event("question")
        sock.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        request(chat.admin, "GET", "/health")  # by then that one was read, too
        client.send(f'43{client.last_ack}["yes"]')
        assert json.loads(read_response(file)[1])["answers"] == [["yes"]]
        assert json.loads(read_response(file)[1]) == {"status": "ok"}


@pytest.mark.parametrize("late", [True, False])
def test_a_request_that_was_begun_behind_another_has_no_longer_than_one_alone(spear, late):
    server = spear(limits={"request_timeout": "300ms", "idle_timeout": "60s"}, shards=1)
    order = json.dumps({"to": {"user": "ann"}, "event": "question", "arguments": [], "ack": "500ms"}) if late else "{}"
    head = f"POST /v1/push HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {len(order)}\r\n"
    with Client(server.address, auth={"id": "ann"}), connect(server.admin) as sock, sock.makefile("rb") as file:
        if late:  # the answer comes after the begin of the next request
            sock.sendall(f"{head}\r\n{order}G".encode())
        else:  # the request came in two pieces
            sock.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
            assert file.read(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
            sock.sendall(f"{order}G".encode())
        assert read_response(file)[0] == (200 if late else 400)
        assert read_response(file)[0] == 408


@pytest.mark.parametrize("order", [{}, {"to": {"user": "a"}}, {"to": {"user": "a", "group": "b"}, "content": 1}, {"to": "all", "content": 1},
                                   {"to": {"user": "a"}, "content": 1, "event": 5}, {"to": {"user": "a"}, "arguments": [], "event": "disconnect"},
                                   {"to": {"group": "a", "device": "b"}, "content": 1},
                                   {"to": {"room": "a", "namespace": "/none"}, "content": 1}, {"to": {"user": "a"}, "content": 1, "ack": "1h"},
                                   {"batch": []}, {"batch": {}}, [], "x"])
def test_wrong_orders_are_refused(chat, order):
    status, answer = chat.api("POST", "/v1/push", order)
    assert status == 400 and answer["error"]["code"] and answer["error"]["message"]


@pytest.mark.parametrize("body", [b'{"to":{"all":true},"content":"\xff"}', b'{"to":{"all":true},"event":"\xc3","arguments":[]}',
                                  b'{"to":{"user":"\xed\xa0\x80"},"content":1}'])
def test_an_order_that_is_no_utf_8_is_refused_and_reaches_nobody(two, chat, body):
    status, _, answer = request(chat.admin, "POST", "/v1/push", body, {"Authorization": f"Bearer {TOKEN}"})
    assert (status, json.loads(answer)["error"]["code"]) == (400, "bad-request")
    assert two[0].call("echo", 1) == [1] and not two[0].waiting


@pytest.mark.parametrize("arguments, got", [("[ ]", []), ("[\n\t]", []), (" [ 1 , 2 ] ", [1, 2])])
def test_blanks_in_an_order_harm_nobody(two, chat, arguments, got):
    body = '{"to": {"user": "ann"}, "event": "spaced", "arguments": %s}' % arguments
    status, _, _ = request(chat.admin, "POST", "/v1/push", body, {"Authorization": f"Bearer {TOKEN}"})
    assert status == 200
    assert two[0].event("spaced")[1:len(got) + 1] == got


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


@pytest.mark.parametrize("how", ["a bad packet", "a kick"])
def test_a_session_that_ends_in_the_middle_of_its_upgrade_takes_nothing_more_from_the_websocket(spear, how):
    server = spear()
    with Client(server.address) as witness:
        polling = Polling(server.address)
        assert polling.post("40") == (200, "ok")
        sid = json.loads(polling.get()[1].split("\x1e")[0][2:])["sid"]
        with WebSocket(server.address, f"/socket.io/?EIO=4&transport=websocket&sid={polling.sid}") as ws:
            ws.send("2probe")
            assert ws.receive() == "3probe"
            assert polling.get() == (200, "6")
            if how == "a kick":
                assert server.api("POST", "/v1/kick", {"socket": sid}) == (200, {"kicked": 1})
                polling.get()  # what it is told last
            polling.post("4x")
            for packet in ("5", "40", '42["echo",1]', "40"):
                with contextlib.suppress(OSError):
                    ws.send(packet)
            ws.expect_gone()
        assert witness.call("echo", 1)
        with Client(server.address) as another:
            assert another.call("echo", 1)
