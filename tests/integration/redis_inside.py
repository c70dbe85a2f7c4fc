"""A client of a Redis that stands on the same rehearsed host as that: whoever cuts the host off cuts it off along with it."""

import contextlib
import os
import pathlib
import subprocess
import sys

# Writes to one member alone, whatever that answers. A line for each try: when it was answered, its number, and what came of it.
INSIDE = """
import sys, time
from redis_client import Redis, Refused
address, port, key, wait = sys.argv[1:]
link, number, after = None, 0, [["WAIT", 1, 100]] if wait == "wait" else []
while True:
    number += 1
    try:
        link = link or Redis(address, port, timeout=2)
        answers = link.pipeline([["SET", f"{key}:{number}", number], *after])
        refused = next((answer.code for answer in answers if isinstance(answer, Refused)), None)
        answer = refused or ("unconfirmed" if after and answers[1] < 1 else "taken")
    except OSError as error:
        link, answer = None, type(error).__name__
    print(time.monotonic(), number, answer, flush=True)
    time.sleep(0.005)
"""


@contextlib.contextmanager
def client_inside(member, key, log, wait=False):
    """Keeps writing to `member` from inside its host's network, which needs root; gives what came of it so far: [(when, key,
    answer)], where the answer is "taken", "unconfirmed" by any replica, an error's code, or an exception's name. What was
    written to a key is the number that it ends with."""
    with open(log, "w") as out:
        process = subprocess.Popen(["nsenter", f"--net=/proc/{member['pid']}/ns/net", sys.executable, "-c", INSIDE, member["address"],
                                    str(member["ports"]["port"]), key, "wait" if wait else "plain"], stdout=out,
                                   env={**os.environ, "PYTHONPATH": str(pathlib.Path(__file__).parent)})
    try:
        yield lambda: [(float(words[0]), f"{key}:{words[1]}", words[2]) for line in log.read_text().splitlines()
                       if len(words := line.split()) == 3]
    finally:
        process.kill()
        process.wait()
