"""tools/leftovers.py names and ends what tests left, and leaves alone what somebody still looks after."""

import os
import pathlib
import subprocess
import sys
import tempfile
import time

TOOL = pathlib.Path(__file__).resolve().parents[2] / "tools" / "leftovers.py"


def look(folder, began):
    return subprocess.run([sys.executable, TOOL, str(began), folder], capture_output=True, text=True, timeout=30)


def test_names_and_ends_orphans_only():
    began = int(time.time())
    with tempfile.TemporaryDirectory(prefix="leftovers-", dir="/tmp") as folder:
        assert look(folder, began).returncode == 0
        minded = subprocess.Popen(["sleep", "1000"], cwd=folder)
        # The shell ends at once: its child is an orphan from then on.
        orphan = int(subprocess.run(["sh", "-c", "sleep 1001 >/dev/null 2>&1 & echo $!"], cwd=folder, capture_output=True,
                                    text=True, check=True).stdout)
        try:
            assert look(folder, began + 1000).returncode == 0  # folders of an earlier run
            done = look(folder, began)
            assert done.returncode == 1
            assert f"left running: {orphan} in {folder}: sleep 1001" in done.stdout
            assert str(minded.pid) not in done.stdout and minded.poll() is None
            assert look(folder, began).returncode == 0
        finally:
            minded.kill()
            minded.wait()
            if os.path.exists(f"/proc/{orphan}/cwd") and os.access(f"/proc/{orphan}/cwd", os.R_OK):
                os.kill(orphan, 9)
