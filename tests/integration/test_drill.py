"""muster drill: a primary is killed, frozen or cut off while clients write, and what that cost is told."""

import json
import os
import shutil
import signal
import socket

import pytest

from conftest import free_ports, wait_until

apart = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")
pytestmark = [pytest.mark.skipif(not shutil.which("redis-server"), reason="needs the package redis-server"),
              pytest.mark.never_again]
KEY = "drilled@rehearsal"
PASSWORD = "s3cr3t-of-the-drill"


def redis_ports():
    """A run of six ports; the bus ports, 10000 above, lie below those that the kernel gives to connections."""
    return next(port for port in iter(lambda: free_ports(6), None) if port + 10006 < 32768)


def redis(muster, rehearse=True):
    port = redis_ports()
    hosts = "\n".join(f"  h{n}: {{ address: 10.0.0.{n} }}" for n in range(1, 4)) if rehearse else ""
    return muster.file(f"cluster: drilled\n{'hosts:' if rehearse else ''}\n{hosts}\n" + f"""
services:
  cache:
    kind: redis-cluster
    masters: 3
    replicas: 1
    port: {port}
    node_timeout: 2s
    password: "{{{{secret.cache}}}}"
    settings: {{ appendfsync: everysec }}
""")


def one_primary(muster):
    """Of `kind: redis`."""
    return muster.file(f"""
cluster: drilled
hosts: {{ h1: {{ address: 10.0.0.1 }}, h2: {{ address: 10.0.0.2 }}, h3: {{ address: 10.0.0.3 }} }}
services:
  cache:
    kind: redis
    replicas: 2
    port: {free_ports(4)}
    password: "{{{{secret.cache}}}}"
    health: {{ every: 250ms, fail_after: 2 }}
""")


def bring_up(muster, network="loopback", file=redis):
    muster.env["MUSTER_REHEARSAL_NETWORK"] = network
    muster.run("secret", "set", "--cluster", KEY, "cache", input=PASSWORD + "\n")
    muster.run("up", file(muster), "--rehearse", timeout=120)
    settled(muster)
    return muster


def cache(muster):
    return muster.status(KEY)["services"][0]


def settled(muster):
    wait_until(lambda: (one := cache(muster))["health"] == "green" and not one["unsettled"], 60, "green and settled")


def ask(address, port, *words):
    """What a Redis answers to a command, as it comes over the wire; the password is said first."""
    with socket.create_connection((address, port), timeout=5) as link:
        file = link.makefile("rwb")
        for command in (("AUTH", PASSWORD), words):
            text = f"*{len(command)}\r\n" + "".join(f"${len(word)}\r\n{word}\r\n" for word in command)
            file.write(text.encode())
            file.flush()
            answer = file.readline().decode().strip()
    return answer


def keys_left(muster):
    return sum(int(ask(one["address"], one["ports"]["port"], "DBSIZE").lstrip(":"))
               for one in muster.instances(KEY).values())


def masters(muster):
    return sorted(name for name, one in muster.instances(KEY).items() if one["facts"].get("role") in ("master", "primary"))


def shows_a_good_end(muster, report, primary, ranges=3, takes_over="take-over"):
    assert report["passed"] and report["failures"] == []
    assert report["instance"] == primary
    assert report["state"] == "green" and report["plan"] == []
    assert len(report["ranges"]) == ranges
    hit = report["ranges"][0]  # of the first primary
    assert hit["name"].startswith("0-") if ranges == 3 else hit["name"] == "all keys"
    assert hit["plain"]["outage_ms"] > 0 and hit["plain"]["first_failure"]
    for one in report["ranges"]:
        assert one["plain"]["acknowledged"] > 50
        assert one["wait"]["acknowledged"] > 0 and one["wait"]["lost"] == 0
    if report["how"] == "kill":  # Redis may be the sooner one where nobody knows of a death
        assert any(deed["verb"] == takes_over and "error" not in deed for deed in report["did"])
    assert primary not in masters(muster)
    # A replica on the host that was cut off hears what it missed when its connection is tried again.
    wait_until(lambda: keys_left(muster) == 0, seconds=30, what="what was written to be gone")
    assert [one["detail"] for one in muster.json("audit", "-c", KEY)["entries"] if one["action"] == "drill"]
    assert muster.run("plan", muster.folder / "cluster.yaml", "--rehearse").returncode == 0
    assert PASSWORD not in json.dumps(report)


def test_a_killed_and_a_frozen_primary_are_replaced_and_the_outage_is_told(muster):
    bring_up(muster)
    primary = masters(muster)[0]
    text = muster.run("drill", "-c", KEY, timeout=120).stdout
    for word in (f"kill: {primary}", "RANGE", "OUTAGE", "WITH WAIT", "what muster did", "take-over", "nothing to do"):
        assert word in text, text
    assert PASSWORD not in text
    assert primary not in masters(muster)
    wait_until(lambda: keys_left(muster) == 0, what="its keys to be gone from the replicas, too")
    pids = {name: one["pid"] for name, one in muster.instances(KEY).items()}

    settled(muster)
    primary = next(name for name, one in muster.instances(KEY).items() if one["role"].startswith("primary of 0-"))
    report = muster.json("drill", "cache", "kill", "-c", KEY, timeout=120)
    shows_a_good_end(muster, report, primary)
    assert muster.instances(KEY)[primary]["pid"] != pids[primary]

    primary = next(name for name, one in muster.instances(KEY).items() if one["role"].startswith("primary of 0-"))
    report = muster.json("drill", "freeze", "-c", KEY, timeout=120)
    shows_a_good_end(muster, report, primary)
    assert report["how"] == "freeze"

    replica = next(name for name in muster.instances(KEY) if name not in masters(muster))
    report = muster.json("drill", "--instance", replica, "-c", KEY, timeout=120)
    assert report["passed"] and report["instance"] == replica
    assert all(one["plain"]["lost"] == 0 and one["plain"]["outage_ms"] is None for one in report["ranges"])
    assert muster.run("drill", "cache", "burn", "-c", KEY, code=1)
    assert "cut-impossible" in muster.run("drill", "cut", "-c", KEY, code=1).stderr
    wait_until(lambda: keys_left(muster) == 0, what="its keys to be gone from the replicas, too")


@apart
def test_a_primary_that_is_cut_off_is_replaced_and_comes_back_as_a_replica(muster):
    bring_up(muster, "namespaces")
    primary = masters(muster)[0]
    report = muster.json("drill", "cut", "-c", KEY, timeout=150)
    shows_a_good_end(muster, report, primary)
    assert 0 < report["healed_after_ms"] < report["green_after_ms"]
    assert not any(host["cut"] for host in muster.status(KEY)["hosts"])


def of_one_primary(muster, how):
    """The report of a drill that breaks the one primary by `how`."""
    primary, = masters(muster)
    report = muster.json("drill", "cache", how, "-c", KEY, timeout=150)
    assert report["how"] == how
    shows_a_good_end(muster, report, primary, ranges=1, takes_over="promote")
    settled(muster)
    return report


def test_the_primary_of_a_redis_is_killed_and_frozen_and_both_are_told(muster):
    bring_up(muster, file=one_primary)
    text = muster.run("drill", "-c", KEY, timeout=120).stdout
    for word in ("kill: cache-1", "writing to 1 range of cache", "all keys", "WITH WAIT", "promote", "nothing to do"):
        assert word in text, text
    assert PASSWORD not in text
    wait_until(lambda: keys_left(muster) == 0, what="its keys to be gone from the replicas, too")
    settled(muster)
    of_one_primary(muster, "kill")
    of_one_primary(muster, "freeze")
    replica = next(name for name in muster.instances(KEY) if name not in masters(muster))
    report = muster.json("drill", "--instance", replica, "-c", KEY, timeout=120)
    assert report["passed"] and report["instance"] == replica
    assert report["ranges"][0]["plain"]["lost"] == 0 and report["ranges"][0]["plain"]["outage_ms"] is None
    wait_until(lambda: keys_left(muster) == 0, what="its keys to be gone from the replicas, too")


@apart
def test_the_primary_of_a_redis_is_cut_off_and_comes_back_as_a_replica(muster):
    bring_up(muster, "namespaces", one_primary)
    report = of_one_primary(muster, "cut")
    assert 0 < report["healed_after_ms"] < report["green_after_ms"]


@apart
def test_who_gives_a_drill_up_leaves_nothing_broken(muster):
    bring_up(muster, "namespaces")
    drill = muster.start("drill", "cut", "-c", KEY)
    wait_until(lambda: any(host["cut"] for host in muster.status(KEY)["hosts"]), what="the cut")
    drill.send_signal(signal.SIGINT)
    drill.wait(10)
    drill.stdout.close()
    wait_until(lambda: not any(host["cut"] for host in muster.status(KEY)["hosts"]), what="the host to be healed")
    settled(muster)
    wait_until(lambda: keys_left(muster) == 0, 60, "what was written to be removed")


def test_what_is_no_rehearsal_is_broken_only_by_name(muster):
    muster.run("secret", "set", "--cluster", "drilled", "cache", input=PASSWORD + "\n")
    muster.run("up", redis(muster, rehearse=False), timeout=120)
    refused = muster.run("drill", code=3)
    assert "confirm-name" in refused.stderr and "--confirm drilled" in refused.stderr
    assert muster.run("drill", "--confirm", "other", code=3)
    assert not [one for one in muster.json("audit", "-c", "drilled")["entries"] if one["action"] == "drill"]
    wait_until(lambda: not muster.status("drilled")["services"][0]["unsettled"], what="settled")
    report = muster.json("drill", "--confirm", "drilled", timeout=120)
    assert report["passed"], report


def test_the_only_host_is_not_cut_off(muster):
    muster.run("up", muster.file(f"""
cluster: drilled
hosts: {{ h1: {{ address: 10.0.0.1 }} }}
services:
  cache: {{ kind: redis, replicas: 1, port: {free_ports(2)} }}
"""), "--rehearse", timeout=120)
    refused = muster.run("drill", "cut", "-c", KEY, code=1).stderr
    assert "all of cache stands on h1" in refused and "[nobody-elsewhere]" in refused, refused
    assert not any(host["cut"] for host in muster.status(KEY)["hosts"])


def test_only_kinds_with_a_client_can_be_drilled(muster):
    port = free_ports(1)
    muster.run("up", muster.file(f"""
cluster: plain
services:
  app:
    kind: app
    command: "{{{{artifact}}}} --port={{{{ports.http}}}} --address={{{{address}}}}"
    artifact: {muster.app}
    ports: {{ http: {port} }}
"""), "--rehearse")
    assert "nothing-to-drill" in muster.run("drill", "-c", "plain@rehearsal", code=1).stderr
    assert "unknown-service" in muster.run("drill", "nothing", "-c", "plain@rehearsal", code=1).stderr
