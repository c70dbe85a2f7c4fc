"""A rehearsed host that is cut off: nobody reaches what runs there, and it reaches nobody, until it is healed."""

import json
import os
import pathlib
import subprocess

import pytest

from conftest import get, wait_until

apart = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")


def shop(muster):
    return muster.file(f"""
cluster: shop
hosts:
  h1: {{ address: 10.0.0.1 }}
  h2: {{ address: 10.0.0.2 }}
services:
  app:
    kind: app
    command: "{{{{artifact}}}} --port={{{{ports.http}}}} --address={{{{address}}}} --id={{{{instance}}}}"
    artifact: {muster.app}
    instances: 2
    ports: {{ http: 8101 }}
    health: {{ http: /health, every: 300ms }}
""")


@pytest.fixture
def rehearsed(muster):
    """A rehearsal of two hosts with an app on each, every host with a network of its own."""
    muster.env["MUSTER_REHEARSAL_NETWORK"] = "namespaces"
    muster.run("up", shop(muster), "--rehearse")
    return muster


def reaches(url):
    try:
        return get(url, timeout=0.5)[0] == 200
    except OSError:
        return False


def urls(muster):
    """Where each app listens, by its host."""
    return {one["host"]: f"http://{one['address']}:{one['ports']['http']}/health"
            for one in muster.instances("shop@rehearsal").values()}


def host(muster, name):
    return next(one for one in muster.status("shop@rehearsal")["hosts"] if one["name"] == name)


def reaches_from(muster, name, url):
    """Whether what runs on host `name` reaches `url`."""
    app = next(one["name"] for one in muster.instances("shop@rehearsal").values() if one["host"] == name)
    got = muster.run("exec", app, "-c", "shop@rehearsal", "-n", "--", "bash", "-c",
                     "a=${1#http://}; a=${a%%/*}; timeout 1 bash -c \": < /dev/tcp/${a%:*}/${a#*:}\"", "-", url, code=None)
    return got.returncode == 0


def block(muster):
    """Of the addresses that this rehearsal has: 127.77.BLOCK.0/24."""
    return next(iter(muster.instances("shop@rehearsal").values()))["address"].split(".")[2]


def links_down(block):
    """Ends of this rehearsal's hosts' links that are down; other tests cut theirs meanwhile."""
    return [path.parent.name for path in pathlib.Path("/sys/class/net").glob(f"muster-{block}-*/flags")
            if not int(path.read_text(), 16) & 1]


@apart
def test_a_cut_host_is_reached_by_nobody_until_it_is_healed(rehearsed):
    where = urls(rehearsed)
    pids = {name: one["pid"] for name, one in rehearsed.instances("shop@rehearsal").items()}
    assert all(reaches(url) for url in where.values())
    assert reaches_from(rehearsed, "h1", where["h2"])

    assert "h2 is cut off" in rehearsed.run("host", "cut", "h2").stdout
    assert not reaches(where["h2"])  # from the machine
    assert not reaches_from(rehearsed, "h1", where["h2"])  # from another host
    assert reaches(where["h1"])
    status = rehearsed.status("shop@rehearsal")
    assert [(one["name"], one["connected"], one["cut"]) for one in status["hosts"]] == [("h1", True, False), ("h2", False, True)]
    assert status["health"] == "yellow"
    assert any("h2 is cut off" in reason for reason in status["reasons"])
    text = rehearsed.run("status").stdout
    assert "cut off" in text and "muster host heal" in text
    assert len(rehearsed.agent_pids()) == 2  # the agent lives, and so does what it watches
    assert "already" in rehearsed.run("host", "cut", "h2").stdout

    assert "healed" in rehearsed.run("host", "heal", "h2").stdout
    wait_until(lambda: host(rehearsed, "h2")["connected"], what="the agent to be let in again")
    wait_until(lambda: reaches(where["h2"]), what="the app to be reached again")
    assert {name: one["pid"] for name, one in rehearsed.instances("shop@rehearsal").items()} == pids
    assert rehearsed.status("shop@rehearsal")["health"] == "green"
    assert "wasn't" in rehearsed.run("host", "heal", "h2").stdout
    actions = [one["action"] for one in rehearsed.json("audit", "-c", "shop@rehearsal")["entries"]]
    assert [one for one in actions if one.startswith("host ")] == ["host heal", "host cut"]


@apart
def test_nothing_stays_cut_unnoticed_when_the_server_is_killed(rehearsed):
    where, mine = urls(rehearsed), block(rehearsed)
    rehearsed.run("host", "cut", "h2")
    os.kill(rehearsed.server_pid(), 9)
    status = rehearsed.status("shop@rehearsal")
    assert [one["cut"] for one in status["hosts"]] == [False, True]
    assert not host(rehearsed, "h2")["connected"]
    assert not reaches(where["h2"])
    # A link that somebody else has set up is down again with the next server.
    down = links_down(mine)
    assert len(down) == 1
    subprocess.run(["ip", "link", "set", down[0], "up"], check=True)
    rehearsed.run("server", "stop")
    rehearsed.status("shop@rehearsal")
    wait_until(lambda: links_down(mine) == down, what="the link to be down again")
    rehearsed.run("host", "heal", "h2")
    wait_until(lambda: reaches(where["h2"]), what="the app to be reached again")
    assert links_down(mine) == []


@apart
def test_an_agent_that_dies_while_its_host_is_cut_off_comes_back_when_it_is_healed(rehearsed):
    rehearsed.run("host", "cut", "h2")
    mine = [pid for pid in rehearsed.agent_pids()
            if b"--host\0h2" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert len(mine) == 1
    os.kill(mine[0], 9)
    wait_until(lambda: mine[0] not in rehearsed.agent_pids(), what="the agent's end")
    rehearsed.run("host", "heal", "h2")
    wait_until(lambda: host(rehearsed, "h2")["connected"], what="another agent")
    wait_until(lambda: rehearsed.status("shop@rehearsal")["health"] == "green", what="green")


@apart
def test_who_left_while_its_host_was_cut_off_gives_its_port_to_whoever_has_it_now(rehearsed):
    before = rehearsed.instances("shop@rehearsal")
    rehearsed.run("host", "cut", "h2")
    file = shop(rehearsed)
    file.write_text(file.read_text().replace("  app:\n", "  site:\n"))
    rehearsed.run("up", file, "--rehearse")
    assert rehearsed.state("shop@rehearsal", "site-1") == "ready"
    away = next(one for one in before.values() if one["host"] == "h2")
    assert away["pid"] in rehearsed.app_pids()  # nobody can reach it to stop it
    rehearsed.run("host", "heal", "h2")

    def is_moved():
        now = rehearsed.instances("shop@rehearsal")
        return sorted(now) == ["site-1", "site-2"] and {one["state"] for one in now.values()} == {"ready"}
    wait_until(is_moved, 40, "the new one to take the port of the old one")
    assert away["pid"] not in rehearsed.app_pids()
    new = rehearsed.instances("shop@rehearsal")["site-2"]
    assert (new["host"], new["ports"]) == (away["host"], away["ports"])
    assert reaches(urls(rehearsed)["h2"])
    wait_until(lambda: rehearsed.status("shop@rehearsal")["health"] == "green", what="green")
    assert rehearsed.json("plan", file, "--rehearse")["plan"]["steps"] == []


@apart
def test_down_heals_and_leaves_nothing(rehearsed):
    mine = block(rehearsed)
    rehearsed.run("host", "cut", "h2")
    assert len(links_down(mine)) == 1
    rehearsed.run("down", "--delete-data", "--confirm", "shop")
    wait_until(lambda: not rehearsed.app_pids() and not rehearsed.agent_pids(), what="everything to be gone")
    assert links_down(mine) == []


def test_only_a_rehearsal_can_be_cut(muster):
    text = shop(muster).read_text().replace("  h1: { address: 10.0.0.1 }\n", "").replace("  h2: { address: 10.0.0.2 }\n", "")
    muster.run("up", muster.file(text.replace("hosts:\n", "")))
    refused = muster.run("host", "cut", "local", code=1)
    assert "not-a-rehearsal" in refused.stderr


def test_a_cut_needs_namespaces_and_a_host_that_is_there(muster):
    muster.run("up", shop(muster), "--rehearse")  # on plain addresses of lo
    assert "cut-impossible" in muster.run("host", "cut", "h2", code=1).stderr
    assert not any(one["cut"] for one in muster.status("shop@rehearsal")["hosts"])
    unknown = json.loads(muster.run("host", "cut", "h9", "--json", code=1).stdout)
    assert unknown["error"]["code"] == "unknown-host"
    assert "h1, h2" in unknown["error"]["hint"]
