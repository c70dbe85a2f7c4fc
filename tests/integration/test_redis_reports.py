"""What the pages about Redis say of figures made up: bench/cut_inside.py, bench/redis_bench.py."""

import sys

from conftest import TOP

sys.path.insert(0, str(TOP / "bench"))

import redis_bench  # noqa: E402
from cut_inside import BAD, row, told  # noqa: E402
from redis_writer import Ack  # noqa: E402

CUT, THERE = 10.0, 10.1  # asked for, and there


def tries(answers):
    """[(when, key, answer)] of (when, answer)."""
    return [(when, f"k:{number}", answer) for number, (when, answer) in enumerate(answers)]


def line(kind="redis", plain=(), waited=(), heir=(None, None), lost=None):
    """The row where just what was taken since the cut was there is lost, or what is said."""
    of = {"plain": tries(plain), "wait": tries(waited)}
    gone = lost or {name: [when for when, _, answer in one if answer == "taken" and when > THERE] for name, one in of.items()}
    return row(kind, told("cache-1", CUT, THERE, of, {name: [Ack(when, "", "", None) for when in gone.get(name, [])] for name in of}, heir))


TAKEN_THEN_REFUSED = [(9.0, "taken"), (10.05, "taken"), (11.0, "taken"), (12.0, "taken"), (12.5, "READONLY"), (13.0, "READONLY")]


def good(text):
    return not any(mark in text for mark in BAD)


def test_a_primary_that_refuses_before_another_is_promoted_is_as_it_should_be():
    said = line(plain=TAKEN_THEN_REFUSED, waited=[(9.0, "taken"), (11.0, "unconfirmed")], heir=("cache-2", 17.0))
    assert good(said)
    assert "cache-1 took writes for 2.0 s more, then READONLY" in said
    assert "| 2 of 4 (since the cut 2 of 2) | 0 of 1 (since the cut 0 of 0) |" in said
    assert "cache-2 was primary 7.0 s after the cut, 4.5 s after cache-1 refused writes" in said


def test_two_that_take_writes_at_once_are_told_and_are_a_fault_of_muster_where_there_is_a_lease():
    for plain in (TAKEN_THEN_REFUSED, [(9.0, "taken"), (14.0, "taken")]):
        said = line(plain=plain, heir=("cache-2", 11.5))
        assert "cache-1 took writes beside it" in said and "**two took writes at once**" in said and not good(said)
        said = line("redis-cluster", plain=plain, heir=("cache-2", 11.5))
        assert "cache-1 took writes beside it" in said and good(said)


def test_what_was_confirmed_or_acknowledged_before_the_cut_must_be_there():
    waited = [(9.0, "taken")]
    assert not good(line(plain=TAKEN_THEN_REFUSED, waited=waited, heir=("cache-2", 17.0), lost={"wait": [9.0]}))
    assert not good(line(plain=TAKEN_THEN_REFUSED, waited=waited, heir=("cache-2", 17.0), lost={"plain": [9.0]}))
    assert good(line(plain=TAKEN_THEN_REFUSED, waited=waited, heir=("cache-2", 17.0), lost={"plain": [10.05]}))


def test_one_that_is_cut_off_and_never_refuses_while_nobody_takes_its_place_is_told():
    said = line(plain=[(9.0, "taken"), (14.0, "taken")])
    assert "took writes for 4.0 s more, and never refused one" in said and "nobody took its place" in said and good(said)


def test_a_verdict_names_each_bound_and_which_was_not_held():
    held = redis_bench.verdict([redis_bench.at_most("ratio", 0.27, 0.35)], 61)
    assert held == "   → within its bounds: ratio 0.27, at most 0.35; all this took 61 s"
    said = redis_bench.verdict([redis_bench.at_most("ratio", 0.27, 0.35), redis_bench.none_of("writes lost", 2)], 61)
    assert said == "   → OUT OF its bounds: ratio 0.27, at most 0.35; 2 writes lost, which must be 0 (NOT HELD); all this took 61 s"


def test_a_report_says_whether_all_is_well_and_how_long_it_took():
    page = redis_bench.report("commit abc", "a  said\n", ["--report"], True, 300)
    assert page.startswith("# Benchmarks of Redis\n\nMade by `bench/run redis --report` of commit abc. It took 5.0 minutes.\nAll are")
    assert "at most 0.35" in page and page.endswith("```\na  said\n```\n")
    assert "**Not all are within their bounds.**" in redis_bench.report("commit abc", "a  said\n", [], False, 300)


def test_what_is_lost_is_told_by_whether_a_replica_had_confirmed_it():
    class Side:
        all = []

        def count(self, what, wait):
            return {("lost", False): 3, ("acks", False): 10, ("lost", True): 1, ("acks", True): 4}[(what, wait)]
    assert redis_bench.lost_in(Side()) == "3 of 10 that were answered, 1 of 4 that a replica had confirmed"
