#!/usr/bin/python3
"""Lints what git tracks: shell with shellcheck, Python with pyflakes, C++ with clang-tidy (.clang-tidy).

    tools/lint.py             all of it
    tools/lint.py --changed   C++ only where it differs from where this branch left main (on main: from the commit
                              before), headers through one source that includes them; scripts always
    tools/lint.py FILE…       these sources of C++ only

A C++ file that was clean is not looked at again until it, a header of ours that it reaches, its compile command, the
checks or clang-tidy change: what was clean is remembered by that content in build-lint/clean. Headers of packages
count through clang-tidy's version alone; `rm -r build-lint` forgets all.
"""
import argparse
import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import time

TOP = pathlib.Path(__file__).resolve().parent.parent
BUILD = TOP / "build-lint"
CLEAN = BUILD / "clean"
TIDY = "clang-tidy-14"
INCLUDE = re.compile(rb'^\s*#\s*include\s*"([^"]+)"', re.MULTILINE)


def output_of(*command, check=True):
    return subprocess.run(command, cwd=TOP, check=check, capture_output=True, text=True).stdout


def tracked():
    """All files that git knows or would add."""
    listed = output_of("git", "ls-files", "--cached", "--others", "--exclude-standard").splitlines()
    return [name for name in sorted(set(listed)) if (TOP / name).is_file()]


def first_line(name):
    with open(TOP / name, "rb") as file:
        return file.readline(200)


def scripts(names, ending, shebang):
    return [name for name in names if name.endswith(ending) or ("." not in os.path.basename(name) and
                                                                re.match(shebang, first_line(name)))]


def run_script_linter(what, command, names):
    done = subprocess.run([*command, *names], cwd=TOP, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        print(done.stdout + done.stderr, end="")
    print(f"lint: {what}: {len(names)} files{'' if done.returncode == 0 else ', not clean'}")
    return done.returncode == 0


def compile_commands():
    """Source → its compile command, as clang would be called."""
    # Each time, as new sources are found by CMake only; without precompiled headers, which nobody builds here.
    output_of("cmake", "-S", str(TOP), "-B", str(BUILD), "-G", "Ninja", "-DCMAKE_CXX_COMPILER=clang++-14",
              "-DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON", "-DMUSTER_UNITY=OFF")
    commands = {}
    for entry in json.loads((BUILD / "compile_commands.json").read_text()):
        path = pathlib.Path(entry["file"])
        if path.is_relative_to(TOP) and not path.is_relative_to(BUILD):
            commands[str(path.relative_to(TOP))] = entry["command"]
    return commands


class Includes:
    """Which headers of ours a file reaches, read without a compiler."""

    def __init__(self):
        self.direct = {}

    def of(self, name):
        if name not in self.direct:
            found = []
            for word in INCLUDE.findall((TOP / name).read_bytes()):
                word = word.decode()
                for base in ("src", os.path.dirname(name), "examples/app"):
                    candidate = os.path.normpath(os.path.join(base, word))
                    if (TOP / candidate).is_file():
                        found.append(candidate)
                        break
            self.direct[name] = found
        return self.direct[name]

    def reach(self, name):
        seen, todo = {name}, [name]
        while todo:
            for header in self.of(todo.pop()):
                if header not in seen:
                    seen.add(header)
                    todo.append(header)
        return seen


def changed_since_main():
    """Names that differ from where this branch left main, or None where that can't be told."""
    # This checkout's own main counts; a clone of another branch, as CI may make it, has only that of its origin.
    for main in ("main", "origin/main"):
        base = output_of("git", "merge-base", "HEAD", main, check=False).strip()
        if base:
            break
    else:
        return None
    if base == output_of("git", "rev-parse", "HEAD").strip():
        base = output_of("git", "rev-parse", "--verify", "-q", "HEAD~1", check=False).strip()
        if not base:
            return None
    differing = output_of("git", "diff", "--name-only", base).splitlines()
    return set(differing) | set(output_of("git", "ls-files", "--others", "--exclude-standard").splitlines())


def choose(sources, includes, changed):
    """The sources to look at so that each changed file is seen once. (Other checks in .clang-tidy are for the run over
    all of it: that takes too long here.)"""
    chosen = [name for name in sources if name in changed]
    seen = set()
    for name in chosen:
        seen |= includes.reach(name)
    for header in sorted(name for name in changed if name.endswith(".h")):
        if header in seen:
            continue
        users = [name for name in sources if header in includes.reach(name)]
        users.sort(key=lambda name: (name[:-3] != header[:-2], len(includes.reach(name))))
        if users:
            chosen.append(users[0])
            seen |= includes.reach(users[0])
    return chosen


def tidy(name, key):
    done = subprocess.run([TIDY, "-p", str(BUILD), "--quiet", name], cwd=TOP, check=False, capture_output=True,
                          text=True)
    if done.returncode == 0:
        (CLEAN / key).touch()
        return ""
    errors = [line for line in done.stderr.splitlines() if not re.match(r"\d+ warnings? (generated|treated)", line)]
    return (done.stdout + "\n".join(errors)).strip() or f"{name}: {TIDY} ended with {done.returncode}"


def lint_cpp(names, only_changed, jobs):
    includes = Includes()
    commands = compile_commands()
    sources = [name for name in names if name in commands]
    if only_changed:
        changed = changed_since_main()
        if changed is None:
            print("lint: C++: nothing to compare with here; `tools/dev check` looks at all of it")
            return True
        sources = choose(sources, includes, changed)
    CLEAN.mkdir(parents=True, exist_ok=True)
    ground = hashlib.sha256()
    ground.update((TOP / ".clang-tidy").read_bytes())
    ground.update(output_of(TIDY, "--version").encode())
    todo, digests = [], {}
    for name in sources:
        key = ground.copy()
        words = shlex.split(commands[name])
        key.update("\0".join(words).replace(str(TOP), "").encode())
        for file in sorted(includes.reach(name)):
            if file not in digests:
                digests[file] = hashlib.sha256((TOP / file).read_bytes()).digest()
            key.update(file.encode() + digests[file])
        if not (CLEAN / key.hexdigest()).exists():
            todo.append((name, key.hexdigest()))
    started = time.monotonic()
    said, bad = set(), 0
    # The largest first, so that none of them is left to run alone at the end.
    todo.sort(key=lambda one: -len(includes.reach(one[0])))
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for name, text in zip((name for name, _ in todo), pool.map(lambda one: tidy(*one), todo)):
            if not text:
                continue
            bad += 1
            for part in re.split(r"\n(?=\S+:\d+:\d+: (?:error|warning))", text):
                if part not in said:  # a header is reported by each source that includes it
                    said.add(part)
                    print(part.replace(str(TOP) + "/", ""), flush=True)
    print(f"lint: C++: {len(sources)} files, {len(todo)} of them looked at in {time.monotonic() - started:.0f} s"
          f"{f', {bad} not clean' if bad else ''}")
    return bad == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--changed", action="store_true")
    parser.add_argument("files", nargs="*")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args()
    if options.files:
        named = [os.path.relpath(name, TOP) for name in options.files]
        return 0 if lint_cpp(named, False, options.jobs) else 1
    names = tracked()
    shell = scripts(names, ".sh", rb"#!.*\b(ba)?sh\b")
    python = scripts(names, ".py", rb"#!.*\bpython")
    good = run_script_linter("shell", ["shellcheck", "-x"], shell)
    good = run_script_linter("Python", ["pyflakes3"], python) and good
    good = lint_cpp(names, options.changed, options.jobs) and good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
