"""The examples, as they stand in the repository, do what they promise."""

import os
import pathlib
import shutil
import subprocess

import pytest

from conftest import TOP, edge, get, processes_below, wait_until
from redis_client import SLOTS, Redis
from redis_clusters import needs_redis


def bring_up(muster, name):
    # The examples name the built program relative to themselves.
    shutil.copytree(TOP / "examples", muster.folder / "examples", ignore=shutil.ignore_patterns("app"))
    (muster.folder / "build").mkdir()
    shutil.copy(muster.app, muster.folder / "build")
    file = muster.folder / "examples" / f"{name}.yaml"
    muster.run("check", file, "--rehearse", "--file-only")
    muster.run("up", file, "--rehearse")
    return f"{name}@rehearsal"


def groups_of(pids):
    """The control groups that muster made for these processes: another test may run the same example."""
    below = set()
    for pid in pids:
        for line in pathlib.Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            _, _, path = line.split(":", 2)
            if path.startswith("/muster/"):
                below.add(path[1:])
    root = pathlib.Path("/sys/fs/cgroup")
    return [path for name in below for path in (root / name, *root.glob(f"*/{name}")) if path.is_dir()]


@pytest.mark.parametrize("name", ["demo", "lowcode", "iot"])
def test_an_example_comes_up_and_verifies(muster, name):
    cluster = bring_up(muster, name)
    assert muster.status(cluster)["health"] == "green"
    done = muster.json("verify", "--cluster", cluster)
    assert done["passed"], [check for check in done["checks"] if not check["passed"]]


def test_lowcode_is_the_guide_to_the_letter(muster):
    cluster = bring_up(muster, "lowcode")
    url = edge(muster, cluster)
    apps = {n: one for n, one in muster.instances(cluster).items() if n.startswith("creator")}
    assert len(apps) == 10
    ports = sorted((one["address"], one["ports"]["http"]) for one in apps.values())
    assert [port for _, port in ports] == [5040, 5041, 5042, 5043, 5044] * 2
    assert get(url + "cordova.js")[0] == 404
    assert len({get(url)[1]["X-Instance"] for _ in range(10)}) == 1  # ip_hash: one client, one instance
    envs = {path.read_text() for path in pathlib.Path(muster.home).glob("m/hosts/*/*/instances/*/environment")}
    assert len(envs) in (0, 10)
    seen = {get(f"http://{one['address']}:{one['ports']['http']}/info")[2] for one in apps.values()}
    assert len(seen) == 10


@needs_redis
def test_sessions_is_one_redis_with_replicas_and_a_password(muster):
    key = "sessions@rehearsal"
    muster.run("secret", "set", "sessions", "-c", key, input="pass word\n")
    bring_up(muster, "sessions")
    members = muster.instances(key)
    primary, = (one for one in members.values() if one["facts"]["role"] == "primary")
    assert len(members) == 3 and primary["host"] == "h1"
    with Redis(primary["address"], 6379, "pass word") as redis:
        assert redis.ask("SET", "greeting", "hello") == "OK"
    assert f"{primary['address']}:6379" in muster.run("status", "--cluster", key).stdout
    assert muster.json("verify", "--cluster", key)["passed"]


# What the guide's loop writes into each redis.conf, but for the address, which is this machine's own in a rehearsal.
GUIDE = {"cluster-enabled": "yes", "cluster-config-file": "nodes.conf", "cluster-node-timeout": "5000", "appendonly": "yes"}


@needs_redis
def test_cache_is_the_guides_redis_cluster_to_the_letter(muster):
    cluster = bring_up(muster, "cache")
    members = muster.instances(cluster)
    address = {one["address"] for one in members.values()}
    assert len(members) == 6 and len(address) == 1
    address = address.pop()
    assert [one["ports"] for one in members.values()] == [{"port": port, "bus": 10000 + port} for port in range(7001, 7007)]
    # "3 主 3 从": three masters, each with one replica.
    facts = [one["facts"] for one in members.values()]
    masters = sorted(one["node"] for one in facts if one["role"] == "master")
    assert len(masters) == 3 and masters == sorted(one["primary"] for one in facts if one["role"] == "replica")
    for port in range(7001, 7007):
        with Redis(address, port) as redis:
            said = {name: redis.ask("CONFIG", "GET", name)[1] for name in GUIDE}
            state = redis.ask("CLUSTER", "INFO")
            nodes = redis.ask("CLUSTER", "NODES").splitlines()
        assert said == GUIDE, port
        assert "cluster_state:ok" in state and f"cluster_slots_ok:{SLOTS}" in state and "cluster_known_nodes:6" in state
        # What it announces is what the others, and clients that are redirected, are sent to.
        assert {node.split(" ")[1] for node in nodes} == {f"{address}:{at}@{10000 + at}" for at in range(7001, 7007)}

    service = muster.status(cluster)["services"][0]
    assert (service["health"], service["ready"], service["wanted"]) == ("green", 6, 6), service
    verified = muster.json("verify", "--cluster", cluster)
    assert verified["passed"], [check for check in verified["checks"] if not check["passed"]]
    wait_until(lambda: not muster.status(cluster)["services"][0]["unsettled"], 30, "all six to know the same")
    muster.run("plan", muster.folder / "examples" / "cache.yaml", "--rehearse", code=0)

    # Down: nothing runs, nothing listens, and all that is left is the data, which goes when it is asked for.
    pids = [one["pid"] for one in members.values()]
    muster.run("down", "--cluster", cluster)
    assert not set(pids) & set(processes_below(muster.home))
    for port in range(7001, 7007):
        with pytest.raises(ConnectionRefusedError):
            Redis(address, port)
    assert len(list(pathlib.Path(muster.home).glob("m/**/appendonlydir"))) == 6
    muster.run("down", "--cluster", cluster, "--delete-data", "--confirm", "cache")
    assert not list(pathlib.Path(muster.home).glob("m/**/appendonlydir"))
    wait_until(lambda: not [command for command in processes_below(muster.home).values() if "server run" not in command],
               what="agents to be gone")
    assert list(pathlib.Path(muster.home).glob("m/hosts/*/*")) == []


def test_iot_strips_prefixes_and_pins_uploads(muster):
    cluster = bring_up(muster, "iot")
    url = edge(muster, cluster)
    assert len({get(url + "jetlinks/echo/x")[1]["X-Instance"] for _ in range(12)}) == 3
    assert {get(url + "upload/x")[1]["X-Instance"] for _ in range(6)} == {get(url + "jetlinks/file/static/y")[1]["X-Instance"]}
    assert '/echo/x' in get(url + "jetlinks/echo/x")[2] and '/jetlinks' not in get(url + "jetlinks/echo/x")[2].split("\n")[0]
    assert get(url)[1]["X-Instance"] == "ui-1"
    file = muster.folder / "examples" / "iot.yaml"
    file.write_text(file.read_text().replace("http://{{address}}:8844/", "http://localhost:8844/"))
    found = muster.run("check", file, "--rehearse", "--file-only", code=1)
    assert "localhost-peer" in found.stdout + found.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")
def test_an_address_that_a_rehearsal_as_root_cannot_reach_is_told(muster):
    file = muster.file("""
cluster: out
services:
  web:
    kind: app
    command: sleep 60
    env: { DB_URL: "mysql://me:s3cret@db.example.org:3306/shop" }
""")
    apart = muster.run("check", file, "--rehearse", env={"MUSTER_REHEARSAL_NETWORK": "namespaces"})
    assert ":7:20: warning: env DB_URL of web names db.example.org:3306:" in apart.stdout + apart.stderr
    assert "[rehearsal-apart]" in apart.stdout + apart.stderr and "s3cret" not in apart.stdout + apart.stderr
    for args, network in ((["--rehearse"], "loopback"), ([], "namespaces")):
        told = muster.run("check", file, *args, env={"MUSTER_REHEARSAL_NETWORK": network})
        assert "rehearsal-apart" not in told.stdout + told.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")
def test_with_root_each_host_has_a_network_of_its_own(muster):
    muster.env["MUSTER_REHEARSAL_NETWORK"] = "namespaces"
    cluster = bring_up(muster, "demo")
    agents = muster.agent_pids()
    networks = {os.readlink(f"/proc/{pid}/ns/net") for pid in agents}
    assert len(networks) == 2 and os.readlink("/proc/self/ns/net") not in networks
    assert get(edge(muster, cluster))[0] == 200
    # No way out, as docs/running.md says.
    out = muster.run("exec", "-c", cluster, "web-1", "--", "bash", "-c", "exec 3<>/dev/tcp/192.0.2.1/53", code=1)
    assert "Network is unreachable" in out.stdout + out.stderr
    block = muster.instances(cluster)["web-1"]["address"].split(".")[2]
    assert muster.json("verify", "--cluster", cluster)["passed"]
    groups = groups_of(processes_below(muster.home))
    assert groups or not pathlib.Path("/sys/fs/cgroup/memory/muster").exists()
    muster.run("down", "--cluster", cluster, "--delete-data", "--confirm", "demo")

    def gone():
        links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True).stdout
        names = subprocess.run(["ip", "netns"], capture_output=True, text=True).stdout
        return f"muster-{block}" not in links and f"muster-{block}-" not in names

    wait_until(gone, what="bridge and namespaces to be gone")
    wait_until(lambda: not [command for command in processes_below(muster.home).values() if "server run" not in command],
               what="agents to be gone")
    assert [path for path in groups if path.exists()] == []
