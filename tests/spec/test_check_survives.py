"""`muster check` on files made from the schema and spoilt: it answers in time, in UTF-8, and never dies."""
import json
import os
import random
import subprocess

from test_schema import MUSTER, Maker, ecma, yaml_of

FILES = 150
SECONDS_MOST = 20  # for one file, on a machine that is busy


def test_check_answers_whatever_the_file_says(tmp_path):
    schema = json.loads(subprocess.run([MUSTER, "schema"], check=True, capture_output=True, text=True).stdout)
    chance = random.Random(7)
    maker = Maker(ecma(schema), chance)
    environment = {**os.environ, "MUSTER_HOME": str(tmp_path / "home")}
    answers = set()
    for number in range(FILES):
        node = maker.file()
        if number % 4:
            node = maker.spoil(node)
        name = tmp_path / f"{number}.yaml"
        name.write_bytes(yaml_of(node, chance).encode())
        done = subprocess.run([MUSTER, "check", name, "--file-only"], capture_output=True, timeout=SECONDS_MOST,
                              env=environment, check=False)
        told = (done.stdout + done.stderr).decode()  # no character is cut in half
        assert done.returncode in (0, 1), f"{name}: {done.returncode}\n{told}\n{name.read_text()}"
        assert (done.returncode == 0) == ("is right" in told), told
        answers.add(done.returncode)
    assert 1 in answers


def test_many_members_of_one_host_are_placed_at_once(tmp_path):
    name = tmp_path / "many.yaml"
    name.write_text("cluster: many\nservices:\n  web: { kind: app, command: sleep 1, instances: 20000 }\n")
    done = subprocess.run([MUSTER, "check", name, "--file-only"], capture_output=True, timeout=SECONDS_MOST, text=True,
                          check=False)
    assert done.returncode == 1 and "would hold 20000 members" in done.stderr, done.stderr
