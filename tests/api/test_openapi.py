"""The API's description of itself: a valid OpenAPI 3.1 document that says neither more nor less than docs/api.md."""
import copy
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import jsonschema
import pytest

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parent.parent
BUILD = pathlib.Path(os.environ.get("MUSTER_BUILD", TOP / "build"))
METHODS = {"get", "put", "post", "delete"}


@pytest.fixture(scope="module")
def server():
    """Asks a server of its own: server(method, path) gives the status and the body."""
    home = pathlib.Path(tempfile.mkdtemp(prefix="musa-"))
    environment = {**os.environ, "MUSTER_HOME": str(home / "h")}
    muster = str(BUILD / "muster")
    subprocess.run([muster, "server", "start"], env=environment, check=True, stdout=subprocess.DEVNULL,
                   stdin=subprocess.DEVNULL, timeout=60)

    def ask(method, path):
        done = subprocess.run(["curl", "-s", "-m", "20", "-X", method, "-w", "\n%{http_code}", "--unix-socket",
                               str(home / "h" / "server" / "api.sock"), "http://muster" + path],
                              capture_output=True, text=True, check=True)
        body, _, status = done.stdout.rpartition("\n")
        return int(status), body

    try:
        yield ask
    finally:
        subprocess.run([muster, "server", "stop"], env=environment, check=True, stdout=subprocess.DEVNULL,
                       timeout=60)
        shutil.rmtree(home)


@pytest.fixture(scope="module")
def document(server):
    status, body = server("GET", "/v1/openapi.json")
    assert status == 200
    return json.loads(body)


@pytest.fixture(scope="module")
def validator():
    schema = json.loads((HERE / "openapi-3.1.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def operations(document):
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method in METHODS:
                yield method.upper(), path, operation


def within(node, key):
    """All values of `key`, at any depth."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name == key:
                yield value
            yield from within(value, key)
    elif isinstance(node, list):
        for value in node:
            yield from within(value, key)


def test_it_is_a_valid_openapi_document(document, validator):
    problems = [f"{'/'.join(map(str, one.absolute_path))}: {one.message}" for one in validator.iter_errors(document)]
    assert not problems, "\n".join(problems)


def test_the_validator_would_say_no(document, validator):
    def broken(change):
        wrong = copy.deepcopy(document)
        change(wrong)
        return not validator.is_valid(wrong)

    path = next(iter(document["paths"]))
    method = next(iter(document["paths"][path]))
    assert broken(lambda wrong: wrong.pop("info"))
    assert broken(lambda wrong: wrong["paths"].update({"no-slash": {}}))
    assert broken(lambda wrong: wrong["paths"][path][method]["responses"].update({"ok": {}}))
    assert broken(lambda wrong: wrong["paths"][path][method].update({"parameters": [{"name": "x", "in": "nowhere"}]}))


def test_what_the_schema_of_openapi_cannot_say(document):
    ids = []
    for method, path, operation in operations(document):
        where = f"{method} {path}"
        ids.append(operation["operationId"])
        parameters = operation.get("parameters", [])
        declared = [one["name"] for one in parameters if one["in"] == "path"]
        assert sorted(declared) == sorted(re.findall(r"\{(\w+)\}", path)), where
        assert len({(one["name"], one["in"]) for one in parameters}) == len(parameters), where
        if method == "GET":
            assert "requestBody" not in operation, where
    assert len(set(ids)) == len(ids)
    for schema in within(document["paths"], "schema"):
        jsonschema.Draft202012Validator.check_schema(schema)
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    for reference in within(document, "$ref"):
        node = document
        assert reference.startswith("#/"), reference
        for part in reference[2:].split("/"):
            assert part in node, reference
            node = node[part]


def documented():
    """METHOD and path of each request that docs/api.md names, {} for what varies."""
    names = dict.fromkeys(["K", "N", "NAME", "ID", "EXEC", "HOST", "SHA256"], "{}")
    found = set()
    text = (TOP / "docs" / "api.md").read_text()
    for row in text.splitlines():
        last = ""
        if row.startswith("|"):
            spans = re.findall(r"`([^`]*)`", row.split("|")[1])
        else:
            spans = [span for span in re.findall(r"`([^`]*)`", row) if re.match(r"(GET|PUT|POST|DELETE) /", span)]
        for span in spans:
            if span.startswith("…/"):  # `POST /v1/clusters/K/restart`, `…/stop`
                span = last.rsplit("/", 1)[0] + span[1:]
            if not re.match(r"(GET|PUT|POST|DELETE) /", span):
                continue
            last = span
            method, path = span.split("?")[0].split(" ", 1)
            found.add((method, "/".join(names.get(part, part) for part in path.split("/"))))
    return found


def test_it_lists_what_the_page_lists(document):
    listed = {(method, re.sub(r"\{\w+\}", "{}", path)) for method, path, _ in operations(document)}
    page = documented()
    assert len(page) > 30
    assert listed - page == set(), "not in docs/api.md"
    assert page - listed == set(), "in docs/api.md only"


def test_each_request_it_lists_is_known_and_no_other(server, document):
    known = {(method, path) for method, path, _ in operations(document)}
    for method in ("GET", "PUT", "POST", "DELETE"):
        for path in document["paths"]:
            if path in ("/v1/stop", "/v1/secrets/rotate"):
                continue  # these act
            asked = re.sub(r"\{\w+\}", "none", path)
            _, body = server(method, asked)
            code = json.loads(body).get("code", "")
            # A fixed path may be one of another's pattern, as /v1/blobs/missing of /v1/blobs/{sha256}.
            if any(method == one and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", two), asked) for one, two in known):
                assert code not in ("path-unknown", "method-unknown"), f"{method} {path}: {body}"
            else:
                assert code == "method-unknown", f"{method} {path}: {body}"
    assert json.loads(server("GET", "/v1/nothing")[1])["code"] == "path-unknown"
