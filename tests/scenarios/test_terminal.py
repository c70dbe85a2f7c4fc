"""What only a terminal sees: the live picture, Ctrl-C, and prompts."""
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time

import pytest
from test_scenarios import BUILD, World

COLUMNS, ROWS = 50, 10

DEMO = """\
cluster: demo
services:
  web:
    kind: app
    command: "{{APP}} --id={{instance}} --port={{ports.http}} --start-delay DELAY"
    instances: 12
    ports: { http: {{PORT1}} }
    health: { http: /health, every: 200ms }
"""


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, world, *words):
        self.main, other = pty.openpty()
        fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        environment = dict(world.environment, TERM="xterm")
        environment.pop("NO_COLOR", None)
        self.process = subprocess.Popen([BUILD / "muster", *words], cwd=world.folder, env=environment, stdin=other,
                                        stdout=other, stderr=other, start_new_session=True,
                                        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(other)
        self.text = ""

    def read_until(self, pattern, seconds=30):
        end = time.monotonic() + seconds
        while not re.search(pattern, self.text):
            if time.monotonic() > end:
                raise AssertionError(f"{pattern!r} did not come; there is:\n{self.text}")
            ready, _, _ = select.select([self.main], [], [], 0.1)
            if not ready:
                continue
            try:
                piece = os.read(self.main, 65536)
            except OSError:
                piece = b""  # the program has ended
            if not piece:
                break
            self.text += piece.decode(errors="replace")

    def type(self, text):
        os.write(self.main, text.encode())

    def wait(self, seconds=60):
        """Until it has ended. A program whose terminal nobody reads stands still once that has taken what it can."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < deadline:
            self.drain()
        self.drain()
        assert self.process.poll() is not None, f"still runs:\n{self.text}"
        return self.process.returncode

    def end(self, seconds=60):
        self.wait(seconds)
        os.close(self.main)
        return self.process.returncode

    def drain(self):
        ready, _, _ = select.select([self.main], [], [], 0.05)
        if ready:
            try:
                self.text += os.read(self.main, 65536).decode(errors="replace")
            except OSError:
                pass


@pytest.fixture
def world():
    made = World()
    yield made
    problems = made.close()
    assert not problems, "\n".join(problems)


def write_demo(world, delay):
    (world.folder / "muster.yaml").write_text(world.fill(DEMO.replace("DELAY", delay)))


def plain(line):
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", line).rstrip("\r")


def test_up_draws_a_live_picture_that_fits(world):
    write_demo(world, "300ms")
    terminal = Terminal(world, "up")
    assert terminal.end() == 0, terminal.text
    # Only what is drawn again counts; the summary below it may be as wide as it likes.
    picture = terminal.text.split("demo is ")[0].split("\n")[:-1]
    assert all(len(plain(line)) < COLUMNS for line in picture), terminal.text
    assert "\x1b[" in terminal.text and "12 of 12 instances ready" in terminal.text
    assert re.search(r"… and \d+ more", terminal.text)  # twelve instances, ten rows
    jumps = [int(rows) for rows in re.findall(r"\x1b\[(\d+)A", terminal.text)]
    assert jumps and max(jumps) < ROWS


def test_what_is_typed_does_not_show_in_the_picture(world):
    write_demo(world, "1s")
    terminal = Terminal(world, "up")
    terminal.read_until("in motion")
    assert not termios.tcgetattr(terminal.main)[3] & termios.ECHO
    terminal.type("typed-in-vain\n")
    terminal.read_until("try next")
    assert terminal.wait(30) == 0
    assert termios.tcgetattr(terminal.main)[3] & termios.ECHO
    terminal.end()
    assert "typed-in-vain" not in terminal.text


def test_ctrl_c_cancels_the_run(world):
    write_demo(world, "20s")
    terminal = Terminal(world, "up")
    terminal.read_until("in motion")
    terminal.type("\x03")
    terminal.read_until("cancelling")
    # What is under way ends first; who doesn't want to wait for it asks again.
    terminal.type("\x03")
    assert terminal.wait(30) == 130
    assert termios.tcgetattr(terminal.main)[3] & termios.ECHO
    assert terminal.end() == 130, terminal.text


def test_a_secret_is_not_shown_while_it_is_typed(world):
    write_demo(world, "0s")
    terminal = Terminal(world, "secret", "set", "db")
    terminal.read_until("value of db")
    terminal.type("tiger\n")
    terminal.read_until("once more")
    terminal.type("tiger\n")
    assert terminal.end() == 0, terminal.text
    assert "tiger" not in terminal.text and "set db of demo" in terminal.text


def test_down_asks_for_the_name(world):
    write_demo(world, "0s")
    assert world.run("muster up")[0] == 0
    terminal = Terminal(world, "down", "--delete-data")
    terminal.read_until("Type its name")
    terminal.type("other\n")
    assert terminal.end() == 3
    terminal = Terminal(world, "down", "--delete-data")
    terminal.read_until("Type its name")
    terminal.type("demo\n")
    assert terminal.end() == 0, terminal.text


def test_ctrl_c_at_a_hidden_prompt_gives_the_terminal_back(world):
    write_demo(world, "0s")
    terminal = Terminal(world, "secret", "set", "db")
    terminal.read_until("value of db")
    assert not termios.tcgetattr(terminal.main)[3] & termios.ECHO
    terminal.type("\x03")
    assert terminal.wait(10) == 130
    assert termios.tcgetattr(terminal.main)[3] & termios.ECHO
    assert not world.home.exists()
    terminal.end()
