"""The documentation says what the program does: its examples run, its made parts are made, its links lead somewhere."""
import json
import re
import shutil
import subprocess
import sys

import jsonschema
import pytest
import yaml
from pages import BUILD, TOP, Command, Play, all_pages, commands_of, made, made_parts, parts_of, try_page

PAGES = all_pages()
CHINESE = TOP / "README.zh-CN.md"  # its blocks are those of README.md, which run there


def name_of(path):
    return str(path.relative_to(TOP))


def has_commands(path):
    return any(isinstance(part, Command) for part in parts_of(path.read_text().split("\n")))


@pytest.mark.parametrize("path", [path for path in PAGES if path != CHINESE and has_commands(path)], ids=name_of)
def test_examples_print_what_the_page_says(path):
    problems, left = try_page(path)
    assert not problems, problems[0] + f"\n(tests/docs/pages.py --write {name_of(path)} writes what it prints)"
    assert not left, "\n".join(left)


def test_both_readmes_say_the_same():
    english, chinese = (TOP / "README.md").read_text(), CHINESE.read_text()

    def blocks(text):
        return re.findall(r"```(?:yaml|console)\n.*?```", text, re.DOTALL)

    def links(text):
        return [link for link in re.findall(r"\]\(([^)]*)\)", text) if "README" not in link]

    assert len(blocks(english)) > 4
    assert blocks(english) == blocks(chinese)
    assert links(english) == links(chinese)
    assert [len(part) for part in re.findall(r"^#+", english, re.MULTILINE)] == \
           [len(part) for part in re.findall(r"^#+", chinese, re.MULTILINE)]


def test_made_parts_are_what_their_commands_print():
    found = []
    for path in PAGES:
        lines = path.read_text().split("\n")
        for begin, end, command in made_parts("\n".join(lines)):
            found.append(command)
            assert made(command).rstrip("\n").split("\n") == lines[begin:end], (
                f"{name_of(path)} is out of date: tests/docs/pages.py --write {name_of(path)}")
    assert "muster __docs" in found
    # Each group of commands has its page.
    wanted = set(re.findall(r"\(commands/(\w+)\.md\)", made("muster __docs")))
    assert {f"muster __docs {page}" for page in wanted} == set(found) - {"muster __docs"}


def anchors(text):
    """The names by which GitHub reaches the headings."""
    heads = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("path", [*PAGES, TOP / "ARCHITECTURE.md"], ids=name_of)
def test_links_lead_somewhere(path):
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", text)):
        if re.match(r"\w+:", target):
            continue
        name, _, anchor = target.partition("#")
        other = (path.parent / name) if name else path
        assert other.exists(), f"{name_of(path)}: {target}"
        if anchor:
            assert anchor in anchors(other.read_text()), f"{name_of(path)}: {target}"


def test_each_page_can_be_reached_from_the_readme():
    seen, todo = set(), [TOP / "README.md"]
    while todo:
        page = todo.pop()
        if page in seen:
            continue
        seen.add(page)
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
            other = (page.parent / target).resolve()
            if not re.match(r"\w+:", target):
                todo += other.glob("*.md") if other.is_dir() else [other] if other.suffix == ".md" else []
    assert [name_of(page) for page in PAGES if page not in seen] == []


def test_each_example_file_is_right():
    """Blocks that begin with `cluster:` are whole cluster files, right in their form but for those called wrong."""
    schema = json.loads(subprocess.run([BUILD / "muster", "schema"], capture_output=True, check=True).stdout)
    validator = jsonschema.Draft202012Validator(schema)
    count = 0
    for path in PAGES:
        text = path.read_text()
        for name, block in re.findall(r"(?:<!-- file: (\S+) -->\n)?```yaml\n(cluster:.*?)```", text, re.DOTALL):
            if "…" in block or name.startswith("wrong"):
                continue
            count += 1
            problems = [one.message for one in validator.iter_errors(yaml.safe_load(block))]
            assert not problems, f"{name_of(path)}: {problems}\n{block}"
    assert count >= 4


class PlayOnPaper(Play):
    """What the runner makes of texts, with nothing to run."""

    def __init__(self):
        self.world = type("Nowhere", (), {"folder": "/nowhere", "home": "/no-home"})()


def test_writing_keeps_what_was_trimmed():
    play = PlayOnPaper()
    assert play.renewed(["a", "…", "z 1s"], ["a", "b", "c", "z 2s"]) == ["a", "…", "z 1s"]
    assert play.renewed(["a", "…", "z"], ["a", "b", "new"]) == ["a", "b", "new"]
    assert play.renewed(["a", "b", "…"], ["a", "new", "c"]) == ["a", "new", "c"]
    assert play.renewed(["a …", "…"], ["a 1", "b", "c"]) == ["a …", "…"]
    assert play.renewed(["…", "b"], ["b", "more"]) == ["b", "more"]
    assert play.renewed([], ["a", "b"]) == ["a", "b"]


def test_the_page_runner_tells_a_block_from_another():
    lines = ["<!-- file: a.yaml -->", "```yaml", "cluster: a", "```", "```console", "$ one \\", "  two", "out", "",
             "[exit 2]", "$ three", "```", "```", "not run", "```"]
    parts = parts_of(lines)
    assert parts[0] == ("file", "a.yaml", "cluster: a\n")
    assert [(part.text, part.expected, part.exit) for part in parts[1:]] == [("one two", ["out"], 2), ("three", [], 0)]
    with pytest.raises(ValueError):
        commands_of(["no command"], 0, 1)


def test_the_map_is_what_is_checked():
    """The table of ARCHITECTURE.md names the folders of src/, and what tools/layers.py lets each include."""
    sys.path.insert(0, str(TOP / "tools"))
    from layers import KNOWS
    rows = re.findall(r"^\| `(\w+)/` \|.*\| ([^|]*) \|$", (TOP / "ARCHITECTURE.md").read_text(), re.MULTILINE)
    told = {folder: set() if may == "–" else set(may.split(", ")) for folder, may in rows}
    assert set(told) == {path.name for path in (TOP / "src").iterdir() if path.is_dir()}
    assert told.pop("main") == {"all"}
    assert told == {folder: set(KNOWS[folder]) for folder in told}


def keys_of(schema):
    """All names of keys in a JSON Schema, at any depth."""
    if isinstance(schema, dict):
        for name, value in schema.items():
            if name == "properties":
                yield from value
                for one in value.values():
                    yield from keys_of(one)
            else:
                yield from keys_of(value)
    elif isinstance(schema, list):
        for one in schema:
            yield from keys_of(one)


def words_in_code(path):
    """The words of all `code` on a page, blocks left out."""
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    return set(re.findall(r"[\w-]+", " ".join(re.findall(r"`([^`]*)`", text))))


def services_of(schema):
    """The schemas of services by kind."""
    found = {}

    def look(node):
        if isinstance(node, dict):
            kind = node.get("properties", {}).get("kind", {}) if isinstance(node.get("properties"), dict) else {}
            for name in [kind["const"]] if "const" in kind else kind.get("enum", []):
                found[name] = node
            for value in node.values():
                look(value)
        elif isinstance(node, list):
            for value in node:
                look(value)

    look(schema)
    return found


def test_each_recipe_has_a_page_that_names_each_key():
    services = services_of(json.loads(made("muster schema")))
    assert {"app", "nginx"} <= set(services)
    common = words_in_code(TOP / "docs" / "cluster-file.md")
    for kind, schema in services.items():
        page = words_in_code(TOP / "docs" / "recipes" / f"{kind}.md")
        keys = set(keys_of(schema))
        assert len(keys) > 20
        assert keys - page - common == set(), f"docs/recipes/{kind}.md lacks these"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd isn't installed")
def test_the_unit_for_a_start_at_boot_is_one_that_systemd_takes(tmp_path):
    [unit] = re.findall(r"^```ini\n(.*?)^```$", (TOP / "docs" / "running.md").read_text(), re.S | re.M)
    assert "/usr/local/bin/muster server run" in unit
    file = tmp_path / "muster.service"
    file.write_text(unit.replace("/usr/local/bin/muster", str(BUILD / "muster")))
    done = subprocess.run(["systemd-analyze", "verify", file], capture_output=True, text=True, timeout=30)
    told = [line for line in (done.stdout + done.stderr).splitlines() if "muster.service" in line or str(file) in line]
    assert done.returncode == 0 and told == []
