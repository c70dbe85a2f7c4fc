"""RFC 6455 as a library reads it that isn't ours: python3-websockets, which ends a connection at whatever it finds wrong."""

import asyncio
import json
import ssl

import pytest
import websockets
from certificates import certificates
from websockets.frames import Opcode

pytest_plugins = ["spear_node"]

SECONDS = 20  # a test that waits longer has failed


def run(work):
    asyncio.run(asyncio.wait_for(work, SECONDS))


def opened(server, path="/echo", scheme="ws", **how):
    """No pings by itself, and no limit on what it takes, unless a test wants that."""
    return websockets.connect("%s://%s:%d%s" % (scheme, *server.address, path), **{"ping_interval": None, "max_size": None, **how})


async def closed_by_server(ws):
    """The code and reason of the server's close frame."""
    with pytest.raises(websockets.ConnectionClosed) as ended:
        while True:
            await ws.recv()
    assert ended.value.rcvd is not None, "it ended without a close frame"
    return ended.value.rcvd.code, ended.value.rcvd.reason


async def still_works(ws):
    await ws.send("still there")
    assert await ws.recv() == "still there"


def test_it_offers_compression_and_does_without(steady):
    async def work():
        async with opened(steady, compression="deflate") as ws:
            assert ws.request_headers["Sec-WebSocket-Extensions"].startswith("permessage-deflate")
            assert "Sec-WebSocket-Extensions" not in ws.response_headers and ws.extensions == []
            await still_works(ws)
    run(work())


@pytest.mark.parametrize("message", ["", "h\u00e9llo \U0001f642", "x" * 125, "x" * 126, "x" * 65535, "\u00e9" * 40_000, "x" * 1_000_000,
                                     b"", bytes(range(256)), b"\0" * 65536, b"\xff" * 1_000_000],
                         ids=lambda message: f"{type(message).__name__} {len(message)}")
def test_messages_of_each_length_come_back(steady, message):
    async def work():
        async with opened(steady) as ws:
            await ws.send(message)
            assert await ws.recv() == message
            await still_works(ws)
    run(work())


def test_messages_that_come_faster_than_they_are_read_come_back_in_order(steady):
    async def work():
        async with opened(steady, max_queue=4) as ws:
            messages = [("t%d" % i) * (i % 50 * 20) if i % 2 else bytes([i % 256]) * (i * 37 % 3000) for i in range(600)]

            async def send():
                for message in messages:
                    await ws.send(message)
            sending = asyncio.create_task(send())
            for message in messages:
                assert await ws.recv() == message
            await sending
    run(work())


@pytest.mark.parametrize("pieces", [["a", "b", "c"], ["", "a", "", "b", ""], ["\u00e9" * 30_000] * 3, [b"\0\xff", b"", b"x" * 70_000],
                                    ["x"] * 2000], ids=["three", "some empty", "long", "bytes", "many"])
def test_fragments_come_back_as_one_message(steady, pieces):
    async def work():
        async with opened(steady) as ws:
            await ws.send(pieces)  # a frame for each, and an empty one that is the last
            assert await ws.recv() == pieces[0][:0].join(pieces)
            await still_works(ws)
    run(work())


def test_text_may_be_cut_within_a_character(steady):
    async def work():
        async with opened(steady) as ws:
            text = "\U0001f642\u00e9".encode()
            for index, byte in enumerate(text):
                await ws.write_frame(index == len(text) - 1, Opcode.CONT if index else Opcode.TEXT, bytes([byte]))
            assert await ws.recv() == text.decode()
    run(work())


def test_control_frames_between_fragments_are_answered_at_once(steady):
    async def work():
        async with opened(steady) as ws:
            async def pieces():
                for index in range(5):
                    yield "piece %d " % index
                    # The answer comes although the message isn't whole.
                    await (await ws.ping(b"between %d" % index))
                    await ws.pong(b"unasked")
            await ws.send(pieces())
            assert await ws.recv() == "".join("piece %d " % index for index in range(5))
            await still_works(ws)
    run(work())


def test_pings_are_answered_with_what_they_say(steady):
    async def work():
        async with opened(steady) as ws:
            for payload in (b"", b"hello", bytes(range(125))):
                await (await ws.ping(payload))
            waiting = [await ws.ping(b"%d" % number) for number in range(100)]
            await waiting[-1]
            assert all(each.done() for each in waiting)
            await ws.pong(b"nobody asked")
            await still_works(ws)
    run(work())


def test_its_own_heartbeat_finds_the_server_alive(steady):
    async def work():
        async with opened(steady, ping_interval=0.02, ping_timeout=10) as ws:
            answered = 0
            original = ws.ping

            async def ping(*data):
                nonlocal answered
                waiter = await original(*data)
                waiter.add_done_callback(count)
                return waiter

            def count(_):
                nonlocal answered
                answered += 1
            ws.ping = ping
            while answered < 10:
                await still_works(ws)
    run(work())


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1000, "h\u00e9"), (1001, "going"), (1011, ""), (3000, "x" * 123), (4999, "own")])
def test_a_close_is_answered_with_its_code(steady, code, reason):
    async def work():
        ws = await opened(steady)
        await ws.close(code, reason)
        assert ws.closed and ws.close_code == code
        with pytest.raises(websockets.ConnectionClosed) as ended:
            await ws.recv()
        assert ended.value.rcvd.code == code and ended.value.rcvd_then_sent is False
    run(work())


def test_a_close_within_a_message_of_fragments_is_answered(steady):
    async def work():
        ws = await opened(steady)
        await ws.write_frame(False, Opcode.TEXT, b"never to be")
        await ws.close(4000)
        assert ws.close_code == 4000
    run(work())


def test_what_was_sent_before_a_close_comes_back_before_it(steady):
    async def work():
        ws = await opened(steady)
        for number in range(20):
            await ws.send("%d" % number)
        closing = asyncio.create_task(ws.close())
        assert [await ws.recv() for _ in range(20)] == ["%d" % number for number in range(20)]
        await closing
        assert ws.close_code == 1000
    run(work())


@pytest.mark.parametrize(("frames", "code"), [
    ([(True, Opcode.TEXT, b"\xff")], 1007),
    ([(False, Opcode.TEXT, b"\xc3"), (True, Opcode.CONT, b"x")], 1007),
    ([(True, Opcode.CONT, b"of nothing")], 1002),
    ([(False, Opcode.TEXT, b"a"), (True, Opcode.TEXT, b"b")], 1002),
    ([(True, Opcode.BINARY, b"x" * 1_000_001)], 1009),
    ([(False, Opcode.BINARY, b"x" * 600_000), (True, Opcode.CONT, b"x" * 600_000)], 1009),
    ([(True, Opcode.CLOSE, b"\x03\xed")], 1002),
], ids=["no text", "no text in fragments", "continuation of nothing", "message in a message", "too long", "too long in fragments", "close with 1005"])
def test_the_server_closes_what_is_wrong_with_its_code(steady, frames, code):
    async def work():
        ws = await opened(steady)
        for last, opcode, data in frames:
            await ws.write_frame(last, opcode, data)
        assert (await closed_by_server(ws))[0] == code
        await ws.wait_closed()
    run(work())


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_socketio_over_it(spear, tmp_path, scheme):
    """One connection that says hello, is asked, and ends; what it gets are whole frames of text and bytes."""
    ca, files = certificates(tmp_path)
    server = spear(**({"tls": files} if scheme == "wss" else {}))
    how = {"ssl": ssl.create_default_context(cafile=ca)} if scheme == "wss" else {}

    async def work():
        async with opened(server, "/socket.io/?EIO=4&transport=websocket", scheme, **how) as ws:
            assert json.loads((await ws.recv())[1:])["upgrades"] == []
            await ws.send(["4", "0", '{"id": "ann"}'])  # in fragments
            assert (await ws.recv()).startswith('40{"sid":')
            await ws.send('451-7["echo",{"_placeholder":true,"num":0}]')
            await (await ws.ping())  # between a packet and its attachment
            await ws.send(b"\1\2\3")
            assert [await ws.recv(), await ws.recv()] == ['461-7[{"_placeholder":true,"num":0}]', b"\1\2\3"]
            pushed = await asyncio.to_thread(server.push, to={"user": "ann"}, event="big", arguments=["x" * 200_000])
            assert pushed["delivered"] == 1
            assert await ws.recv() == '42["big","' + "x" * 200_000 + '"]'
            await ws.send("41")
            await ws.send("1")
            assert (await closed_by_server(ws))[0] in (1000, 1005)
    run(work())


def test_many_at_once(steady):
    async def one(number):
        async with opened(steady) as ws:
            for turn in range(20):
                await ws.send("%d %d" % (number, turn))
                assert await ws.recv() == "%d %d" % (number, turn)

    async def work():
        await asyncio.gather(*(one(number) for number in range(60)))
    run(work())
