"""Releases: rolling, failing, being interrupted, and getting in each other's way."""

import os
import pathlib
import shutil
import signal
import socket

import pytest

from conftest import edge, free_ports, get, impatient, wait_until, web
from load import Load


def test_no_request_fails_while_all_instances_are_replaced(muster):
    file = muster.file(web(muster, instances=4))
    muster.run("up", file, "--rehearse")
    before = {n: one["pid"] for n, one in muster.instances("web@rehearsal").items() if n.startswith("app")}
    load = Load(edge(muster, "web@rehearsal"))
    try:
        muster.run("restart", "--cluster", "web@rehearsal", "app")
    finally:
        load.end()
    after = {n: one["pid"] for n, one in muster.instances("web@rehearsal").items() if n.startswith("app")}
    assert all(before[name] != after[name] for name in before)
    assert load.served > 20 and load.failures == []


def test_a_release_that_never_becomes_ready_stops_the_roll(muster):
    file = muster.file(web(muster, instances=4, update="{ max_unavailable: 1, deadline: 60s }"))
    muster.run("up", file, "--rehearse")
    url = edge(muster, "web@rehearsal")
    before = {n: one["pid"] for n, one in muster.instances("web@rehearsal").items()}
    good = file.read_text()
    file.write_text(impatient(good.replace("--peers=", "--never-ready --peers=")))
    load = Load(url, per_second=50)
    try:
        failed = muster.run("up", file, "--rehearse", code=1)
    finally:
        load.end()
    told = failed.stdout + failed.stderr
    assert "app-" in told and "not-ready" in told
    after = {n: one["pid"] for n, one in muster.instances("web@rehearsal").items()}
    assert sum(before[n] != after.get(n) for n in before if n.startswith("app-")) == 1
    assert load.failures == []
    file.write_text(good)
    muster.run("up", file, "--rehearse")
    assert muster.status("web@rehearsal")["health"] == "green"


def test_a_failed_release_goes_back_by_itself(muster):
    update = "{ max_unavailable: 1, deadline: 60s, on_failure: rollback }"
    file = muster.file(web(muster, instances=3, update=update))
    muster.run("up", file, "--rehearse")
    good = file.read_text()
    file.write_text(impatient(good.replace("--peers=", "--fail-start --peers=")))
    failed = muster.run("up", file, "--rehearse", code=1)
    assert "app-" in failed.stdout + failed.stderr
    wait_until(lambda: muster.status("web@rehearsal")["health"] == "green", seconds=30, what="green again")
    notes = [r["note"] for r in muster.json("history", "--cluster", "web@rehearsal")["revisions"]]
    assert any("rollback" in note for note in notes)
    # So does a rollback that fails, once.
    again = muster.run("rollback", "2", "--cluster", "web@rehearsal", code=1)
    assert "went back: the last good revision runs again" in again.stdout, again.stdout + again.stderr
    notes = [r["note"] for r in muster.json("history", "--cluster", "web@rehearsal")["revisions"]]
    assert notes[0].endswith("after revision 4 failed") and len(notes) == 5
    file.write_text(good)
    muster.run("plan", file, "--rehearse", code=0)


def test_ctrl_c_puts_back_what_was_taken_out(muster):
    file = muster.file(web(muster, instances=3, update="{ max_unavailable: 1 }"))
    muster.run("up", file, "--rehearse")
    url = edge(muster, "web@rehearsal")
    file.write_text(file.read_text().replace("--peers=", "--start-delay=3s --peers="))
    up = muster.start("up", file, "--rehearse")
    wait_until(lambda: muster.status("web@rehearsal")["run"], what="the run to begin")
    wait_until(lambda: any(one["state"] == "starting" for one in muster.instances("web@rehearsal").values()),
               what="the first instance to be under way")
    up.send_signal(signal.SIGINT)
    out = up.communicate(timeout=30)[0]
    assert up.returncode == 130, out
    wait_until(lambda: muster.status("web@rehearsal")["health"] == "green", what="green")
    wait_until(lambda: len({get(url)[1].get("X-Instance") for _ in range(12)}) == 3, what="all three in the balancer")
    # What was begun can be finished.
    muster.run("up", file, "--rehearse")
    muster.run("plan", file, "--rehearse", code=0)


def test_two_at_once_one_waits_or_refuses_and_names_the_other(muster):
    file = muster.file(web(muster, instances=2, extra="--start-delay=2s"))
    first = muster.start("up", file, "--rehearse")
    run = wait_until(lambda: [c["run"] for c in muster.json("status", "--all")["clusters"] if c["run"]],
                     what="the first to be accepted")[0]
    second = muster.run("up", file, "--rehearse", code=None)
    assert second.returncode != 0 and "run-active" in second.stderr and run in second.stderr
    told = first.communicate(timeout=30)[0]
    assert first.returncode == 0, told
    assert len(muster.app_pids()) == 2


def test_a_plan_that_was_looked_at_is_done_or_refused(muster):
    file = muster.file(web(muster, instances=2))
    muster.run("up", file, "--rehearse")
    file.write_text(file.read_text().replace("    health:", "    env: { APP_COLOR: red }\n    health:"))
    plan = muster.json("plan", file, "--rehearse", code=2)
    plan_id = plan.get("plan", plan)["id"]
    muster.run("stop", "--cluster", "web@rehearsal", "app-2")
    refused = muster.run("up", file, "--rehearse", "--plan", plan_id, code=3)
    assert "plan-moved" in refused.stderr
    muster.run("start", "--cluster", "web@rehearsal", "app-2")
    plan = muster.json("plan", file, "--rehearse", code=2)
    muster.run("up", file, "--rehearse", "--plan", plan.get("plan", plan)["id"])


def test_a_taken_port_names_who_has_it(muster):
    port = free_ports(1)
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        file = muster.file(f"""
cluster: taken
services:
  box:
    kind: app
    command: "{muster.app} --port={{{{ports.http}}}} --id={{{{instance}}}}"
    ports: {{ http: {port} }}
    health: {{ http: /health }}
    update: {{ deadline: 5s }}
""")
        failed = muster.run("up", file, code=1)
        told = failed.stdout + failed.stderr
        assert str(port) in told and "port-taken" in told
        assert str(os.getpid()) in told
    muster.run("up", file)


def test_a_missing_program_names_its_package(muster):
    packages = {"haproxy": "haproxy", "etcd": "etcd-server", "rabbitmq-server": "rabbitmq-server"}
    folders = os.environ["PATH"] + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    program = next((one for one in packages if not shutil.which(one, path=folders)), None)
    if not program:
        pytest.skip("all of them are installed")
    file = muster.file(f"""
cluster: missing
services:
  front: {{ kind: app, command: "{program} -f /nowhere", health: {{ log: never }} }}
  other: {{ kind: app, command: program-of-nobody, health: {{ log: never }} }}
""")
    checked = muster.run("check", file, code=1)
    refused = muster.run("up", file, code=1)
    alone = muster.file(f"""
cluster: missing
services:
  front: {{ kind: app, command: "{program} -f /nowhere", health: {{ log: never }} }}
""")
    failed = muster.run("up", alone, "--skip-checks", code=1)
    for told in (checked.stdout + checked.stderr, refused.stdout + refused.stderr, failed.stdout + failed.stderr):
        assert "program-missing" in told and f"apt-get install {packages[program]}" in told, told
    assert "program-of-nobody" in checked.stderr + checked.stdout and "program-of-nobody" in refused.stderr + refused.stdout
    assert muster.state("missing", "front-1") != "ready"


def test_acts_leave_a_release_that_stopped_half_way_where_it_is(muster):
    file = muster.file(web(muster, instances=4, update="{ max_unavailable: 1, deadline: 60s }"))
    muster.run("up", file, "--rehearse")
    key = ("--cluster", "web@rehearsal")

    def look():
        return {n: one for n, one in muster.instances("web@rehearsal").items() if n.startswith("app-")}

    first = {name: one["hash"] for name, one in look().items()}
    good = file.read_text()
    file.write_text(impatient(good.replace("--peers=", "--never-ready --peers=")))
    muster.run("up", file, "--rehearse", code=1)
    before = look()
    (broken,) = [name for name, one in before.items() if one["state"] != "ready"]
    others = sorted(set(before) - {broken})

    def untouched(names, since):
        now = look()
        return all((now[n]["pid"], now[n]["hash"], now[n]["state"]) == (since[n]["pid"], since[n]["hash"], "ready")
                   for n in names)

    muster.run("stop", *key, broken)
    assert untouched(others, before) and look()[broken]["state"] == "stopped"
    muster.run("restart", *key, others[0])
    after = look()[others[0]]
    assert after["hash"] == before[others[0]]["hash"] and after["pid"] != before[others[0]]["pid"]
    assert untouched(others[1:], before) and look()[broken]["state"] == "stopped"
    assert get(edge(muster, "web@rehearsal"))[0] == 200
    revisions = muster.json("history", *key)["revisions"]
    assert [one["result"] for one in revisions] == ["failed", "done"]
    # An act that went well doesn't make a bad release good.
    muster.run("rollback", *key)
    assert muster.status("web@rehearsal")["run_state"] == "done"
    assert {name: look()[name]["hash"] for name in others} == {name: first[name] for name in others}
    muster.run("start", *key, broken)
    assert {name: one["hash"] for name, one in look().items()} == first
    assert muster.status("web@rehearsal")["health"] == "green"


def test_a_release_that_dies_after_it_was_ready_fails_and_takes_nobody_else_with_it(muster):
    """Without a health check all that is ready has lived for a second."""
    text = """cluster: web
hosts: { h1: { address: 127.0.0.1 } }
services:
  app: { kind: app, command: "sh -c 'sleep 1000'", instances: 4, update: { max_unavailable: 1 }, restart: { first: 100ms } }
"""
    file = muster.file(text)
    muster.run("up", file, "--rehearse")
    before = {name: one["pid"] for name, one in muster.instances("web@rehearsal").items()}
    file.write_text(text.replace("sleep 1000", "sleep 1.3; echo boom; exit 3"))
    failed = muster.run("up", file, "--rehearse", code=1)
    told = failed.stdout + failed.stderr
    assert "member-unwell" in told and "boom" in told and "muster rollback" in told, told
    after = muster.instances("web@rehearsal")
    untouched = [name for name, pid in before.items() if after[name]["pid"] == pid]
    assert len(untouched) >= 2, after
    muster.run("rollback", "--cluster", "web@rehearsal")
    assert muster.status("web@rehearsal")["health"] == "green"


def test_a_reload_that_kills_stops_at_the_first_member_and_goes_back(muster):
    """python3 -m http.server knows no SIGHUP: it dies of it."""
    port = free_ports(5)

    def text(value):
        return f"""
cluster: hup
services:
  web:
    kind: app
    command: python3 -m http.server {{{{ports.http}}}} --bind {{{{address}}}}
    ports: {{ http: {port} }}
    instances: 4
    files: {{ app.ini: {{ content: "v={value}", on_change: reload }} }}
    health: {{ http: /, every: 200ms }}
    update: {{ max_unavailable: 1, on_failure: rollback }}
  edge: {{ kind: nginx, listen: {port + 4}, routes: [ {{ path: /, to: web }} ] }}
"""

    muster.run("up", muster.file(text(1)), "--rehearse")
    before = {name: one["pid"] for name, one in muster.instances("hup@rehearsal").items()}
    up = muster.run("up", muster.file(text(2)), "--rehearse", code=None)
    told = up.stdout + up.stderr
    assert up.returncode not in (0, 2), told
    assert "reload-failed" in told and "signal 1" in told, told
    after = muster.instances("hup@rehearsal")
    changed = {name for name, one in after.items() if one["pid"] != before[name]}
    assert changed == {"web-1"}, told
    wait_until(lambda: muster.status("hup@rehearsal")["health"] == "green", what="green")
    muster.run("plan", muster.file(text(1)), "--rehearse", code=0)
    assert [path.read_text() for path in pathlib.Path(muster.home).glob("m/hosts/hup@rehearsal/*/instances/web-*/app.ini")
            ] == ["v=1"] * 4


@pytest.mark.parametrize("on_failure", ["rollback", "stop"])
def test_a_wrong_health_check_stops_at_the_first_member_and_kills_nobody(muster, on_failure):
    port = free_ports(3)

    def text(more):
        return f"""
cluster: sick
services:
  web:
    kind: app
    command: python3 -m http.server {{{{ports.http}}}} --bind {{{{address}}}}
    ports: {{ http: {port} }}
    instances: 3
    health: {{ http: /, every: 100ms{more} }}
    update: {{ max_unavailable: 1, on_failure: {on_failure} }}
"""

    def pids():
        return {name: one["pid"] for name, one in muster.instances("sick@rehearsal").items()}

    muster.run("up", muster.file(text("")), "--rehearse")
    before = pids()
    wrong = muster.file(text(", status: 204"))
    for _ in range(2):  # the same again does no better
        up = muster.run("up", wrong, "--rehearse", code=None, timeout=30)
        told = up.stdout + up.stderr
        assert up.returncode not in (0, 2) and "health-wrong" in told and "200" in told, told
        if on_failure == "rollback":
            assert muster.status("sick@rehearsal")["health"] == "green", told
        else:
            wait_until(lambda: sorted(one["state"] for one in muster.instances("sick@rehearsal").values())
                       == ["ready", "ready", "unhealthy"], what="one that is unhealthy")
        assert pids() == before, told
    muster.run("up", muster.file(text("")), "--rehearse")
    assert muster.status("sick@rehearsal")["health"] == "green", "it is so once it says so"
    muster.run("up", muster.file(text(", status: 200")), "--rehearse")
    assert muster.status("sick@rehearsal")["health"] == "green"
    assert pids() == before


@pytest.mark.parametrize("hangs", [False, True])
def test_reloads_go_one_after_the_other_each_proven(muster, hangs):
    port = free_ports(2)
    hup = "__import__('time').sleep(1000)" if hangs else "print('reloaded', flush=True)"
    program = ("import signal,http.server,sys\\n"
               f"signal.signal(signal.SIGHUP, lambda *_: {hup})\\n"
               "http.server.HTTPServer((sys.argv[2], int(sys.argv[1])),"
               " http.server.SimpleHTTPRequestHandler).serve_forever()\\n")

    def text(value):
        return f"""
cluster: hup
services:
  web:
    kind: app
    command: python3 -u {{{{folder}}}}/serve.py {{{{ports.http}}}} {{{{address}}}}
    ports: {{ http: {port} }}
    instances: 2
    files: {{ app.ini: {{ content: "v={value}", on_change: reload }}, serve.py: {{ content: "{program}" }} }}
    health: {{ http: /, every: 30s, timeout: 100ms }}
    update: {{ max_unavailable: 1, deadline: 60s }}
"""

    muster.run("up", muster.file(text(1)), "--rehearse")
    before = muster.instances("hup@rehearsal")
    up = muster.run("up", muster.file(impatient(text(2))), "--rehearse", code=None, timeout=25)  # `every` isn't waited for
    assert (up.returncode == 0) != hangs and ("not-ready" in up.stderr) == hangs, up.stdout + up.stderr
    assert before.keys() == muster.instances("hup@rehearsal").keys()
    assert all(muster.instances("hup@rehearsal")[name]["pid"] == one["pid"] for name, one in before.items())
    for name in before:
        assert ("reloaded" in muster.run("logs", "--cluster", "hup@rehearsal", name).stdout) != hangs
    assert not hangs or "web-2" not in up.stdout, "the other serves as before"
