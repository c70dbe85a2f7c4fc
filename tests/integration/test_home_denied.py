"""A home that another user owns, or that is closed, is told as that: it is not that nothing runs."""
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest
from conftest import BUILD

NOBODY = 65534
COMMANDS = (["status"], ["ps"], ["history"], ["audit"], ["server", "status"], ["server", "stop"],
            ["secret", "list", "-c", "shop"], ["check", "some.yaml"], ["plan", "some.yaml"], ["up", "some.yaml"])


@pytest.fixture
def someone():
    """Runs muster as a user to whom the home is closed: nobody, or where we aren't root ourselves."""
    folder = pathlib.Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    home = folder / "h"
    (home / "server").mkdir(parents=True)
    (folder / "some.yaml").write_text("cluster: shop\nservices:\n  a: { kind: app, command: sleep 9 }\n")
    other = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}

    def run(*words):
        return subprocess.run([str(BUILD / "muster"), *words], cwd=folder, capture_output=True, text=True, timeout=60,
                              env={**os.environ, "MUSTER_HOME": str(home)}, **other)

    run.home = home
    yield run
    for path in (home, home / "server"):
        path.chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.parametrize("closed", ["", "server"])
def test_every_command_says_so_and_none_that_nothing_runs(someone, closed):
    (someone.home / closed).chmod(0o700 if os.geteuid() == 0 else 0)
    for words in COMMANDS:
        told = someone(*words)
        assert told.returncode == 1, (words, told)
        assert "[home-denied]" in told.stderr and "fix: " in told.stderr, (words, told)
        assert "nothing runs" not in told.stdout + told.stderr
    assert json.loads(someone("status", "--json").stdout)["error"]["code"] == "home-denied"
    doctor = someone("doctor")
    assert doctor.returncode == 1 and "error    home: " in doctor.stdout, doctor
    assert "none runs" not in doctor.stdout
    # What needs no home goes on.
    assert someone("check", "some.yaml", "--file-only").returncode == 0
    assert someone("version").returncode == 0


def test_a_home_that_is_not_there_yet_is_no_error(someone):
    (someone.home / "server").rmdir()
    someone.home.rmdir()
    try:
        told = someone("status")
        assert told.returncode == 0 and "nothing runs here" in told.stdout, told
    finally:
        (someone.home / "server").mkdir(parents=True)
