"""tools/dev: what failed beside others is tried once more, but never what looks for lost data."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
# Fails the first time, and passes after that.
LUCKY = """
import pathlib
import pytest
{marker}
def test_lucky():
    before = pathlib.Path(__file__).with_suffix(".before")
    if not before.exists():
        before.touch()
        raise AssertionError("the first time")
"""


def twice(folder):
    """pytest_twice of tools/dev, in `folder`."""
    dev = (TOP / "tools" / "dev").read_text()
    functions = [re.search(rf"^{name}\(\) \{{.*?\}}$", dev, re.MULTILINE | flags)[0]
                 for name, flags in (("pytest", 0), ("pytest_twice", re.DOTALL))]
    script = "set -euo pipefail\n" + "\n".join(functions) + "\npytest_twice test_some.py\n"
    assert "/usr/bin/python3" in functions[0]
    return subprocess.run(["bash", "-c", script.replace("/usr/bin/python3", sys.executable)], cwd=folder, text=True,
                          capture_output=True, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}, timeout=60)


def test_what_passes_the_second_time_counts_and_is_named(tmp_path):
    (tmp_path / "test_some.py").write_text(LUCKY.format(marker=""))
    done = twice(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "weak test_some.py::test_lucky" in done.stdout and "1 passed, run twice" in done.stdout


@pytest.mark.parametrize("others", ["", "\ndef test_other():\n    assert False\n"])
def test_what_looks_for_lost_data_stays_failed(tmp_path, others):
    (tmp_path / "test_some.py").write_text(LUCKY.format(marker="@pytest.mark.never_again") + others)
    done = twice(tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "weak" not in done.stdout and "never again: test_some.py::test_lucky" in done.stdout, done.stdout


def test_every_test_that_looks_for_lost_data_is_marked_so():
    """By what those call that look."""
    looks = re.compile(r"\.read_back\(|[._]lost\(|\bkeys_in\(|\bDBSIZE\b|\bwas lost\b|\bdata was lost\b")
    found = [path for path in (TOP / "tests" / "integration").glob("test_*.py") if looks.search(path.read_text())]
    assert len(found) >= 6
    assert not [path.name for path in found if "pytest.mark.never_again" not in path.read_text()]
