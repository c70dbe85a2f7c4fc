"""The JSON Schema of cluster files against the shape stage of the parser.

Both are made from the same Shapes, so they must agree on every file: thousands of cluster files are made up from
the schema and then spoilt (keys, types, units, quotes, nesting), and each must be accepted by jsonschema, on the
document as YAML types it, exactly when the shape stage accepts the text.

MUSTER_BUILD names the build folder. MUSTER_SEED and MUSTER_FILES ask for other files, or more.
"""

import copy
import json
import os
import pathlib
import random
import re
import subprocess
from decimal import Decimal

import jsonschema
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("MUSTER_BUILD", ROOT / "build"))
TOOL = BUILD / "spec-shape-tool"
MUSTER = BUILD / "muster"
SEED = int(os.environ.get("MUSTER_SEED", "20240607"))
FILES = int(os.environ.get("MUSTER_FILES", "3000"))

INTEGER = re.compile(r"[-+]?[0-9]+\Z")
NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
PLAIN = re.compile(r"[A-Za-z0-9_./~$^(*+-][A-Za-z0-9_./%+~$^()*?=;|\\ -]*\Z")


class Text:
    """A scalar as it stands in the file."""

    def __init__(self, text, quote=""):
        self.text = text
        plain = text == "" or (PLAIN.match(text) and not text.startswith(("- ", "*", "---", "..."))
                               and not text.endswith(" ") and text not in ("-", "?"))
        self.quote = quote if quote or plain else '"'
        if self.quote == "'" and not (text.isprintable() and text.isascii()):
            self.quote = '"'

    def value(self):
        """As YAML 1.2's core schema types it; see src/spec/schema.cc.

        A fraction is a Decimal: jsonschema takes the float 5.0 for an integer, the parser never does.
        """
        if self.quote:
            return self.text
        if self.text in ("", "~", "null", "Null", "NULL"):
            return None
        if self.text in ("true", "True", "TRUE", "false", "False", "FALSE"):
            return self.text.lower() == "true"
        if INTEGER.match(self.text):
            return int(self.text)
        if NUMBER.match(self.text):
            return Decimal(self.text)
        return self.text

    def yaml(self):
        if self.quote == "'":
            return "'" + self.text.replace("'", "''") + "'"
        return json.dumps(self.text, ensure_ascii=False) if self.quote else self.text

    def odd(self):
        """An integer written as JSON wouldn't: the schema sees 7 where the parser sees +7."""
        return not self.quote and INTEGER.match(self.text) and str(int(self.text)) != self.text


def value_of(node):
    if isinstance(node, dict):
        return {key: value_of(child) for key, child in node.items()}
    if isinstance(node, list):
        return [value_of(child) for child in node]
    return node.value()


def texts_of(node):
    if isinstance(node, Text):
        yield node
    else:
        for child in node.values() if isinstance(node, dict) else node:
            yield from texts_of(child)


def key_yaml(key, chance):
    plain = re.match(r"[A-Za-z_][A-Za-z0-9_./-]*\Z", key) and key not in ("null", "Null", "NULL")
    return key if plain and chance.random() < 0.9 else json.dumps(key, ensure_ascii=False)


def flow(node, chance):
    if isinstance(node, dict):
        return "{" + ", ".join(f"{key_yaml(k, chance)}: {flow(v, chance)}" for k, v in node.items()) + "}"
    if isinstance(node, list):
        return "[" + ", ".join(flow(child, chance) for child in node) + "]"
    return node.yaml() or "~"


def block(node, chance, indent=0):
    """Lines of a map or list; small ones and some others in flow style."""
    pad = "  " * indent
    for key, child in node.items() if isinstance(node, dict) else ((None, child) for child in node):
        head = pad + ("-" if key is None else key_yaml(key, chance) + ":")
        if isinstance(child, Text):
            yield f"{head} {child.yaml()}".rstrip(" ")
        elif not child or chance.random() < 0.3:
            yield f"{head} {flow(child, chance)}"
        else:
            yield head
            yield from block(child, chance, indent + 1)


def yaml_of(node, chance):
    if isinstance(node, Text):
        return node.yaml() + "\n"
    if not node or chance.random() < 0.05:
        return flow(node, chance) + "\n"
    return "\n".join(block(node, chance)) + "\n"


# Every unit and type, right and nearly right.
WORDS = """
0 1 2 3 5 7 9 10 16 42 80 99 100 101 200 299 301 308 309 404 443 512 599 600 640 644 755 778 888 999 1000 1024 4096
8080 9999 10000 65535 65536 99999 100000 999999 1000000 999999999999 1000000000000 9223372036854775807
9223372036854775808 123456789012345678901234567890 -1 -5 -6 -9223372036854775808 -9223372036854775809 +7 007 0640 0040
00 -0 +80 0000080 0.5 1.0 1.1 1.5 5.0 .5 5. 1e3 1E-2 -2.5 +1.5 1.2.3 1e 0x10 0o17 .inf .nan 1_000
true false True FALSE yes no on off Yes NO On y n null ~ Null NULL none
2s 500ms 1m30s 10m 1h 1d 2 s 2x s 1.5s -1s 2S 0s 1h30 1234567890s 1ms1ms
64m 1g 16k 10K 3T 1t 64mb 64 m 1.5g m -1m 0g 1234567890123
8100-8110 8100-8110/udp 5353/udp 80/tcp 80/sctp 80- -80 123456 8100-8110-8120 65535/udp
5 per host 1 per host 5per host per host 1000000 per host 5 per  host
25% 100% 0% 1000000% % -5% 2.5%
red green Green stop rollback restart reload none TERM HUP USR1 KILL term round_robin least_conn ip_hash prefix exact regex
all quorum any 12345 200-399 200-600 1.0 2.0 0777 0789 777 1777 all1
a ab abc web gateway web-1 web:http web:http:x a-b a- -a Web web_1 x123456789012345678901234567890y
aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 10.0.0.1 10.0.0.0/8 10.0.0.0/1234 127.0.0.1 localhost
/ /health /api/v1 ./x.jar x.html *.example.org example.org /srv/www ../x http://example.org/ text/html text/*
app nginx scalars patterns nested
""".split()
PHRASES = [
    "5 per host", "1 per host", "5  per host", "per host", "1000000 per host", "64 m", "2 s", "run it now", "a;b", "a{b}",
    'say "hi"', "it's", "back\\slash", "{{instance}}", "run {{instance}} --port={{ports.http}}", "id-{{ordinal}}", "a: b",
    "a #b", "# no", "[a]", "{a: b}", "- a", "*a", "&a", "!a", "%a", "@a", "`a", "|", ">", "?", ", a", "tab\there",
    "two\nlines", "mall\n", "7\n", "2s\n", "\n", " ", " a", "a ", "ä", "äöüß", "näme", "日本", "日本語日本語", "€€€€€",
    "a\u00a0b", "a\u2028b", "a\u3000b", "٣", "é" * 150, "x" * 32, "x" * 33, "x" * 200, "x" * 201, "x" * 202,
    "x" * 4096, "x" * 4097, "é" * 4000, "proxy_set_header X y", "gzip on;", "a\rb", "\x7f", "\U0001f600" * 5, "",
]
KEYS = ["a", "http", "cluster", "kind", "Kind", "x_y", "x-y", "PATH", "80", "yes", "true", "null", "", " ", "a b", "ä",
        "conf/app.yaml", "/etc/passwd", "a\\b", "X-Header", "index.html", "a\n", "é" * 150, "x" * 201, "x" * 202, "<<",
        "a.b", "~", "1.5", "\x01a"]
POOL = WORDS + PHRASES


class Maker:
    """Makes files that the schema allows (nearly always), and spoils them."""

    def __init__(self, schema, chance):
        self.schema = schema
        self.chance = chance
        self.fitting = {}

    def text(self):
        text = self.chance.choice(POOL)
        return Text(text, self.chance.choice(["", "", "", '"', "'"]))

    def scalar(self, schema):
        """A scalar of the pool that fits `schema`, or just any."""
        key = json.dumps(schema, sort_keys=True)
        if key not in self.fitting:
            validator = VALIDATOR(schema)
            made = [Text(text, quote) for text in POOL for quote in ("", '"')]
            self.fitting[key] = [one for one in made if validator.is_valid(one.value())]
        fitting = self.fitting[key]
        if not fitting or self.chance.random() < 0.01:
            return self.text()
        one = self.chance.choice(fitting)
        return Text(one.text, one.quote and self.chance.choice(['"', "'"]))

    def make(self, schema, depth=0):
        chance = self.chance
        if "$ref" in schema:
            return self.make(self.schema["$defs"][schema["$ref"].split("/")[-1]], depth)
        if "anyOf" in schema and not any(self.is_scalar(one) for one in schema["anyOf"]):
            return self.make(chance.choice(schema["anyOf"]), depth)
        if "anyOf" in schema:
            choice = chance.choice(schema["anyOf"])
            return self.make(choice, depth)
        if "allOf" in schema and "type" not in schema:
            shapes = [one for one in schema["allOf"] if set(one) - {"not", "type"}]
            return self.make(shapes[0], depth) if shapes else self.anything(depth)
        kind = schema.get("type")
        if kind == "object":
            return self.object(schema, depth)
        if kind == "array":
            return [self.make(schema.get("items", {}), depth + 1) for _ in range(chance.choice([0, 1, 1, 2, 3]))]
        if not set(schema) - {"description"}:
            return self.anything(depth)
        return self.scalar({key: value for key, value in schema.items() if key != "description"})

    @staticmethod
    def is_scalar(schema):
        return schema.get("type") not in ("object", "array")

    def object(self, schema, depth):
        chance = self.chance
        node = {}
        required = schema.get("required", [])
        share = chance.choice([0.1, 0.3, 0.8]) / (1 + depth // 4)
        for key, child in schema.get("properties", {}).items():
            if key in required or chance.random() < share:
                node[key] = self.make(child, depth + 1)
        extra = schema.get("additionalProperties", {})
        if extra is not False:
            pattern = schema.get("propertyNames", {}).get("pattern", "")
            names = [key for key in KEYS + WORDS if re.search(pattern, key)]
            for _ in range(chance.choice([0, 1, 1, 2])):
                key = chance.choice(names if names and chance.random() < 0.97 else KEYS)
                node[key] = self.make(extra, depth + 1)
        items = list(node.items())
        chance.shuffle(items)
        return dict(items)

    def anything(self, depth):
        roll = self.chance.random()
        if depth > 6 or roll < 0.6:
            return self.text()
        if roll < 0.8:
            return [self.anything(depth + 1) for _ in range(self.chance.randrange(3))]
        return {self.chance.choice(KEYS): self.anything(depth + 1) for _ in range(self.chance.randrange(3))}

    def file(self):
        chance = self.chance
        node = {"cluster": Text("mall")}
        if chance.random() < 0.4:
            node["hosts"] = self.make(self.schema["properties"]["hosts"])
        kinds = list(self.schema["$defs"])
        node["services"] = {}
        for name in chance.sample(["web", "gateway", "a-1", "edge"], chance.choice([1, 1, 2])):
            kind = chance.choice(kinds)
            service = self.make(self.schema["$defs"][kind])
            service["kind"] = Text(kind, chance.choice(["", "", '"', "'"]))
            node["services"][name] = service
        if chance.random() < 0.05:
            node["services"] = {}
        return node

    def spoil(self, node):
        chance = self.chance
        node = copy.deepcopy(node)
        for _ in range(chance.choice([1, 1, 1, 2])):
            places = list(self.places(node))
            if not places:
                return self.anything(0)
            parent, key = chance.choice(places)
            self.spoil_one(parent, key)
        return self.anything(0) if chance.random() < 0.005 else node

    def places(self, node):
        for key, child in node.items() if isinstance(node, dict) else enumerate(node):
            yield node, key
            if not isinstance(child, Text):
                yield from self.places(child)

    def spoil_one(self, parent, key):
        chance = self.chance
        child = parent[key]
        act = chance.choice(["replace", "replace", "any", "wrap", "unwrap", "null", "quote", "quote", "unit", "drop",
                             "rename", "unknown", "nest"])
        if act == "replace":
            parent[key] = self.text()
        elif act == "any":
            parent[key] = self.anything(4)
        elif act == "wrap":
            parent[key] = [child]
        elif act == "nest":
            parent[key] = {chance.choice(KEYS): child}
        elif act == "unwrap" and not isinstance(child, Text) and child:
            parent[key] = chance.choice(list(child.values()) if isinstance(child, dict) else child)
        elif act == "null":
            parent[key] = Text(chance.choice(["", "~", "null"]))
        elif act == "quote" and isinstance(child, Text):
            parent[key] = Text(child.text, "" if child.quote else chance.choice(['"', "'"]))
        elif act == "unit" and isinstance(child, Text):
            more = chance.choice(["s", "ms", "m", "k", "g", "%", "/udp", "-1", " per host", "0", " ", "\n", ".0", "x"])
            cut = child.text[:-1] if chance.random() < 0.5 else child.text
            parent[key] = Text(chance.choice([cut + more, cut, more, more + cut]), child.quote)
        elif act == "drop":
            del parent[key]
        elif act == "rename" and isinstance(parent, dict):
            del parent[key]
            new = chance.choice([key.upper(), key + "s", key[:-1], key + "\n", chance.choice(KEYS)])
            parent[new] = child
        elif act == "unknown" and isinstance(child, dict):
            child[chance.choice(KEYS)] = self.text()
        else:
            parent[key] = self.text()


def ecma(schema):
    """Patterns are ECMA's, whose `$` is the end. Python's also matches before a last newline."""
    if isinstance(schema, dict):
        return {key: re.sub(r"\$\Z", r"\\Z", value) if key == "pattern" and isinstance(value, str) else ecma(value)
                for key, value in schema.items()}
    return [ecma(one) for one in schema] if isinstance(schema, list) else schema


VALIDATOR = jsonschema.Draft202012Validator


@pytest.fixture(scope="module")
def schema():
    text = subprocess.run([TOOL, "--schema"], check=True, capture_output=True, text=True).stdout
    schema = json.loads(text)
    VALIDATOR.check_schema(schema)
    return ecma(schema)


def shape_stage(names, *options):
    """What the shape stage says of each file."""
    done = subprocess.run([TOOL, *options], input="".join(f"{name}\n" for name in names), check=True,
                          capture_output=True, text=True)
    return done.stdout.splitlines()


def write(folder, texts):
    names = []
    for number, text in enumerate(texts):
        name = folder / f"{number}.yaml"
        name.write_bytes(text.encode())
        names.append(name)
    return names


def disagreements(folder, schema, nodes, chance):
    """Files on which the two differ, as texts for people; and how many were accepted."""
    validator = VALIDATOR(schema)
    texts = [yaml_of(node, chance) for node in nodes]
    names = write(folder, texts)
    answers = shape_stage(names)
    assert len(answers) == len(names)
    told, accepted = [], 0
    for node, text, answer, name in zip(nodes, texts, answers, names):
        by_shape = answer.split()[0] == "ok"
        by_schema = validator.is_valid(value_of(node))
        accepted += by_shape
        if by_shape == by_schema:
            continue
        if by_schema and any(one.odd() for one in texts_of(node)):
            continue  # only the parser sees how an integer is written
        why = "" if by_schema else "; ".join(
            f"{'.'.join(map(str, error.absolute_path))}: {error.message[:200]}" for error in validator.iter_errors(value_of(node)))
        found = " | ".join(shape_stage([name], "-v"))
        told.append(f"--- {name}\n{text[:1500]}\nshape stage: {answer}: {found}\nschema: {by_schema} {why}")
    return told, accepted


def test_the_schema_that_muster_prints_is_the_one_compared_here(schema):
    printed = json.loads(subprocess.run([MUSTER, "schema"], check=True, capture_output=True, text=True).stdout)
    VALIDATOR.check_schema(printed)
    printed = ecma(printed)
    assert sorted(printed["$defs"]) == ["app", "nginx", "redis", "redis-cluster"]
    for kind, rules in printed["$defs"].items():
        assert rules == schema["$defs"][kind]
    assert printed["properties"]["hosts"] == schema["properties"]["hosts"]


def test_files_made_from_the_schema_are_taken_by_both(tmp_path, schema):
    chance = random.Random(SEED)
    maker = Maker(schema, chance)
    nodes = [maker.file() for _ in range(FILES)]
    told, accepted = disagreements(tmp_path, schema, nodes, chance)
    assert not told, f"{len(told)} of {len(nodes)}:\n" + "\n".join(told[:5])
    assert accepted > len(nodes) / 3


def test_spoilt_files_are_refused_by_both_or_by_neither(tmp_path, schema):
    chance = random.Random(SEED + 1)
    maker = Maker(schema, chance)
    nodes = []
    while len(nodes) < FILES:
        node = maker.file()
        nodes += [maker.spoil(node) for _ in range(3)]
    told, accepted = disagreements(tmp_path, schema, nodes, chance)
    assert not told, f"{len(told)} of {len(nodes)}:\n" + "\n".join(told[:5])
    assert len(nodes) / 10 < accepted < len(nodes) * 9 / 10


# One line each in `service: {kind: …, LINE}`, told apart by what stands there.
GOOD = [
    ("scalars", "text: x, bool: yes"), ("scalars", "text: 5, port: 80"), ("scalars", "text: true, count: 3"),
    ("scalars", "text: 1.5, size: 64"), ("scalars", "text: 'x', ports: 8080"), ("scalars", "text: x, bool: 'on'"),
    ("patterns", "octal: 0640"), ("patterns", "octal: 644"), ("patterns", "octal: '0040'"), ("patterns", "four: 9999"),
    ("patterns", "version: '1.1'"), ("patterns", "anything: 123456789012"), ("patterns", "anything: -7"),
    ("patterns", "signed: -9223372036854775809"), ("nested", "or_single: 2s"), ("nested", "either: [x]"),
    ("nested", "either_any: [x]"), ("nested", "either_any: ~"), ("nested", "any_list: 5"),
    ("app", "command: x, health: {http: /, status: 200}"), ("app", "command: x, files: {a: {content: x, mode: 0640}}"),
]
BAD = [
    ("scalars", "bool: yes"), ("scalars", "text: ~"), ("scalars", "text: x, port: '80'"), ("scalars", "text: x, bool: 'true'"),
    ("scalars", "text: x, duration: 2"), ("scalars", "text: x, port: 80.0"), ("scalars", "text: x, integer: 1e3"),
    ("patterns", "octal: 888"), ("patterns", "octal: 64"), ("patterns", "four: 10000"), ("patterns", "version: 1.1"),
    ("patterns", "spaceless: \"a\\n\""), ("nested", "or_single: ~"), ("nested", "either_any: 2x"),
    ("nested", "bare_map: []"), ("app", "command: x, health: {status: 600}"), ("app", "command: [x]"),
]


@pytest.mark.parametrize("kind, line, good", [(*one, True) for one in GOOD] + [(*one, False) for one in BAD])
def test_the_shape_stage_knows(tmp_path, kind, line, good):
    text = f"cluster: mall\nservices:\n  one: {{kind: {kind}, {line}}}\n"
    assert (shape_stage(write(tmp_path, [text]))[0] == "ok") == good
