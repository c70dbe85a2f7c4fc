"""From one file to a running cluster, and back to nothing."""

import concurrent.futures
import os
import pathlib
import re
import urllib.request

from conftest import edge, free_ports, get, processes_below, wait_until, web


def test_brings_a_cluster_up_changes_it_and_takes_it_down(muster):
    file = muster.file(web(muster, instances=4))
    plan = muster.run("plan", file, "--rehearse", code=2)
    assert "app-1" in plan.stdout
    muster.run("up", file, "--rehearse")
    status = muster.status("web@rehearsal")
    assert status["health"] == "green", status
    assert {s["name"]: s["ready"] for s in status["services"]} == {"app": 4, "edge": 1}

    # All four answer behind the balancer.
    url = edge(muster, "web@rehearsal")
    seen = {get(url)[1].get("X-Instance") for _ in range(16)}
    assert seen == {"app-1", "app-2", "app-3", "app-4"}

    # Nothing to do a second time, for plan and up alike.
    muster.run("plan", file, "--rehearse", code=0)
    pids = {name: one["pid"] for name, one in muster.instances("web@rehearsal").items()}
    assert "nothing to do" in muster.run("up", file, "--rehearse").stdout.lower()
    assert pids == {name: one["pid"] for name, one in muster.instances("web@rehearsal").items()}

    # Only what a change concerns is touched.
    file.write_text(file.read_text().replace("    health:", "    env: { APP_COLOR: green }\n    health:"))
    muster.run("up", file, "--rehearse")
    now = {name: one["pid"] for name, one in muster.instances("web@rehearsal").items()}
    assert all(now[name] != pids[name] for name in now if name.startswith("app-"))
    assert now["edge-1"] == pids["edge-1"]
    assert "green" in get(url)[2]

    muster.run("down", "--cluster", "web@rehearsal")
    wait_until(lambda: not [command for command in processes_below(muster.home).values() if "server run" not in command],
               what="instances and agents to be gone")


def test_down_keeps_data_until_the_name_is_typed(muster):
    port = free_ports(1)
    file = muster.file(f"""
cluster: keep
services:
  box:
    kind: app
    command: "{muster.app} --port={{{{ports.http}}}} --address={{{{address}}}} --id={{{{instance}}}}"
    ports: {{ http: {port} }}
    data: [box]
    health: {{ http: /health }}
""")
    muster.run("up", file)
    data = next(pathlib.Path(muster.home).glob("m/hosts/keep/*/instances/box-1/data/box"))
    (data / "precious").write_text("kept")
    muster.run("down", "--cluster", "keep")
    assert (data / "precious").read_text() == "kept"
    muster.run("up", file)
    assert (data / "precious").read_text() == "kept"
    muster.run("down", "--cluster", "keep", "--delete-data", "--confirm", "wrong", code=3)
    assert (data / "precious").exists()
    muster.run("down", "--cluster", "keep", "--delete-data", "--confirm", "keep")
    wait_until(lambda: not pathlib.Path(muster.home, "m/hosts/keep").exists(), what="the data to be gone")
    assert muster.json("status", "--all")["clusters"] == []


def test_scales_rolls_back_and_remembers(muster):
    file = muster.file(web(muster, instances=2))
    muster.run("up", file, "--rehearse")
    muster.run("scale", "--cluster", "web@rehearsal", "app", "4")
    assert len([n for n in muster.instances("web@rehearsal") if n.startswith("app-")]) == 4
    url = edge(muster, "web@rehearsal")
    assert len({get(url)[1].get("X-Instance") for _ in range(16)}) == 4
    muster.run("scale", "--cluster", "web@rehearsal", "app", "1")
    assert [n for n in muster.instances("web@rehearsal") if n.startswith("app-")] == ["app-1"]
    muster.run("rollback", "--cluster", "web@rehearsal", "1")
    assert len([n for n in muster.instances("web@rehearsal") if n.startswith("app-")]) == 2
    revisions = muster.json("history", "--cluster", "web@rehearsal")["revisions"]
    assert [r["number"] for r in revisions] == [4, 3, 2, 1]
    assert "rollback to 1" in revisions[0]["note"]
    actions = [entry["action"] for entry in muster.json("audit", "--cluster", "web@rehearsal")["entries"]]
    assert actions == ["rollback", "scale", "scale", "up"]


def test_rolls_back_to_the_artifact_of_that_revision(muster):
    port = free_ports(1)
    text = f"""
cluster: art
services:
  job:
    kind: app
    command: "{{{{artifact}}}} {port}"
    artifact: ./job.sh
    ports: {{ http: {port} }}
    health: {{ tcp: http }}
"""
    script = muster.file("#!/bin/sh\nexec %s --port=$1 --id=first\n" % muster.app, "job.sh")
    script.chmod(0o755)
    file = muster.file(text)
    muster.run("up", file)
    assert get(f"http://127.0.0.1:{port}/")[1]["X-Instance"] == "first"
    script.write_text(script.read_text().replace("first", "second"))
    muster.run("plan", file, code=2)
    muster.run("up", file)
    assert get(f"http://127.0.0.1:{port}/")[1]["X-Instance"] == "second"
    script.unlink()
    muster.run("rollback", "--cluster", "art")
    assert get(f"http://127.0.0.1:{port}/")[1]["X-Instance"] == "first"


def test_stop_holds_an_instance_until_start(muster):
    file = muster.file(web(muster, instances=2))
    muster.run("up", file, "--rehearse")
    muster.run("stop", "--cluster", "web@rehearsal", "app-1")
    assert muster.state("web@rehearsal", "app-1") == "stopped"
    muster.run("up", file, "--rehearse")
    assert muster.state("web@rehearsal", "app-1") == "stopped"
    url = edge(muster, "web@rehearsal")
    assert {get(url)[1].get("X-Instance") for _ in range(8)} == {"app-2"}
    muster.run("start", "--cluster", "web@rehearsal", "app-1")
    assert muster.state("web@rehearsal", "app-1") == "ready"
    assert {get(url)[1].get("X-Instance") for _ in range(8)} == {"app-1", "app-2"}


def test_shows_and_mends_what_was_changed_by_hand(muster):
    file = muster.file(web(muster, instances=1))
    muster.run("up", file, "--rehearse")
    conf = next(pathlib.Path(muster.home).glob("m/hosts/web@rehearsal/*/instances/edge-1/conf/nginx.conf"))
    before = conf.read_text()
    conf.write_text(before + "# by hand\n")
    plan = muster.run("plan", file, "--rehearse", code=2).stdout
    assert "by hand" in plan and "nginx.conf" in plan
    muster.run("up", file, "--rehearse")
    assert conf.read_text() == before
    muster.run("plan", file, "--rehearse", code=0)


def test_logs_and_exec(muster):
    file = muster.file(web(muster, instances=2))
    muster.run("up", file, "--rehearse")
    ports = {name: one for name, one in muster.instances("web@rehearsal").items()}
    for name in ("app-1", "app-2"):
        get(f"http://{ports[name]['address']}:{ports[name]['ports']['http']}/log?line=hello-from-{name}")
    both = muster.run("logs", "--cluster", "web@rehearsal", "app").stdout
    assert re.search(r"app-1.*hello-from-app-1", both) and re.search(r"app-2.*hello-from-app-2", both)
    one = muster.run("logs", "--cluster", "web@rehearsal", "app-2", "--tail", "1").stdout
    assert "hello-from-app-2" in one and "app-1" not in one
    done = muster.run("exec", "--cluster", "web@rehearsal", "app-1", "--", "sh", "-c", "pwd; echo err >&2; exit 7", code=7)
    assert "instances/app-1" in done.stdout and "err" in done.stderr


def test_secrets_reach_the_program_and_nothing_else(muster):
    port = free_ports(1)
    file = muster.file(f"""
cluster: hush
services:
  vault:
    kind: app
    command: "{muster.app} --port={{{{ports.http}}}} --id={{{{instance}}}}"
    ports: {{ http: {port} }}
    env: {{ APP_TOKEN: "{{{{secret.token}}}}" }}
    health: {{ http: /health }}
""")
    refused = muster.run("up", file, code=1)
    assert "secret set token" in refused.stdout + refused.stderr
    muster.run("secret", "set", "--cluster", "hush", "token", input="s3cr3t-value-1\n")
    muster.run("up", file)
    assert "s3cr3t-value-1" in get(f"http://127.0.0.1:{port}/")[2]
    shown = ""
    for args in (["plan", file], ["status"], ["ps"], ["history"], ["audit"], ["secret", "list"], ["logs"]):
        named = args if args[0] == "plan" else [*args, "--cluster", "hush"]
        done = muster.run(*named, "--json" if args[0] != "logs" else "--tail=50", code=None)
        shown += done.stdout + done.stderr
    muster.run("render", file, "--to", "files", "--out", muster.folder / "rendered", code=None)
    for path in muster.folder.glob("rendered/**/*"):
        shown += path.read_text() if path.is_file() else ""
    for command in processes_below(muster.home).values():
        shown += command
    assert "s3cr3t-value-1" not in shown
    for path in pathlib.Path(muster.home).rglob("*"):
        if path.is_file() and not path.is_symlink() and b"s3cr3t-value-1" in path.read_bytes():
            assert path.stat().st_mode & 0o077 == 0, f"{path} has a secret and is open to others"
    muster.run("secret", "set", "--cluster", "hush", "token", input="s3cr3t-value-2\n")
    muster.run("plan", file, code=2)
    muster.run("up", file)
    assert "s3cr3t-value-2" in get(f"http://127.0.0.1:{port}/")[2]
    muster.run("secret", "rotate")
    muster.run("plan", file, code=0)


def test_verify_tries_routes_spread_and_websocket(muster):
    file = muster.file(web(muster, instances=2).replace("every: 1s", "every: 30s"))
    muster.run("up", file, "--rehearse")
    done = muster.json("verify", "--cluster", "web@rehearsal")
    assert done["passed"], done
    names = " ".join(check["name"].lower() for check in done["checks"])
    assert "websocket" in names and "spread" in names, names
    # It can fail: an instance that is unwell is told.
    pid = muster.instances("web@rehearsal")["app-1"]["pid"]
    os.kill(pid, 19)
    try:
        failed = muster.json("verify", "--cluster", "web@rehearsal", code=1)
        assert not failed["passed"]
        assert [check["name"] for check in failed["checks"] if not check["passed"]][0] == "app-1 answers"
    finally:
        os.kill(pid, 18)


def test_a_restart_waits_for_requests_under_way_as_long_as_it_is_told(muster):
    muster.run("up", muster.file(web(muster, instances=2, update="{ max_unavailable: 1, drain: 20s }",
                                     extra="--stop-delay=0s")), "--rehearse")
    url = edge(muster, "web@rehearsal")

    def post():  # which nginx doesn't repeat elsewhere
        with urllib.request.urlopen(url + "slow?ms=2500", data=b"x", timeout=10) as answer:
            return answer.status

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        slow = [pool.submit(post) for _ in range(4)]
        wait_until(lambda: all(one.running() for one in slow), what="the requests to begin")
        muster.run("restart", "app", "--cluster", "web@rehearsal")
        answers = [one.result() for one in slow]
    assert answers == [200] * 4


def test_the_access_log_is_part_of_the_logs(muster):
    file = muster.file(web(muster, instances=1).replace("    hosts: [h1]", "    hosts: [h1]\n    access_log: true"))
    muster.run("up", file, "--rehearse")
    get(edge(muster, "web@rehearsal") + "info?seen=1")
    wait_until(lambda: "GET /info?seen=1" in muster.run("logs", "edge", "--cluster", "web@rehearsal").stdout,
               what="the request in the log")


def test_rehearsed_clusters_stand_side_by_side(muster):
    ports = free_ports(3)
    one = muster.file(web(muster, instances=2, name="one", port=ports), "one.yaml")
    two = muster.file(web(muster, instances=2, name="two", port=ports), "two.yaml")
    muster.run("up", one, "--rehearse")
    muster.run("up", two, "--rehearse")
    addresses = {muster.instances(f"{name}@rehearsal")["app-1"]["address"] for name in ("one", "two")}
    assert len(addresses) == 2 and all(address.startswith("127.77.") for address in addresses)
    for name in ("one", "two"):
        assert get(edge(muster, f"{name}@rehearsal"))[0] == 200


def test_secrets_and_sockets_are_for_their_owner_only(muster):
    muster.run("up", muster.file(web(muster, instances=1)), "--rehearse")
    for name in ("api.sock", "agents.sock"):
        assert os.stat(f"{muster.home}/m/server/{name}").st_mode & 0o077 == 0
    assert os.stat(f"{muster.home}/m/server/key").st_mode & 0o077 == 0


def test_a_host_that_is_written_above_others_moves_none_of_them(muster):
    command = "{{artifact}} --port={{ports.http}} --address={{address}}"
    file = muster.file(web(muster, instances=2, command=command))
    muster.run("up", file, "--rehearse")
    before = {one["name"]: one["address"] for one in muster.status("web@rehearsal")["hosts"]}
    pids = {name: one["pid"] for name, one in muster.instances("web@rehearsal").items()}
    file.write_text(file.read_text().replace("  h1:", "  h0: { address: 10.0.0.9 }\n  h1:")
                    .replace("instances: 2", "instances: 3"))
    muster.run("up", file, "--rehearse")
    after = {one["name"]: one["address"] for one in muster.status("web@rehearsal")["hosts"]}
    assert {name: after[name] for name in before} == before
    assert len(set(after.values())) == 3
    now = {name: one["pid"] for name, one in muster.instances("web@rehearsal").items()}
    assert {name: now[name] for name in pids} == pids  # nobody was restarted
