#!/usr/bin/python3
"""Fails where tests left processes running: names them, and kills them.

    tools/leftovers.py SINCE [PATTERN…]   SINCE in seconds of the epoch; folders by default /tmp/mt-*, /tmp/muster-*, /tmp/must-*

Left is what works in such a folder, has a file open there or names it as MUSTER_HOME, and hangs below nobody but pid 1
and others that are left: what has a living parent belongs to a test that is still under way somewhere else. So does
what uses a folder made before SINCE.
"""
import contextlib
import fnmatch
import os
import pathlib
import signal
import sys
import time

PATTERNS = ["/tmp/mt-*", "/tmp/muster-*", "/tmp/must-*"]
PATIENCE = 5  # seconds, for what is just ending


def folder_of(path, patterns):
    """The temporary folder that `path` is in, or ""."""
    top = "/".join(path.split("/")[:3])
    return top if any(fnmatch.fnmatch(top, pattern) for pattern in patterns) else ""


def paths_of(process):
    """What the process works in, has open and takes for its home."""
    yield os.readlink(process / "cwd")
    for fd in os.listdir(process / "fd"):
        with contextlib.suppress(OSError):
            yield os.readlink(process / "fd" / fd)
    for word in (process / "environ").read_bytes().split(b"\0"):
        if word.startswith(b"MUSTER_HOME="):
            yield word.partition(b"=")[2].decode(errors="replace")


def since(folder, began):
    try:
        return os.stat(folder).st_ctime >= began
    except OSError:
        return True  # removed already, which a test under way would not have done


def left(began, patterns):
    """{pid: (folder, command)} of what nobody looks after any more."""
    found, parents = {}, {}
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        pid = int(process.name)
        try:
            state, parent = (process / "stat").read_text().rpartition(")")[2].split()[:2]
            folders = {folder_of(path, patterns) for path in paths_of(process)} - {""}
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        folders = {folder for folder in folders if since(folder, began)}
        if state != "Z" and folders and pid != os.getpid():
            found[pid], parents[pid] = (min(folders), command[:120]), int(parent)
    while True:
        kept = {pid: one for pid, one in found.items() if parents[pid] == 1 or parents[pid] in found}
        if len(kept) == len(found):
            return found
        found = kept


def tidy_groups():
    """Cgroups of unit tests (clusters t1a2b3c4d) that were killed: rmdir takes only those without a process."""
    for group in sorted(pathlib.Path("/sys/fs/cgroup").glob("**/muster/t????????/**/"), reverse=True):
        with contextlib.suppress(OSError):
            group.rmdir()


def main():
    tidy_groups()
    began, patterns = int(sys.argv[1]), sys.argv[2:] or PATTERNS
    end = time.monotonic() + PATIENCE
    there = left(began, patterns)
    while there and time.monotonic() < end:
        time.sleep(0.05)  # between two looks at what may be ending
        there = {pid: one for pid, one in left(began, patterns).items() if there.get(pid) == one}
    for pid, (folder, command) in sorted(there.items()):
        print(f"left running: {pid} in {folder}: {command}")
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    return 1 if there else 0


sys.exit(main())
