"""The page that bench/push/run --report writes, of figures made up."""

import sys

from wire import TOP

sys.path.insert(0, str(TOP / "bench/push"))

import come_back  # noqa: E402
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


def back(**more):
    return {"clients": 100, "there": 100, "seconds": 1.0, "median_seconds": 0.5, "caught_up": 1.0, "recovered": 100, "made_new": 0,
            "missing": 0, "twice": 0, "dials": 100, "server_cpu": 0.5, "load_cpu": 0.25, "full_mib": 10.0, "peak_mib": 12.0, **more}


def test_coming_back_is_good_only_where_all_are_there_with_all_they_missed():
    spear = {"killed": back(recovered=0, seconds=1.1), "network": back(recovered=99, twice=1), "silent": back(missing=1_000, caught_up=None)}
    peer = {"killed": back(seconds=2.0), "network": back(seconds=2.0), "silent": back(there=7, seconds=2.0)}
    goals = {name: rest for name, *rest in report.judged_back({"socket.io": peer, "spear": spear})}
    missed = {name: came for name, (_, came, good) in goals.items() if not good}
    assert missed == {"killed, time beside socket.io": "0.55×", "network, recovered": "99", "network, ticks twice": "1",
                      "silent, ticks missing": "1,000"}
    assert "killed, recovered" not in goals, "a node that was killed has forgotten all"
    page = report.back_page({**ABOUT, "command": "bench/push/run --come-back --report"}, {"socket.io": peer, "spear": spear})
    assert page.startswith("# All clients of muster-push lose it and come back, 2030-01-02\n\n`bench/push/run --come-back --report` of commit abc")
    assert met(page) == f"{len(goals) - 4} of {len(goals)}"
    assert "| network, recovered | all | 99 | **missed** |" in page
    assert "| silent, s until all have what they missed | 1.00 | – |" in page and "Of 3 runs the one" in page
    assert "The load took" not in page and "worth little" not in page


def test_coming_back_of_nobody_meets_nothing():
    assert [good for *_, good in report.judged_back({"socket.io": {"network": back()}})] == [False] * 14
    goals = {name: rest for name, *rest in report.judged_back({"spear": {"network": back(there=0, recovered=0)}})}
    assert goals["network, there again"][1:] == ["0", False] and goals["network, time beside socket.io"][1:] == ["not measured", False]


def test_a_load_as_dear_as_spear_is_told_of_where_it_came_back():
    spear = {part: back(load_cpu=0.5 if part == "network" else 0.4) for part in report.BACK_PARTS}
    assert "as spear, or more, in: network." in report.back_page({**ABOUT, "load_before": "2.0"}, {"spear": spear})
    assert list(report.BACK_PARTS) == come_back.PARTS


def test_of_several_runs_none_hides_what_another_lost():
    runs = [back(seconds=3.0), back(seconds=2.0, peak_mib=9.0), back(seconds=1.0, there=99, recovered=98, made_new=1, missing=7, twice=2)]
    assert come_back.of_runs(runs) == back(seconds=2.0, there=99, recovered=98, made_new=1, missing=7, twice=2)


def test_the_figures_of_several_loads_are_one():
    told = [{"there": 3, "median_there_ns": 2_000_000_000, "last_there_ns": 3_000_000_000, "done_ns": 4_000_000_000, "with_tick": 3, "recovered": 3,
             "made_new": 0, "dials": 5, "load_cpu": 0.5},
            {"there": 2, "median_there_ns": 2_500_000_000, "last_there_ns": 2_900_000_000, "done_ns": 2_900_000_000, "with_tick": 2, "recovered": 1,
             "made_new": 1, "dials": 2, "load_cpu": 0.25}]
    ticks = [{"missing": 1, "twice": 0}, {"missing": 2, "twice": 4}]
    assert come_back.together(told, ticks, 1.0) == {
        "there": 5, "seconds": 2.0, "median_seconds": 1.5, "caught_up": 3.0, "recovered": 4, "made_new": 1, "dials": 7, "missing": 3, "twice": 4,
        "load_cpu": 0.75}
    told[1]["with_tick"] = 1
    assert come_back.together(told, ticks, 1.0)["caught_up"] is None, "one never got what it missed"
