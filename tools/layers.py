#!/usr/bin/python3
"""Holds the includes of src/ to the layers of ARCHITECTURE.md: each folder names what it may include."""
import pathlib
import re
import sys

KNOWS = {
    "base": [], "net": ["base"], "model": ["base"], "spec": ["model"], "recipes": ["model", "net"],
    "plan": ["recipes"], "api": ["model"], "runtime": ["model"], "agent": ["api", "runtime", "recipes", "net"],
    "store": ["model"], "control": ["api", "plan", "store", "net"], "server": ["control", "spec", "net"],
    "cli": ["api", "spec", "plan", "net"], "push": ["base", "net"],
}
LINES_MOST = 650


def reach(folder: str) -> set[str]:
    seen, todo = {folder}, [folder]
    while todo:
        for below in KNOWS[todo.pop()]:
            if below not in seen:
                seen.add(below)
                todo.append(below)
    return seen


def main() -> int:
    source = pathlib.Path(__file__).resolve().parent.parent / "src"
    problems, files = [], 0
    for path in sorted(source.rglob("*")):
        if path.suffix not in (".h", ".cc"):
            continue
        files += 1
        folder = path.relative_to(source).parts[0]
        lines = path.read_text().splitlines()
        if len(lines) > LINES_MOST:
            problems.append(f"{path}: {len(lines)} lines; cut it")
        if folder == "main":
            continue
        allowed = reach(folder)
        for number, line in enumerate(lines, 1):
            found = re.match(r'#include "([a-z]+)/', line)
            if found and found[1] not in allowed:
                problems.append(f"{path}:{number}: {folder}/ may not include {found[1]}/")
    print("\n".join(problems) or f"{files} files keep to their layers: 1 passed, 0 failed")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
