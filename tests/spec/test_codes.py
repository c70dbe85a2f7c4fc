"""Every code that the sources can print stands in docs/findings.md, and nothing stands there that is gone."""
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
CODE = r'"([a-z][a-z0-9]*(?:-[a-z0-9]+)*)"'
# Where a code is written: makers of errors, findings and those of helpers that take one first.
MADE = re.compile(
    r"(?:Error::(?:Invalid|NotFound|Conflict|Refused|Denied|Unavailable|Timeout|Internal)\(\s*"
    r"|Error\(ErrorKind::\w+,\s*"
    r"|\bcode = (?:std::string\()?"
    r"|\b[Rr]eport\(\s*|\b[Aa]dd\(\s*(?:\w*findings,\s*)?|\berror\(\s*|\bnot_executable\(\s*|MachineFinding\(\s*[*]?\w+,\s*)"
    + CODE + r"\s*[,;)]")
# `unit ? "bad-unit" : "wrong-type"` in the same places.
CHOSEN = re.compile(r"\? " + CODE + r"\s*:\s*" + CODE)
CONSTANT = re.compile(r"constexpr (?:const char\*|std::string_view) k\w+ = " + CODE + ";")
PRINTED = re.compile(r"\[([a-z]{2,}(?:-[a-z]{2,})+)\]")
DOCUMENTED = re.compile(r"`([a-z][a-z0-9]*(?:-[a-z0-9]+)*)`")


def codes_in(text):
    codes = {match[1] for match in MADE.finditer(text)}
    for match in CHOSEN.finditer(text):
        codes |= {one for one in match.groups() if "-" in one}
    codes |= {match[1] for match in CONSTANT.finditer(text) if "-" in match[1] and "Code" in match[0]}
    for literal in re.findall(r'"(?:[^"\\]|\\.)*"', text):
        codes |= set(PRINTED.findall(literal))
    return codes


def sources():
    for path in sorted([*ROOT.glob("src/**/*.cc"), *ROOT.glob("src/**/*.h")]):
        if not path.name.endswith("_test.cc") and "testing" not in path.name:
            yield path


def documented():
    """The codes in the first column of the tables."""
    codes = set()
    for line in (ROOT / "docs/findings.md").read_text().splitlines():
        if line.startswith("| `"):
            codes |= set(DOCUMENTED.findall(line.split("|")[1]))
    return codes


# `add("install")` and its like in the plan are verbs.
VERBS = {"install", "start", "stop", "reload", "step-down"}


def test_every_code_of_the_sources_is_documented():
    known = documented()
    assert len(known) > 100
    missing = []
    for path in sources():
        for code in sorted(codes_in(path.read_text()) - known - VERBS):
            missing.append(f"{path.relative_to(ROOT)}: {code}")
    assert not missing, "not in docs/findings.md:\n" + "\n".join(missing)


def test_nothing_is_documented_that_is_gone():
    text = "\n".join(path.read_text() for path in sources())
    gone = sorted(code for code in documented() if f'"{code}"' not in text and f"[{code}]" not in text)
    assert not gone, gone


def test_codes_are_found_where_they_are_written():
    assert codes_in('return Error::NotFound(\n    "no-such", "x {}", 1);') == {"no-such"}
    assert codes_in('{.severity = Severity::kError, .code = "bad-thing", .mark = m}') == {"bad-thing"}
    assert codes_in('Add(findings, "port-twice", mark, "x", "y");') == {"port-twice"}
    assert codes_in('Add(findings, unit ? "bad-unit" : "wrong-type", mark);') == {"bad-unit", "wrong-type"}
    assert codes_in('ErrLine("paused: " + why + " [run-paused]\\n");') == {"run-paused"}
    assert codes_in('const char* word = "not-a-code-here";') == set()
