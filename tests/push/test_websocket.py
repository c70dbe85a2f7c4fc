"""RFC 6455 against a plain echo: the families of cases that Autobahn's suite has for a server without extensions."""

import pytest
from wire import BINARY, CLOSE, PING, PONG, TEXT, Gone, WebSocket, connect

pytest_plugins = ["spear_node"]

SIZES = [0, 1, 125, 126, 127, 128, 65535, 65536, 65537, 300_000]


@pytest.fixture
def ws(steady):
    with WebSocket(steady.address, "/echo") as socket:
        assert socket.status == 101
        yield socket


@pytest.fixture
def fresh(steady):
    return lambda: WebSocket(steady.address, "/echo")


# 1. Framing
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_echoes_each_length(ws, opcode, size):
    payload = b"*" * size
    ws.frame(opcode, payload)
    assert ws.receive_frame() == (opcode, payload)


@pytest.mark.parametrize("chop", [1, 3, 997])
def test_reads_frames_cut_anywhere(ws, chop):
    size = 50 if chop < 10 else 65536
    bytes_ = ws.encode(TEXT, b"*" * size) + ws.encode(PING, b"p")
    for start in range(0, len(bytes_), chop):
        ws.sock.sendall(bytes_[start:start + chop])
    assert ws.receive_frame() == (TEXT, b"*" * size)
    assert ws.receive_frame() == (PONG, b"p")


def test_reads_many_frames_at_once(ws):
    ws.sock.sendall(b"".join(ws.encode(TEXT, b"%d" % i) for i in range(1000)))
    assert [ws.receive() for _ in range(1000)] == [str(i) for i in range(1000)]


# 2. Pings and pongs
@pytest.mark.parametrize("payload", [b"", b"hello", b"\x00\xff\xfe", b"x" * 125])
def test_answers_a_ping_with_its_payload(ws, payload):
    ws.frame(PING, payload)
    assert ws.receive_frame() == (PONG, payload)


def test_answers_pings_in_order(ws):
    ws.sock.sendall(b"".join(ws.encode(PING, b"%d" % i) for i in range(10)))
    assert [ws.receive_frame() for _ in range(10)] == [(PONG, b"%d" % i) for i in range(10)]


def test_takes_no_notice_of_a_pong_nobody_asked_for(ws):
    ws.frame(PONG, b"unasked")
    ws.send("hello")
    assert ws.receive() == "hello"


# 3. and 4. Reserved bits and opcodes; masks; lengths
@pytest.mark.parametrize("reserved", range(1, 8))
@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, CLOSE])
def test_refuses_reserved_bits(ws, reserved, opcode):
    ws.frame(opcode, b"", reserved=reserved)
    assert ws.close_code() == 1002


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
@pytest.mark.parametrize("before", [False, True])
def test_refuses_reserved_opcodes(ws, opcode, before):
    if before:
        ws.send("hello")
        assert ws.receive() == "hello"
    ws.frame(opcode, b"x")
    assert ws.close_code() == 1002


@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, CLOSE])
def test_refuses_frames_without_a_mask(ws, opcode):
    ws.frame(opcode, b"", masked=False)
    assert ws.close_code() == 1002


@pytest.mark.parametrize("head", [b"\x81\xfe\x00\x05", b"\x81\xff\x00\x00\x00\x00\x00\x00\x00\x05",
                                  b"\x81\xff\x80\x00\x00\x00\x00\x00\x00\x05"])
def test_refuses_lengths_that_are_not_in_their_shortest_form(ws, head):
    ws.sock.sendall(head + b"\0\0\0\0hello")
    assert ws.close_code() == 1002


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
@pytest.mark.parametrize("how", ["long", "fragment"])
def test_refuses_control_frames_that_are_long_or_in_fragments(ws, opcode, how):
    ws.frame(opcode, b"x" * (126 if how == "long" else 2), last=how == "long")
    assert ws.close_code() == 1002


# 5. Fragments
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("pieces", [[b"a", b"b"], [b"", b"b"], [b"a", b""], [b"", b"", b""], [b"x"] * 50])
def test_puts_fragments_together(ws, opcode, pieces):
    for index, piece in enumerate(pieces):
        ws.frame(opcode if index == 0 else 0, piece, last=index == len(pieces) - 1)
    assert ws.receive_frame() == (opcode, b"".join(pieces))


def test_answers_pings_between_fragments(ws):
    ws.frame(TEXT, b"one ", last=False)
    ws.frame(PING, b"1")
    assert ws.receive_frame() == (PONG, b"1")
    ws.frame(0, b"two ", last=False)
    ws.frame(PING, b"2")
    ws.frame(0, b"three")
    assert ws.receive_frame() == (PONG, b"2")
    assert ws.receive() == "one two three"


@pytest.mark.parametrize("last", [True, False])
def test_refuses_a_continuation_of_nothing(ws, last):
    ws.frame(0, b"x", last=last)
    assert ws.close_code() == 1002


def test_refuses_a_continuation_after_the_end(ws):
    ws.frame(TEXT, b"a", last=False)
    ws.frame(0, b"b")
    ws.frame(0, b"c")
    assert ws.receive() == "ab"
    assert ws.close_code() == 1002


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_refuses_a_message_inside_another(ws, opcode):
    ws.frame(TEXT, b"a", last=False)
    ws.frame(opcode, b"b")
    assert ws.close_code() == 1002


# 6. UTF-8
GOOD = ["", "hello", "h\u00e9llo", "\u03ba\u1f79\u03c3\u03bc\u03b5", "\u0000", "\u007f", "\u0080", "\u07ff", "\u0800", "\ud7ff",
        "\ue000", "\ufffd", "\uffff", "\U00010000", "\U0010ffff", "a" * 1000 + "\u20ac"]
BAD = [b"\x80", b"\xbf", b"\xc0\x80", b"\xc1\xbf", b"\xc3", b"\xe0\x80\x80", b"\xe0\x9f\xbf", b"\xed\xa0\x80", b"\xed\xbf\xbf",
       b"\xf0\x80\x80\x80", b"\xf0\x8f\xbf\xbf", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xfe", b"\xff",
       b"hello\xffworld", b"\xe2\x82", b"\xf0\x90\x80", b"a" * 1000 + b"\xc3", b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited"]


@pytest.mark.parametrize("text", GOOD, ids=range(len(GOOD)))
def test_echoes_text(ws, text):
    ws.send(text)
    assert ws.receive() == text


@pytest.mark.parametrize("text", [text for text in GOOD if len(text.encode()) > 1], ids=repr)
def test_puts_text_together_that_is_cut_within_a_character(ws, text):
    raw = text.encode()[-6:] if len(text) > 100 else text.encode()
    for index in range(len(raw)):
        ws.frame(TEXT if index == 0 else 0, raw[index:index + 1], last=index == len(raw) - 1)
    if len(text) <= 100:
        assert ws.receive() == text
    else:
        assert ws.receive() == "aaa\u20ac"


@pytest.mark.parametrize("raw", BAD, ids=range(len(BAD)))
@pytest.mark.parametrize("fragmented", [False, True])
def test_refuses_what_is_no_text(ws, raw, fragmented):
    if fragmented:
        ws.frame(TEXT, raw[:1], last=False)
        ws.frame(0, raw[1:])
    else:
        ws.frame(TEXT, raw)
    assert ws.close_code() == 1007


@pytest.mark.parametrize("raw", BAD, ids=range(len(BAD)))
def test_takes_any_bytes_as_binary(ws, raw):
    ws.send(raw)
    assert ws.receive() == raw


# 7. Closing
@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999])
@pytest.mark.parametrize("reason", [b"", b"bye", b"x" * 123])
def test_answers_a_close_with_its_code(ws, code, reason):
    ws.frame(CLOSE, code.to_bytes(2, "big") + reason)
    assert ws.close_code() == code
    with pytest.raises(Gone):
        ws.more()


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535])
def test_refuses_codes_that_nobody_may_send(ws, code):
    ws.frame(CLOSE, code.to_bytes(2, "big"))
    assert ws.close_code() == 1002


def test_answers_a_close_without_a_code(ws):
    ws.frame(CLOSE)
    assert ws.close_code() is None


def test_refuses_half_a_code_and_a_reason_that_is_no_text(fresh):
    with fresh() as ws:
        ws.frame(CLOSE, b"\x03")
        assert ws.close_code() == 1002
    with fresh() as ws:
        ws.frame(CLOSE, b"\x03\xe8\xff")
        assert ws.close_code() == 1007


def test_says_nothing_after_the_close(ws):
    ws.sock.sendall(ws.encode(CLOSE, b"\x03\xe8") + ws.encode(TEXT, b"late") + ws.encode(PING, b"late"))
    assert ws.close_code() == 1000
    with pytest.raises(Gone):
        ws.more()


def test_closes_within_a_fragmented_message(ws):
    ws.frame(TEXT, b"a", last=False)
    ws.frame(CLOSE, b"\x03\xe8")
    assert ws.close_code() == 1000


# 9. Limits
def test_takes_a_message_of_the_limit_and_refuses_one_more_byte(ws):
    ws.send(b"x" * 1_000_000)
    assert len(ws.receive()) == 1_000_000
    ws.send(b"x" * 1_000_001)
    assert ws.close_code() == 1009


def test_refuses_a_length_that_is_over_the_limit_without_waiting_for_it(ws):
    ws.sock.sendall(b"\x82\xff\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00")
    assert ws.close_code() == 1009


def test_refuses_fragments_that_are_over_the_limit_together(ws):
    for index in range(11):
        ws.frame(BINARY if index == 0 else 0, b"x" * 100_000, last=False)
    assert ws.close_code() == 1009


# 10. The handshake
@pytest.mark.parametrize("headers, status", [
    ("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", 101),
    ("connection: keep-alive, uPGRADE\r\nupgrade: WebSocket\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n", 101),
    ("Connection: Upgrade\r\nUpgrade: h2c\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", 400),
    ("Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", 400),
    ("Connection: Upgrade\r\nUpgrade: websocket\r\n", 400),
])
def test_handshakes(steady, headers, status):
    with connect(steady.address) as sock:
        sock.sendall(b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nSec-WebSocket-Version: 13\r\n"
                     + headers.encode() + b"\r\n")
        answer = sock.recv(1000)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    if status == 101:
        assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in answer


def test_takes_frames_that_come_with_the_handshake(steady):
    with connect(steady.address) as sock:
        sock.sendall(b"GET /echo HTTP/1.1\r\nHost: x\r\nSec-WebSocket-Version: 13\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                     b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" + WebSocket.encode(TEXT, b"early"))
        got = b""
        while not got.endswith(b"\x81\x05early"):
            more = sock.recv(1000)
            assert more, got
            got += more


@pytest.mark.parametrize("bad", [b"4\xff", b"4\xed\xa0", b"4a\xe2\x28"])
def test_text_that_no_end_makes_utf8_ends_it_at_once(steady, bad):
    with WebSocket(steady.address, "/socket.io/?EIO=4&transport=websocket") as ws:
        ws.receive()
        ws.frame(TEXT, bad, last=False)
        assert ws.close_code() == 1007


def test_a_character_may_lie_in_several_fragments(steady):
    with WebSocket(steady.address, "/engine.io/?EIO=4&transport=websocket") as ws:
        ws.receive()
        text = "4\u00e9\u20ac\U0001f600".encode()
        ws.frame(TEXT, text[:1], last=False)
        for byte in text[1:]:
            ws.frame(0, bytes([byte]), last=False)
        ws.frame(0, b"")
        assert ws.receive().encode() == text
