"""Clients that read slower than they are sent to, where what doesn't fit is dropped: packets go whole, with their attachments, or not
at all."""

import base64
import json

from wire import Client, Polling, wait_until

pytest_plugins = ["spear_node"]

SIZE = 30_000  # of an attachment, twice as much as there often is room for
SLOW = {"slow": {"bytes": "64k", "policy": "drop"}, "shards": 1}


def bytes_of(number):
    return number.to_bytes(4, "big") * (SIZE // 4)


def push(server, number):
    return server.push(to={"user": "slow"}, event="picture", arguments=[number, {"base64": base64.b64encode(bytes_of(number)).decode()}],
                       binary=True)["delivered"]


def read_whole(client, start):
    """All up to the event `end`, whose packets that begin so have their attachment right behind them: their numbers."""
    numbers = []
    while True:
        packet = client.packet()
        assert isinstance(packet, str), "an attachment without its packet"
        if packet.startswith('42["end"'):
            return numbers
        if packet.startswith(start):
            number = json.loads(packet[packet.index("["):])[-2]
            assert client.packet() == bytes_of(number), f"another attachment than that of {packet}"
            numbers.append(number)


def end(server, client):
    """Reads until there is room for the event `end`; how many were dropped before."""
    dropped = 0
    while server.push(to={"user": "slow"}, event="end", arguments=[])["delivered"] == 0:
        dropped += 1
        client.more()
    return dropped


def test_an_event_is_dropped_with_its_attachments(spear):
    server = spear(**SLOW)
    with Client(server.address, auth={"id": "slow"}) as slow:
        took = []
        while took[-5:] != [False] * 5:
            took.append(bool(push(server, len(took))))
            server.push(to={"user": "slow"}, event="word", arguments=["of another size", "x" * (997 * len(took) % 5000)])
            assert len(took) < 5000, "it was never too slow"
        state = server.state()
        assert state["slow_dropped_total"] > 0 and state["slow_closed_total"] == 0
        end(server, slow)
        assert read_whole(slow, '451-["picture"') == [number for number, taken in enumerate(took) if taken]
        assert slow.call("echo", "well") == ["well"]


def test_an_ack_is_dropped_with_its_attachments(spear):
    server = spear(**SLOW)
    with Client(server.address, auth={"id": "slow"}) as slow:
        for number in range(500):  # 15 MB: more than kernel and node keep for anybody
            slow.send(f'451-{number + 1}["echo",{number},{{"_placeholder":true,"num":0}}]')
            slow.send(bytes_of(number))
        wait_until(lambda: server.state()["events_received_total"] == 500, what="all to be read")
        ends = end(server, slow)
        numbers = read_whole(slow, "461-")
        assert 0 < len(numbers) < 500 and numbers == sorted(set(numbers))
        assert server.state()["slow_dropped_total"] == 500 - len(numbers) + ends


def test_who_polls_gets_an_event_with_its_attachments_or_neither(spear):
    server = spear(**SLOW)
    polling = Polling(server.address)
    polling.post('40{"id":"slow"}')
    assert polling.get()[1].startswith("40{")
    took = [push(server, number) for number in range(4)]
    assert took == [1, 1, 0, 0]
    packets = polling.get()[1].split("\x1e")
    assert [packet[0] for packet in packets] == ["4", "b", "4", "b"]
    assert [base64.b64decode(packet[1:]) for packet in packets[1::2]] == [bytes_of(0), bytes_of(1)]
