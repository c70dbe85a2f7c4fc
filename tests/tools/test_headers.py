"""What tools/headers.py asks of a header."""
import pathlib
import sys

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tools"))

import headers  # noqa: E402

KNOWN = {"port-taken", "disk-full"}
PLACE = "// Doors. Loop thread only.\n"


def words_of(text):
    """The first word of each problem: "says", "has", "promises"."""
    return [problem.split()[0] for problem in headers.problems_of(text, KNOWN)]


def test_a_header_that_says_where_it_may_be_used_and_how_it_fails_is_fine():
    assert words_of("// Adds numbers. Pure.\nint Add(int a, int b);\n") == []
    assert words_of(PLACE + '// Codes: "port-taken",\n// "disk-full".\nStatus Open();\n') == []
    assert words_of(PLACE + "// Errors are those of Open.\nnet::Task<Status> Close();\n") == []


def test_the_place_counts_in_comments_only():
    assert words_of("// Adds numbers.\nint Add(int thread, int loop);\n") == ["says"]
    assert words_of("// Adds numbers, purely.\nint Add(int a, int b);\n") == ["says"]
    assert words_of('// Doors.\nconst char* kPlace = "a thread";\n') == ["says"]


def test_what_can_fail_names_its_codes():
    for function in ("Status Open();", "static Result<std::unique_ptr<Door>> Open(\n    int number);",
                     "virtual net::Task<Result<std::map<int, Door>>> Open(int number) = 0;",
                     "net::Task<Result<Door>>\nOpen(int number);"):
        assert words_of(PLACE + function) == ["has"], function
        assert words_of(PLACE + '// Code "disk-full".\n' + function) == [], function
    # A word in quotes is no code, and what holds a Result has no function that fails.
    assert words_of(PLACE + '// Opens "disk-full".\nStatus Open();') == ["has"]
    assert words_of(PLACE + "struct Door {\n  std::optional<Status> opened;\n};") == []


def test_a_code_that_is_not_documented_is_told():
    text = PLACE + '// Code "door-stuck". The "lock-less" ones are never stuck.\nStatus Open();\n'
    assert headers.problems_of(text, KNOWN) == [
        'promises the code "door-stuck", which docs/findings.md doesn\'t have']


def test_all_headers_of_the_tree_are_fine(capsys):
    assert headers.main() == 0, capsys.readouterr().out
