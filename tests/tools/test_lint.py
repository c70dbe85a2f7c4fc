"""What tools/lint.py chooses to look at."""
import pathlib
import sys

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tools"))

import lint  # noqa: E402


class Includes(lint.Includes):
    """Of files that are only told of."""

    def __init__(self, direct):
        super().__init__()
        self.direct = direct


SOURCES = ["src/a/bread.cc", "src/a/oven.cc", "src/b/shop.cc"]
INCLUDES = {
    "src/a/bread.cc": ["src/a/bread.h"], "src/a/oven.cc": ["src/a/oven.h", "src/a/bread.h"],
    "src/b/shop.cc": ["src/a/oven.h"], "src/a/oven.h": ["src/a/flour.h"], "src/a/bread.h": [], "src/a/flour.h": [],
}


def chosen(*changed):
    return lint.choose(SOURCES, Includes(INCLUDES), set(changed))


def test_a_changed_source_is_looked_at_and_no_other():
    assert chosen("src/b/shop.cc", "README.md") == ["src/b/shop.cc"]
    assert chosen() == []


def test_a_changed_header_is_seen_through_its_own_source():
    assert chosen("src/a/oven.h") == ["src/a/oven.cc"]
    assert chosen("src/a/flour.h") == ["src/b/shop.cc"]  # the one that reaches the least
    assert chosen("src/a/unused.h") == []


def test_a_header_that_a_chosen_source_shows_needs_no_other():
    assert chosen("src/b/shop.cc", "src/a/oven.h", "src/a/flour.h") == ["src/b/shop.cc"]


def test_includes_are_followed_in_the_tree():
    reached = lint.Includes().reach("src/cli/command.cc")
    assert {"src/cli/command.cc", "src/cli/command.h", "src/base/result.h"} <= reached
    assert "src/server/api.h" not in reached


def test_scripts_without_an_ending_are_found():
    names = lint.tracked()
    assert {"tools/dev", ".ci/run"} <= set(lint.scripts(names, ".sh", rb"#!.*\b(ba)?sh\b"))
    python = lint.scripts(names, ".py", rb"#!.*\bpython")
    assert {"bench/run", "tools/lint.py", "tests/tools/test_lint.py"} <= set(python)
