#!/usr/bin/python3
"""What stands in the documentation and can be tried.

A page's blocks marked `console` are run in their order, in one folder and with one MUSTER_HOME per page: `$ COMMAND`,
what it prints, and `[exit N]` where its exit code isn't 0. A line `…` stands for any number of lines, a `…` within a
line for any text. A block after `<!-- file: NAME -->` is written to NAME first. The folder looks like the checkout:
`build/` and `examples/` are there.

What differs from run to run is not compared: times, sizes, pids, ids, who runs it, how wide a column is. Ports and the
block 127.77.1.0/24 of a rehearsal are as on the page for the reader, and what is free for the run. A command that only
looks is asked again for a while: what was done before it may take a moment to show.

    tests/docs/pages.py PAGE…           tells what the program prints instead
    tests/docs/pages.py --write PAGE…   and writes it into the page; where a line beside a `…` has changed, all lines come
                                        and want to be trimmed again

`<!-- made by: COMMAND -->` begins a part that ends at `<!-- end -->` and is what COMMAND prints; --write renews it.
"""
import argparse
import getpass
import pathlib
import random
import re
import shutil
import socket
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parent.parent
sys.path.insert(0, str(HERE.parent / "scenarios"))

from test_scenarios import BUILD, World, matches  # noqa: E402

LOOKS = re.compile(r"muster (ps|status|logs|history)\b")
LOOKS_SECONDS = 20
PORT = re.compile(r"\b8[0-9]{3}\b")
NUMBER = re.compile(r"\b[0-9]{4}\b")
FILE = re.compile(r"<!-- file: (\S+) -->")
MADE = re.compile(r"<!-- made by: (.+) -->")


def all_pages():
    return sorted([TOP / "README.md", TOP / "README.zh-CN.md", *(TOP / "docs").rglob("*.md")])


class Command:
    def __init__(self, line, text):
        self.line = line  # its index in the page
        self.text = text
        self.expected = []
        self.exit = 0
        self.until = line + 1  # the index after what it prints


def parts_of(lines):
    """("file", name, text) and Command, in the order of the page."""
    parts, i, name = [], 0, None
    while i < len(lines):
        marked = FILE.fullmatch(lines[i].strip())
        fence = re.fullmatch(r"```(\w*)", lines[i])
        if marked:
            name = marked[1]
        if not fence:
            i += 1
            continue
        begin = i + 1
        end = next(at for at in range(begin, len(lines)) if lines[at] == "```")
        if name:
            parts.append(("file", name, "\n".join(lines[begin:end]) + "\n"))
            name = None
        elif fence[1] == "console":
            parts += commands_of(lines, begin, end)
        i = end + 1
    return parts


def commands_of(lines, begin, end):
    found, i = [], begin
    while i < end:
        line = lines[i]
        if line.startswith("$ "):
            command, text = Command(i, line[2:]), line[2:]
            while text.endswith("\\"):
                i += 1
                text = text[:-1] + lines[i].lstrip("> ")
            command.text, command.until = text, i + 1
            found.append(command)
        elif not found:
            raise ValueError(f"line {i + 1}: a console block begins with a command")
        else:
            command = found[-1]
            code = re.fullmatch(r"\[exit (\d+)\]", line)
            if code:
                command.exit = int(code[1])
            else:
                command.expected.append(line)
            if line.strip():
                command.until = i + 1
        i += 1
    for command in found:
        while command.expected and not command.expected[-1].strip():
            command.expected.pop()
    return found


SAME = [
    (re.compile(r"\b\d{4}[-/]\d\d[-/]\d\d \d\d:\d\d:\d\d(\.\d+)?\b"), "DATE"),
    (re.compile(r"\b\d+(\.\d+)? ?(KB|MB|GB|B)\b"), "SIZE"),
    (re.compile(r"\b(\d+(\.\d+)?(ms|s|m|h|d))+\b"), "TIME"),
    (re.compile(r"\bpid \d+"), "pid N"),
    (re.compile(r"(\"(?:pid|memory_bytes|probe_age_ms|since|at_ms|at|created|started|ended|updated)\": ?)\d+"), r"\1N"),
    (re.compile(r"\b\d+(\s+TIME\b)"), r"N\1"),  # the pid before FOR
    (re.compile(r"\bSIZE\s+\d+(?=\s|$)"), "SIZE N"),  # the offset behind MEMORY
    # Which of a shard's members ends as its primary is up to a busy machine.
    (re.compile(r"\b(primary of \d+-\d+|replica of \S+, SIZE behind)"), "ROLE"),
    (re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{8,64}\b"), "ID"),
    (re.compile(r"\s+"), " "),
    (re.compile(r" after TIME$"), ""),  # said where it took a while
]


def plain(line, world):
    """`line` without what differs from run to run."""
    line = line.replace(str(world.folder), "~").replace(str(world.home), "$MUSTER_HOME")
    for pattern, by in SAME:
        line = pattern.sub(by, line)
    return re.sub(rf"\b{re.escape(getpass.getuser())}\b", "root", line).strip()


class Ports:
    """A number that makes all of these ports free ones, of four digits still. Others that play pages at the same time
    keep off the hundreds that it takes, until it is closed."""

    def __init__(self, ports, others):
        """`others`: numbers that stay what they are, so that none of these ports may become one of them."""
        offsets = [*range(-6900, -900, 100), *range(1000, 1900, 100)]
        offsets = [offset for offset in offsets if not others & {port + offset for port in ports}]
        random.shuffle(offsets)
        for self.offset in offsets:
            self.held = []
            if self.hold({(port + self.offset) // 100 for port in ports}) and self.free(ports):
                return
            self.close()
        raise RuntimeError("no free ports found")

    def hold(self, hundreds):
        for hundred in sorted(hundreds):
            lock = socket.socket(socket.AF_UNIX)
            self.held.append(lock)
            try:
                lock.bind(f"\0muster-pages-{hundred}")  # gone with its process
            except OSError:
                return False
        return True

    def free(self, ports):
        for port in ports:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("0.0.0.0", port + self.offset))
                except OSError:
                    return False
        return True

    def close(self):
        for lock in self.held:
            lock.close()


class Play:
    """The folder that a page's commands run in."""

    def __init__(self, text):
        self.world = World()
        (self.world.folder / "build").symlink_to(BUILD)
        shutil.copytree(TOP / "examples", self.world.folder / "examples")
        files = [path for path in (self.world.folder / "examples").rglob("*") if path.suffix in (".yaml", ".yml")]
        texts = [text, *(path.read_text() for path in files)]
        named = {int(port) for one in texts for port in PORT.findall(one)}
        near = {port + more for port in named for more in range(10)}
        others = {int(number) + more for one in texts for number in NUMBER.findall(one) for more in range(10)} - near
        self.near = near
        self.ports = Ports(sorted(near), others)
        self.offset = self.ports.offset
        self.block = "127.77.1."  # the rehearsal's, once its addresses have been seen
        for path in files:
            path.write_text(self.there(path.read_text()))

    def there(self, text):
        return PORT.sub(lambda found: str(int(found[0]) + self.offset), text)

    def back(self, text):
        return NUMBER.sub(lambda found: str(int(found[0]) - self.offset)
                      if int(found[0]) - self.offset in self.near else found[0], text)

    def file(self, name, text):
        path = self.world.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.there(text))

    def run(self, command):
        """What it printed, as the page would show it, and its exit code."""
        status, text = self.world.run(self.there(command.text).replace("127.77.1.", self.block))
        if seen := re.search(r"\b127\.77\.\d+\.", text):
            self.block = seen[0]
        text = text.replace(self.block, "127.77.1.")
        lines = [line.rstrip() for line in self.back(text).rstrip("\n").split("\n")] if text.strip() else []
        return status, lines

    def pattern(self, line):
        return "[...]" if line.strip() == "…" else plain(line, self.world).replace("…", "[..]")

    def agrees(self, command, status, lines):
        expected = [self.pattern(line) for line in command.expected]
        return status == command.exit and matches(expected, [plain(line, self.world) for line in lines])

    def renewed(self, expected, lines):
        """`lines` as the page would say them: its own where they still agree, a `…` where it had one."""
        said, at, gap, changed = [], 0, False, False
        for line in [*expected, None]:
            if line is not None and line.strip() == "…":
                gap = True
                continue
            found = len(lines) if line is None else next(
                (i for i in range(at, len(lines)) if matches([self.pattern(line)], [plain(lines[i], self.world)])), None)
            if found is None:
                changed = True
                continue
            between = lines[at:found]
            said += ["…"] if between and gap and not changed else between
            said += [] if line is None else [line]
            at, gap, changed = found + 1, False, False
        return said


def try_page(path, write=False):
    """Runs a page. Returns what is not as it says there, and what stayed behind."""
    text = path.read_text()
    lines = text.split("\n")
    parts = parts_of(lines)
    if not any(isinstance(part, Command) for part in parts):
        return [], []
    if not (BUILD / "muster").exists():
        raise FileNotFoundError(f"{BUILD}/muster is not built")
    play, problems, changes = Play(text), [], []
    try:
        for part in parts:
            if not isinstance(part, Command):
                play.file(*part[1:])
                continue
            status, printed = play.run(part)
            end = time.monotonic() + LOOKS_SECONDS
            while not play.agrees(part, status, printed) and part.expected and LOOKS.match(part.text) and \
                    time.monotonic() < end:
                time.sleep(0.1)
                status, printed = play.run(part)
            if play.agrees(part, status, printed):
                continue
            said = "\n".join(printed + ([f"[exit {status}]"] if status else []))
            problems.append(f"{path.name}:{part.line + 1}: $ {part.text}\n--- it prints\n{said}\n--- the page says\n" +
                            "\n".join(part.expected + ([f"[exit {part.exit}]"] if part.exit else [])))
            renewed = play.renewed(part.expected, printed)
            changes.append((part, "\n".join(renewed + ([f"[exit {status}]"] if status else []))))
            if not write:
                break  # what follows stands on it
    finally:
        left = play.world.close()
        play.ports.close()
    if write:
        for part, said in reversed(changes):
            first = part.line
            while lines[first].endswith("\\"):
                first += 1
            said = said.replace(str(play.world.folder), "~").replace(str(play.world.home), "$MUSTER_HOME")
            lines[first + 1:part.until] = said.split("\n") if said else []
        path.write_text("\n".join(lines))
    return problems, left


def made_parts(text):
    """(first index, index of the end mark, command) of each part that a command makes."""
    lines = text.split("\n")
    for i, line in enumerate(lines):
        mark = MADE.fullmatch(line.strip())
        if mark:
            end = next(at for at in range(i, len(lines)) if lines[at].strip() == "<!-- end -->")
            yield i + 1, end, mark[1]


def made(command):
    words = command.split()
    assert words[0] == "muster", command
    return subprocess.run([str(BUILD / "muster"), *words[1:]], capture_output=True, text=True, check=True).stdout


def renew(path):
    lines = path.read_text().split("\n")
    for begin, end, command in reversed(list(made_parts("\n".join(lines)))):
        lines[begin:end] = made(command).rstrip("\n").split("\n")
    path.write_text("\n".join(lines))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("pages", nargs="+", type=pathlib.Path)
    options = parser.parse_args()
    bad = False
    for path in options.pages:
        if options.write:
            renew(path)
        problems, left = try_page(path, options.write)
        bad = bad or bool(problems) or bool(left)
        print("\n\n".join(problems + left) or f"{path}: as it says")
    return 1 if bad and not options.write else 0


if __name__ == "__main__":
    sys.exit(main())
