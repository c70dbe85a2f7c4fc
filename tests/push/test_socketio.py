"""The behaviours of the Socket.IO protocol's text beyond Engine.IO's, and what is the reference's own."""

import json

import pytest
from wire import Client, Polling, WebSocket, wait_until

pytest_plugins = ["spear_node"]

PATH = "/socket.io/?EIO=4&transport=websocket"


@pytest.fixture
def server(steady):
    return steady.address


def opened(server):
    ws = WebSocket(server, PATH)
    assert ws.receive().startswith("0{")
    return ws


@pytest.mark.parametrize("sent, prefix, auth", [
    ("40", "", {}), ('40{"token":"123"}', "", {"token": "123"}),
    ("40/custom,", "/custom,", {}), ("40/custom", "/custom,", {}), ('40/custom,{"token":"abc"}', "/custom,", {"token": "abc"}),
])
def test_connects_to_a_namespace(server, sent, prefix, auth):
    with opened(server) as ws:
        ws.send(sent)
        answer = ws.receive()
        assert answer.startswith("40" + prefix)
        found = json.loads(answer[2 + len(prefix):])
        assert list(found) == ["sid"]
        assert ws.receive() == "42" + prefix + json.dumps(["auth", auth], separators=(",", ":"))


def test_socket_and_session_have_different_ids(server):
    with Client(server) as client:
        assert client.sid != client.open["sid"]


def test_refuses_an_unknown_namespace(server):
    with opened(server) as ws:
        ws.send("40/random")
        assert ws.receive() == '44/random,{"message":"Invalid namespace"}'


@pytest.mark.parametrize("packet", ["4abc", "4", "41", '42["message"]', "40[]", "430[]", '44{"a":1}'])
def test_closes_without_a_proper_connect(server, packet):
    with opened(server) as ws:
        ws.send(packet)
        ws.expect_gone()


def test_closes_where_no_namespace_is_joined_in_time(spear):
    server = spear(connect_timeout="200ms")
    with opened(server.address) as ws:
        ws.expect_gone()
    polling = Polling(server.address)
    assert polling.get() == (200, "1")
    assert polling.get()[0] == 400


def test_disconnects_from_the_main_namespace_and_stays_open(reference):
    with Client(reference.address) as client:
        client.event("auth")
        client.send("41")
        assert client.receive() == "2"
        client.send("3")
        client.send("40")
        assert client.packet().startswith("40{")


def test_disconnects_from_one_namespace_of_two(server):
    with Client(server) as client:
        client.event("auth")
        client.send("40/custom")
        assert client.packet().startswith("40/custom,{")
        assert client.packet() == '42/custom,["auth",{}]'
        client.send("41/custom")
        client.send('42["message","message to main namespace"]')
        assert client.packet() == '42["message-back","message to main namespace"]'


def test_closes_upon_an_event_for_a_namespace_that_was_left(server):
    with Client(server) as client:
        client.send("41")
        client.send('42["message"]')
        client.expect_gone()


def test_closes_upon_a_second_connect(server):
    with Client(server) as client:
        client.send("40")
        client.expect_gone()


TWO = '{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}'


@pytest.mark.parametrize("sent, answer", [('42["message",1,"2",{"3":[true]}]', '42["message-back",1,"2",{"3":[true]}]'),
                                          ('42456["message-with-ack",1,"2",{"3":[false]}]', '43456[1,"2",{"3":[false]}]')])
def test_echoes_and_acknowledges_an_event(server, sent, answer):
    with Client(server) as client:
        client.event("auth")
        client.send(sent)
        assert client.packet() == answer


@pytest.mark.parametrize("sent, answer", [(f'452-["message",{TWO}]', f'452-["message-back",{TWO}]'),
                                          (f'452-789["message-with-ack",{TWO}]', f'462-789[{TWO}]')])
def test_echoes_and_acknowledges_an_event_with_attachments(server, sent, answer):
    with Client(server) as client:
        client.event("auth")
        client.send(sent)
        client.send(b"\1\2\3")
        client.send(b"\4\5\6")
        assert client.packet() == answer
        assert [client.packet(), client.packet()] == [b"\1\2\3", b"\4\5\6"]


@pytest.mark.parametrize("packet", ["4abc", "42{}", '42abc["message-with-ack",1]', '42["disconnect"]', "42[]",
                                    '451["message"]', '4511-["message"]', b"\1"])
def test_closes_upon_a_wrong_packet(server, packet):
    with Client(server) as client:
        client.send(packet)
        client.expect_gone()


def test_closes_upon_text_where_an_attachment_is_due(server):
    with Client(server) as client:
        client.send('451-["message",{"_placeholder":true,"num":0}]')
        client.send('42["message"]')
        client.expect_gone()


@pytest.mark.parametrize("place", ['{"_placeholder":true,"num":1}', '{"_placeholder":true,"num":-1}', '{"_placeholder":true}',
                                   '{"_placeholder":true,"num":"0"}', '[[{"a":{"num":1e3,"_placeholder":true}}]]',
                                   r'{"_placehol\u0064er":true,"n\u0075m":1}', '{"_placeholder":true,"num":0,"num":1}'])
def test_closes_upon_a_place_of_an_attachment_that_is_none(server, place):
    with Client(server) as client:
        client.event("auth")
        client.send(f'451-["message",{place}]')
        client.send(b"\1")
        client.expect_gone()


@pytest.mark.parametrize("places", ['{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}', '"none"',
                                    '{"_placeholder":true,"num":0,"in":{"_placeholder":true,"num":7}}',
                                    '{"_placeholder":1,"num":7}', '{"_placeholder":true,"num":7,"_placeholder":false}'])
def test_an_attachment_may_have_several_places_or_none(server, places):  # as with the reference
    with Client(server) as client:
        client.event("auth")
        client.send(f'451-["message",{places}]')
        client.send(b"\1")
        assert client.packet() == f'451-["message-back",{places}]'
        assert client.packet() == b"\1"


def test_attachments_come_over_polling_too(server):
    polling = Polling(server)
    polling.post("40")
    assert polling.get()[1].startswith("40{")
    polling.post('451-["message",{"_placeholder":true,"num":0}]\x1ebAQID')
    assert '451-["message-back",{"_placeholder":true,"num":0}]\x1ebAQID' in polling.get()[1]


def missed(server, client, auth):
    """What a client gets that comes back with what `client` knew."""
    return Client(server, auth={"pid": client.connected["pid"], **auth})


def test_a_broken_connection_comes_back_with_what_it_missed(chat):
    for _ in range(4):  # whichever shard it comes to
        with Client(chat.address) as client:
            client.auth("back")
            client.subscribe("recover")
            chat.push(to={"user": "back"}, content="seen")
            offset = client.event("msg")[2]
        wait_for_nobody(chat, "back")
        chat.push(to={"user": "back"}, content="one")
        chat.push(to={"group": "recover"}, content="two")
        chat.push(to={"group": "another"}, content="not mine")
        chat.push(to={"user": "back"}, content="volatile", volatile=True)
        chat.push(to={"all": True}, content="three")
        with missed(chat.address, client, {"offset": offset}) as again:
            assert (again.sid, again.connected["pid"]) == (client.sid, client.connected["pid"])
            assert [again.event("msg")[1]["content"] for _ in range(3)] == ["one", "two", "three"]
            chat.push(to={"group": "recover"}, content="still in the group")
            assert again.event("msg")[1]["content"] == "still in the group"
        wait_for_nobody(chat, "back")


def wait_for_nobody(server, user):
    wait_until(lambda: server.api("GET", "/v1/online?user=" + user)[1]["clients"] == 0, what=f"{user} to be gone")


def test_who_said_goodbye_does_not_come_back(chat):
    with Client(chat.address) as client:
        client.auth("bye")
        chat.push(to={"user": "bye"}, content="seen")
        offset = client.event("msg")[2]
        client.send("41")
    wait_for_nobody(chat, "bye")
    with missed(chat.address, client, {"offset": offset}) as again:
        assert again.sid != client.sid


def test_who_was_put_out_while_away_does_not_come_back(chat):
    for _ in range(4):  # whichever shard it comes to
        with Client(chat.address) as client:
            client.auth("put-out")
            client.subscribe("strict", "mild")
            chat.push(to={"user": "put-out"}, content="seen")
            offset = client.event("msg")[2]
        wait_for_nobody(chat, "put-out")
        chat.api("POST", "/v1/kick", {"user": "put-out", "from_group": "strict"})
        with missed(chat.address, client, {"offset": offset}) as again:
            assert again.sid == client.sid
            assert chat.push(to={"group": "strict"}, content="no")["delivered"] == 0
            chat.push(to={"group": "mild"}, content="yes")
            offset = again.event("msg")[2]
        wait_for_nobody(chat, "put-out")
        chat.api("POST", "/v1/kick", {"group": "mild"})
        with missed(chat.address, client, {"offset": offset}) as again:
            assert again.sid != client.sid


def test_nobody_comes_back_into_another_namespace(chat):
    with Client(chat.address) as client:
        client.auth("elsewhere")
        chat.push(to={"user": "elsewhere"}, content="seen")
        offset = client.event("msg")[2]
    wait_for_nobody(chat, "elsewhere")
    with Client(chat.address, "/other", auth={"pid": client.connected["pid"], "offset": offset}) as other:
        assert other.sid != client.sid
    with missed(chat.address, client, {"offset": offset}) as again:
        assert again.sid == client.sid


@pytest.mark.parametrize("auth", [{"offset": "999999999"}, {"offset": "x"}, {"pid": "AAAAAAAAAAAAAAAAAAAA", "offset": "1"},
                                  {"pid": "short", "offset": "1"}])
def test_wrong_words_for_coming_back_make_a_new_socket(chat, auth):
    with Client(chat.address) as client:
        client.auth("wrong")
    with missed(chat.address, client, auth) as again:
        assert again.sid != client.sid


def test_clients_of_protocol_3_are_served_where_that_is_allowed(chat):
    with WebSocket(chat.address, "/socket.io/?EIO=3&transport=websocket") as ws:
        assert ws.receive().startswith("0{")
        assert ws.receive() == "40"
        ws.send("2")
        assert ws.receive() == "3"
        ws.send('421["echo",1]')
        assert ws.receive() == "431[1]"
        ws.send("40/other?a=b")
        assert ws.receive() == "40/other,"
        ws.send("40/none")
        assert ws.receive() == '44/none,"Invalid namespace"'
        ws.send('451-2["echo",{"_placeholder":true,"num":0}]')
        ws.send(b"\x04\x01\x02")
        assert ws.receive() == '461-2[{"_placeholder":true,"num":0}]'
        assert ws.receive() == b"\x04\x01\x02"


def test_protocol_3_polls_with_lengths(chat):
    polling = Polling(chat.address, protocol=3)
    assert polling.get() == (200, "2:40")
    body = '421["echo","\u20ac"]'
    assert polling.post(f"{len(body)}:{body}1:2") == (200, "ok")
    assert polling.get() == (200, '10:431["\u20ac"]1:3'.replace("10:", "8:"))


def test_protocol_3_upgrades(chat):
    polling = Polling(chat.address, protocol=3)
    assert polling.get() == (200, "2:40")
    with WebSocket(chat.address, f"/socket.io/?EIO=3&transport=websocket&sid={polling.sid}") as ws:
        ws.send("2probe")
        assert ws.receive() == "3probe"
        ws.send("5")
        ws.send('421["echo",1]')
        assert ws.receive() == "431[1]"
