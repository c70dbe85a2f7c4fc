#!/usr/bin/python3
"""Holds the comments of the headers under src/ to what a caller has to know without reading the source:

    where it may be used   "thread", "loop", "pool" or "pure" stands in a comment
    what can go wrong      where a function returns a Result or a Status: a code in quotes, or a word on where its
                           errors come from ("errors of …", "codes of …")
    and that it is so      each quoted code of a sentence "Code …" stands in docs/findings.md

Headers of tests (testing*.h, *_test.h) count for nothing. Units and owners no script can tell: readers look for them.
"""
import pathlib
import re
import sys

TOP = pathlib.Path(__file__).resolve().parent.parent
OF_TESTS = re.compile(r"^testing|_test\.h$")
COMMENT = re.compile(r"//(?!/)(.*)$")
PLACE = re.compile(r"\b(?:threads?|loops?|pools?|pure)\b", re.IGNORECASE)
FAILS = re.compile(r"\b(?:Result<.+>|Status)>?\s+\w+\(")
SENTENCE = re.compile(r"\bcodes? (\"[^.:;]*)", re.IGNORECASE)
LIST = re.compile(r"\bcodes?:([^.]*)", re.IGNORECASE)
QUOTED = re.compile(r'"([a-z][a-z0-9]*(?:-[a-z0-9]+)*)"')
SOURCE = re.compile(r"\b(?:errors|codes)\b", re.IGNORECASE)
DOCUMENTED = re.compile(r"`([a-z][a-z0-9]*(?:-[a-z0-9]+)*)`")


def parts_of(text):
    """The code without comments, and the comments as one text."""
    code, comments = [], []
    for line in text.splitlines():
        found = COMMENT.search(line)
        code.append(line[:found.start()] if found else line)
        if found:
            comments.append(found[1].strip())
    return "\n".join(code), " ".join(comments)


def problems_of(text, known):
    """What the comments of a header with this text don't say. `known` are the codes that are documented."""
    code, comments = parts_of(text)
    problems = []
    if not PLACE.search(comments):
        problems.append("says nothing of where it may be used: pure, any thread, the loop's thread, or the pool")
    promised = set()
    for sentence in [*SENTENCE.findall(comments), *LIST.findall(comments)]:
        promised.update(QUOTED.findall(sentence))
    for wrong in sorted(promised - known):
        problems.append(f'promises the code "{wrong}", which docs/findings.md doesn\'t have')
    # On one line, since what is returned may stand above the function's name.
    if FAILS.search(re.sub(r"\s+", " ", code)) and not promised and not SOURCE.search(comments):
        problems.append("has functions that can fail: name their codes, or where their errors come from")
    return problems


def documented():
    return set(DOCUMENTED.findall((TOP / "docs/findings.md").read_text()))


def main():
    known, bad, seen = documented(), 0, 0
    for path in sorted((TOP / "src").rglob("*.h")):
        if OF_TESTS.search(path.name):
            continue
        seen += 1
        for problem in problems_of(path.read_text(), known):
            bad += 1
            print(f"{path.relative_to(TOP)}: {problem}")
    if not bad:
        print(f"{seen} headers say where they may be used and how they fail: 1 passed, 0 failed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
