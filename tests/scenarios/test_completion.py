"""Tab in real shells: what bash, zsh and fish make of a line that somebody begins to type."""
import fcntl
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import termios
import time

import pytest
from test_scenarios import BUILD, World

FILE = """\
cluster: shop
services:
  gateway:
    kind: app
    command: "{{APP}} --address={{address}} --id={{instance}} --port={{ports.http}}"
    instances: 2
    ports: { http: {{PORT1}} }
  ledger:
    kind: app
    command: "{{APP}} --address={{address}} --id={{instance}} --port={{ports.http}}"
    ports: { http: {{PORT9}} }
"""

# What is typed, and the line after Tab. Each has one answer only, so that all three shells agree.
TYPED = [
    ("muster secr", "muster secret"),
    ("muster secret ro", "muster secret rotate"),
    ("muster up --reh", "muster up --rehearse"),
    ("muster render --to fi", "muster render --to files"),
    ("muster completion zs", "muster completion zsh"),
    ("muster ps -c sh", "muster ps -c shop"),
    ("muster ps -c shop@", "muster ps -c shop@rehearsal"),
    ("muster ps --cluster=shop@re", "muster ps --cluster=shop@rehearsal"),
    ("muster scale -c shop gat", "muster scale -c shop gateway"),
    ("muster exec -c shop gateway-2", "muster exec -c shop gateway-2"),
    ("muster exec -c shop led", "muster exec -c shop ledger-1"),
    ("muster secret delete -c shop tok", "muster secret delete -c shop token"),
    ("muster check my-cl", "muster check my-cluster.yaml"),
    ("muster render --out some-f", "muster render --out some-folder/"),
    ("muster nonsen", "muster nonsen"),
]


@pytest.fixture(scope="module")
def world():
    """shop and its rehearsal."""
    one = World()
    (one.folder / "my-cluster.yaml").write_text(one.fill(FILE))
    (one.folder / "some-folder").mkdir()
    try:
        for command in ("muster up my-cluster.yaml", "muster up my-cluster.yaml --rehearse",
                        "echo x | muster secret set token -c shop"):
            status, text = one.run(command)
            assert status == 0, text
        yield one
    finally:
        left = one.close()
    assert left == []


class Shell:
    """An interactive shell that has read nothing but muster's completion."""

    def __init__(self, world, *words, **environment):
        self.main, other = pty.openpty()
        fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
        self.process = subprocess.Popen(
            words, cwd=world.folder, env={**world.environment, "HOME": str(world.folder), **environment}, stdin=other,
            stdout=other, stderr=other, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(other)
        self.text = ""

    def type(self, text):
        os.write(self.main, text.encode())

    def read_until(self, pattern, seconds=20):
        """Takes what came up to there; returns the match."""
        end = time.monotonic() + seconds
        while True:
            found = re.search(pattern, self.text)
            if found:
                self.text = self.text[found.end():]
                return found
            assert time.monotonic() < end, f"{pattern!r} did not come; there is:\n{self.text!r}"
            if select.select([self.main], [], [], 0.1)[0]:
                self.text += os.read(self.main, 65536).decode(errors="replace")

    def line_after_tab(self, typed):
        """Tab is followed by a key that asks the shell for its line, so there is nothing to wait for but the answer."""
        self.type(typed + "\t\x18")
        return self.read_until(r"<<(.*?)>>")[1].rstrip(" ")

    def close(self):
        os.kill(self.process.pid, signal.SIGHUP)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.main)


BASH = r"""
PS1='ready$ '
source <(muster completion bash)
show() { printf '<<%s>>\n' "$READLINE_LINE"; READLINE_LINE=; READLINE_POINT=0; }
bind 'set bell-style none'
bind 'set enable-bracketed-paste off'
bind -x '"\C-x": show'
"""
ZSH = r"""
PS1='ready$ '
autoload -Uz compinit && compinit -u -D
source <(muster completion zsh)
show() { print -r -- "<<$BUFFER>>"; BUFFER= }
zle -N show
bindkey -r '^X'
bindkey '^X' show
unsetopt zle_bracketed_paste; unset zle_bracketed_paste
KEYTIMEOUT=1
"""


@pytest.fixture(scope="module")
def bash(world):
    (world.folder / "rc.bash").write_text(BASH)
    shell = Shell(world, "bash", "--noprofile", "--rcfile", "rc.bash", "-i", TERM="xterm", INPUTRC="/dev/null")
    shell.read_until(r"ready\$ ")
    yield shell
    shell.close()


@pytest.fixture(scope="module")
def zsh(world):
    (world.folder / "zdot").mkdir()
    (world.folder / "zdot" / ".zshrc").write_text(ZSH)
    shell = Shell(world, "zsh", "-d", "-i", TERM="xterm", ZDOTDIR=str(world.folder / "zdot"))
    shell.read_until(r"ready\$ ")
    yield shell
    shell.close()


def installed(shell):
    assert shutil.which(shell), f"{shell} is not installed; tools/dev setup installs it"


@pytest.mark.parametrize("typed,line", TYPED, ids=[typed for typed, _ in TYPED])
def test_bash(bash, typed, line):
    assert bash.line_after_tab(typed) == line


def test_bash_after_a_pipe(bash):
    assert bash.line_after_tab("echo x | muster secret ro") == "echo x | muster secret rotate"


@pytest.mark.parametrize("typed,line", TYPED, ids=[typed for typed, _ in TYPED])
def test_zsh(zsh, typed, line):
    assert zsh.line_after_tab(typed) == line


def fish(world, typed):
    """fish tells what it would offer for a line."""
    (world.folder / "try.fish").write_text("muster completion fish | source\ncomplete -C \"$argv[1]\"\n")
    done = subprocess.run(["fish", "--no-config", "try.fish", typed], cwd=world.folder, capture_output=True, text=True,
                          env={**world.environment, "HOME": str(world.folder)}, check=True, timeout=60)
    return done.stdout.split("\n")[:-1]


@pytest.mark.parametrize("typed,line", TYPED, ids=[typed for typed, _ in TYPED])
def test_fish(world, typed, line):
    installed("fish")
    word = line.split(" ")[-1]
    offered = [one.split("\t")[0] for one in fish(world, typed)]
    if typed.startswith("muster nonsen"):
        assert offered == []
    elif typed == "muster ps -c sh":
        assert offered == ["shop", "shop@rehearsal"]
    else:
        assert offered == [word]


def test_fish_offers_all_where_nothing_is_begun(world):
    assert fish(world, "muster secret ") == ["delete", "list", "rotate", "set"]
    assert fish(world, "muster logs -c shop ") == ["gateway", "gateway-1", "gateway-2", "ledger", "ledger-1"]


def test_each_command_is_offered(world):
    """What `--help` lists is what Tab offers, in each command's own words."""
    overview = subprocess.run([BUILD / "muster", "--help"], capture_output=True, text=True, check=True).stdout
    listed = {found.split("  ")[0].strip() for found in re.findall(r"^  (\S.*)$", overview, re.MULTILINE)}
    assert len(listed) > 20
    firsts = set(fish(world, "muster "))
    assert firsts == {name.split(" ")[0] for name in listed}
    for first in {name.split(" ")[0] for name in listed if " " in name}:
        assert set(fish(world, f"muster {first} ")) == {name.split(" ")[1] for name in listed
                                                        if name.startswith(first + " ")}
