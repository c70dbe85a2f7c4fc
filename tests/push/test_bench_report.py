"""The page that bench/push/run --report writes, of figures made up."""

import sys

from wire import TOP

sys.path.insert(0, str(TOP / "bench/push"))

import report  # noqa: E402

ABOUT = {"date": "2030-01-02", "command": "bench/push/run --report", "commit": "abc", "machine": "2 cores (X), 24 GiB", "runs": 3,
         "versions": "socket.io 4.8.1 and ws 8.1 on Node 20, Boost.Beast of Boost 1.81", "load_before": "0.1", "load_after": "1.9"}


def met(page):
    return page.partition(" goals met.**")[0].rpartition("**")[2]


def test_goals_are_ratios_where_they_say_so_and_missed_ones_stand_out():
    found = {"socket.io": {"echo 100": {"per_second": 100.0}, "fan-out 4": {"us_cpu": 10.0}, "fan-out 1": {"us_cpu": 11.0}},
             "spear": {"echo 100": {"per_second": 339.0}, "fan-out 4": {"us_cpu": 2.0}, "fan-out 1": {"us_cpu": 5.5}, "idle": {"kib_each": 0.61}}}
    assert [goal for goal in report.judged(found) if goal[2] != "not measured"] == [
        ("idle, KiB each", "at most 0.6", "0.61", False), ("echo 100, /s", "at least 3.4×", "3.39×", False),
        ("fan-out 1, us CPU each", "at most 0.2×", "0.50×", False), ("fan-out 4, us CPU each", "at most 0.2×", "0.20×", True)]
    page = report.page(ABOUT, found, {"text": "Held.", "goals": [("lost", "0", "0", True)]})
    assert page.startswith("# Benchmarks of muster-push, 2030-01-02\n\n`bench/push/run --report` of commit abc, on 2 cores (X), 24 GiB.\n")
    assert met(page) == f"2 of {len(report.GOALS) + len(report.PARTS) + 1}"
    assert "| echo 100, /s | 100 | 339 | 3.39× |" in page and "| idle, KiB each | – | 0.61 | – |" in page
    assert "| echo 100, /s | at least 3.4× | 3.39× | **missed** |" in page and "| lost | 0 | 0 | ok |" in page
    assert "worth little" not in page and "worth little" in report.page({**ABOUT, "load_before": "2.0"}, found)
    assert "The median of 3 runs." in page and "\n\n\n" not in page


def test_a_goal_without_a_figure_is_listed_and_not_met():
    found = {"spear": {"idle": {"connects_per_second": 9.0, "kib_each": 0.5}}, "socket.io": {"idle": {}}}
    goals = {name: rest for name, *rest in report.judged(found)}
    assert len(goals) == len(report.GOALS)
    assert goals["idle, KiB each"] == ["at most 0.6", "0.50", True]
    assert goals["idle, connects/s"] == ["at least 7×", "not measured", False], "socket.io has no figure to compare with"
    assert goals["fan-out polling, /s"] == ["at least 1.3×", "not measured", False]
    page = report.page(ABOUT, found)
    assert met(page) == f"1 of {len(report.GOALS) + len(report.PARTS)}"
    assert "| fan-out polling, /s | at least 1.3× | – | **not measured** |" in page


def test_a_run_without_spear_meets_nothing():
    page = report.page(ABOUT, {"beast": {"echo 100": {"per_second": 5.0}}})
    assert met(page).startswith("0 of ") and "Many connections" not in page and "| echo 100, /s | 5.00 |" in page


def test_a_load_that_costs_as_much_as_spear_has_failed_and_is_marked_beside_each_server():
    found = {"ws": {"echo 100": {"us_cpu": 10.0, "load_us_cpu": 5.0}},
             "spear": {"echo 100": {"us_cpu": 4.0, "load_us_cpu": 4.0}, "echo 1000": {"us_cpu": 4.0, "load_us_cpu": 3.0},
                       "fan-out 1": {"us_cpu": 0.0, "load_us_cpu": 3.0}, "idle": {"us_cpu": 4.0}}}
    goals = {name: rest for name, *rest in report.judged_load(found)}
    assert len(goals) == len(report.PARTS)
    assert goals["load beside spear, echo 100"] == ["less than 1×", "1.00×", False]
    assert goals["load beside spear, echo 1000"] == ["less than 1×", "0.75×", True]
    assert goals["load beside spear, fan-out 1"] == ["less than 1×", "not measured", False], "a server without cost is none that was measured"
    assert goals["load beside spear, idle"][1:] == ["not measured", False]
    page = report.page(ABOUT, found)
    assert "| echo 100 | 0.50× | **1.00× dearer** |" in page and "| echo 1000 | – | 0.75× |" in page
    assert "| load beside spear, echo 100 | less than 1× | 1.00× | **missed** |" in page
    assert met(page) == f"1 of {len(report.GOALS) + len(report.PARTS)}"


def test_what_the_floor_leaves_of_a_goal_stands_beside_what_came():
    found = {"socket.io": {"echo 100": {"per_second": 100.0}}, "floor": {"echo 100": {"per_second": 300.0}},
             "spear": {"echo 100": {"per_second": 290.0}}}
    page = report.page(ABOUT, found)
    assert "| goal | wanted | came | floor | |\n|---|---|---|---|---|\n" in page
    assert "| echo 100, /s | at least 3.4× | 2.90× | 3.00× | **missed** |" in page
    assert "| fan-out polling, /s | at least 1.3× | – | – | **not measured** |" in page
