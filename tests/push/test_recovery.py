"""Clients that lose their connection and come back again and again, to whatever shard, while several sources publish."""

import concurrent.futures
import json
import random
import socket
import struct
import threading

import pytest
from wire import Client, Polling, wait_until

pytest_plugins = ["spear_node"]

SHARDS, READERS, SENDERS, VISITS = 3, 4, 4, 20
MESSAGES = READERS * VISITS  # of each source: one for each visit of a reader


def lose(client):
    """As when a network goes: the other side is reset, and what has come but wasn't looked at is lost."""
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.sock.close()


def wait_for_nobody(server, user):
    wait_until(lambda: server.api("GET", "/v1/online?user=" + user)[1]["clients"] == 0, what=f"{user} to be gone")


class Pace:
    """Sources publish as readers visit, so that there is always something on its way to those who are coming back."""

    def __init__(self):
        self.changed = threading.Condition()
        self.visits = self.published = 0
        self.failed = False

    def visit(self):
        with self.changed:
            self.visits += 1
            self.changed.notify_all()

    def wait_for_visit(self, number):
        with self.changed:
            assert self.changed.wait_for(lambda: self.failed or self.visits >= number, 60), "readers come no more"
            assert not self.failed

    def publish(self):
        with self.changed:
            self.published += 1

    def run(self, work):
        try:
            return work()
        except BaseException:
            with self.changed:
                self.failed = True
                self.changed.notify_all()
            raise


class Reader:
    def __init__(self, server, number, pace):
        self.server, self.pace, self.name = server, pace, f"reader-{number}"
        self.random = random.Random(number)
        self.client = Client(server.address, auth={"id": self.name})
        self.client.subscribe("news")
        self.read, self.offset, self.shards = {}, None, set()

    def read_one(self):
        event = self.client.event("msg")
        source, number = event[1]["content"].split(".")
        assert int(number) == self.read.get(source, 0) + 1, f"{self.name} has {self.read} and got {event}"
        self.read[source] = int(number)
        self.offset = event[2]
        self.shards.add(self.offset.split("@")[0])

    def run(self):
        for _ in range(VISITS):
            # Those that are known to be published come, if they haven't yet.
            there = self.pace.published - sum(self.read.values())
            for _ in range(min(there, self.random.choice((0, 1, 2, 5, 20, 60)))):
                self.read_one()
            lose(self.client)
            wait_for_nobody(self.server, self.name)
            self.pace.visit()
            before = self.client
            self.client = Client(self.server.address, auth={"pid": before.connected["pid"], "offset": self.offset})
            assert self.client.sid == before.sid, f"{self.name} is new with {self.offset}"
        while sum(self.read.values()) < 1 + (SENDERS + 1) * MESSAGES:
            self.read_one()
        self.server.push(to={"user": self.name}, content="end.1")
        self.read_one()  # and nothing before it
        self.client.sock.close()


def send(server, number, pace):
    with Client(server.address, auth={"id": f"sender-{number}"}) as client:
        for i in range(1, MESSAGES + 1):
            pace.wait_for_visit(i)
            order = {"type": 1, "target": {"id": "news"}, "content": f"{number}.{i}"}
            assert client.call("msg", order)[0]["success"]
            pace.publish()


def push(server, pace):
    for i in range(1, MESSAGES + 1):
        pace.wait_for_visit(i)
        server.push(to={"group": "news"} if i % 3 else {"all": True}, content=f"api.{i}")
        server.push(to={"group": "news"}, content="lost on who is away", event="glimpse", volatile=True)
        pace.publish()


def test_whoever_comes_back_however_often_gets_each_message_once_and_in_order(spear):
    server = spear(shards=SHARDS, recovery={"enabled": True}, namespaces=["/", "/other"])
    pace = Pace()
    readers = [Reader(server, number, pace) for number in range(READERS)]
    server.push(to={"group": "news"}, content="start.1")
    pace.publish()
    for reader in readers:
        reader.read_one()
    works = [reader.run for reader in readers] + [lambda number=number: send(server, number, pace) for number in range(SENDERS)]
    works.append(lambda: push(server, pace))
    with concurrent.futures.ThreadPoolExecutor(len(works)) as pool:
        for work in [pool.submit(pace.run, work) for work in works]:
            work.result()
    assert len(set().union(*(reader.shards for reader in readers))) > 1, "all came to one shard"
    state = server.state()
    assert (state["recovered_total"], state["recovery_failed_total"]) == (READERS * VISITS, 0)


def test_who_comes_back_does_not_get_its_own_words(spear):
    server = spear(shards=SHARDS, recovery={"enabled": True})
    with Client(server.address) as other:
        other.call("join", "hall")
        for i in range(6):  # whichever shard it comes to
            client = Client(server.address, auth={"id": "talker"})
            client.call("join", "hall")
            server.push(to={"room": "hall"}, event="said", arguments=[i])
            offset = client.event("said")[2]
            assert client.call("emit", "hall", "said", "mine")[0]["success"]
            lose(client)
            wait_for_nobody(server, "talker")
            server.push(to={"room": "hall"}, event="said", arguments=["after"])
            with Client(server.address, auth={"pid": client.connected["pid"], "offset": offset}) as again:
                assert again.sid == client.sid
                assert again.event("said")[1] == "after"
            assert [other.event("said")[1] for _ in range(3)] == [i, "mine", "after"]
            wait_for_nobody(server, "talker")


def clients_of(server, user):
    return server.api("GET", "/v1/online?user=" + user)[1]["clients"]


def test_who_comes_back_takes_over_from_a_connection_that_went_silent(spear):
    server = spear(shards=SHARDS, recovery={"enabled": True}, presence=True)
    with Client(server.address, auth={"id": "friend"}) as friend:
        friend.subscribe("news")
        for turn in range(1, 9):  # whichever shard it comes to
            with Client(server.address, auth={"id": "ann", "device": "phone"}) as old:
                old.subscribe("news")
                server.push(to={"user": "ann"}, content="seen")
                offset = old.event("msg")[2]
                server.push(to={"group": "news"}, content="on its way to nobody")
                with Client(server.address, auth={"pid": old.connected["pid"], "offset": offset}) as again:
                    assert (again.sid, again.connected["pid"]) == (old.sid, old.connected["pid"])
                    assert again.event()[1]["content"] == "on its way to nobody"
                    assert clients_of(server, "ann") == 1
                    server.push(to={"user": "ann", "device": "phone"}, content="new")
                    assert again.event()[1]["content"] == "new"
                    assert old.event("msg")[1]["content"] == "on its way to nobody"
                    assert old.packet() == "41", "it isn't to come back by itself"
                    old.expect_gone()
                    assert [friend.event("presence")[1]["event"] for _ in range(3)] == ["join", "leave", "join"]
                assert friend.event("presence")[1]["event"] == "leave"
            assert server.state()["taken_over_total"] == turn
        assert server.state()["recovery_failed_total"] == 0


def test_each_namespace_of_a_silent_connection_is_taken_over(spear):
    server = spear(shards=SHARDS, recovery={"enabled": True}, namespaces=["/", "/other"])
    with Client(server.address, auth={"id": "ann"}) as old:
        old.send('40/other,{"id":"ann"}')
        other = json.loads(old.packet()[len("40/other,"):])
        server.push(to={"all": True}, event="word", arguments=[])
        offset = old.event("word")[1]
        server.push(to={"all": True, "namespace": "/other"}, event="word", arguments=[])
        other_offset = json.loads(old.packet()[len("42/other,"):])[1]
        with Client(server.address, auth={"pid": old.connected["pid"], "offset": offset}) as again:
            assert again.sid == old.sid
            again.send("40/other," + json.dumps({"pid": other["pid"], "offset": other_offset}))
            assert json.loads(again.packet()[len("40/other,"):]) == other
            assert clients_of(server, "ann") == 2


def test_a_silent_session_of_long_polling_is_taken_over(spear):
    server = spear(shards=SHARDS, recovery={"enabled": True})
    for _ in range(6):
        old = Polling(server.address)
        old.post('40{"id":"ann"}')
        connected = json.loads(old.get()[1][2:])
        server.push(to={"user": "ann"}, content="seen")
        offset = json.loads(old.get()[1][2:])[2]
        server.push(to={"user": "ann"}, content="missed")
        with Client(server.address, auth={"pid": connected["pid"], "offset": offset}) as again:
            assert again.sid == connected["sid"]
            assert again.event("msg")[1]["content"] == "missed"
            assert clients_of(server, "ann") == 1
            assert old.get()[1].endswith("\x1e41")
        wait_for_nobody(server, "ann")


def test_who_knows_only_the_id_of_a_socket_takes_nothing_over(spear):
    server = spear(shards=SHARDS, recovery={"enabled": True})
    with Client(server.address, auth={"id": "ann"}) as ann:
        server.push(to={"user": "ann"}, content="seen")
        offset = ann.event("msg")[2]
        for pid in (ann.sid, ann.connected["pid"][::-1], "", "x" * 10_000):
            with Client(server.address, auth={"pid": pid, "offset": offset}) as thief:
                assert thief.sid != ann.sid
        with Client(server.address, auth={"pid": ann.connected["pid"], "offset": "no offset"}) as confused:
            assert confused.sid != ann.sid
        assert ann.call("echo", "still here") == ["still here"]
        assert server.state()["taken_over_total"] == 0


def test_a_kick_misses_nobody_who_is_just_coming_back(spear):
    server = spear(shards=SHARDS, recovery={"enabled": True})
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        for _ in range(100):
            client = Client(server.address, auth={"id": "ann"})
            server.push(to={"user": "ann"}, content="seen")
            offset = client.event("msg")[2]
            lose(client)
            wait_for_nobody(server, "ann")
            kick = pool.submit(server.api, "POST", "/v1/kick", {"user": "ann"})
            with Client(server.address, auth={"pid": client.connected["pid"], "offset": offset}) as again:
                assert kick.result()[0] == 200
                if again.sid == client.sid:  # it was there first
                    again.event("kicked")
                    again.expect_gone()
                else:  # and is nobody's
                    assert again.call("msg", {})[0]["msg"] == "auth comes first"


@pytest.mark.parametrize("offset", ["", "1", "0@", "0@0", "0@999999999", "3@1", "0@1+0@1", "1.5", "0@18446744073709551616"])
def test_a_wrong_offset_makes_a_new_socket(chat, offset):
    client = Client(chat.address, auth={"id": "lost"})
    chat.push(to={"user": "lost"}, content="seen")
    client.event("msg")
    lose(client)
    wait_for_nobody(chat, "lost")
    with Client(chat.address, auth={"pid": client.connected["pid"], "offset": offset}) as again:
        assert again.sid != client.sid
