"""Artifacts: more than one of them changes at once, on one host, in one `up`."""

import os
import pathlib
import signal

from conftest import edge, free_ports, get, wait_until

KEY = "pair@rehearsal"
BALLAST = 6 << 20  # bytes that make an artifact take more than one piece on its way


def cluster(muster, instances=2):
    """Two services on one host, each with an artifact of its own, behind one nginx."""
    port = free_ports(5)
    services = ""
    for at, name in enumerate(("shop", "desk")):
        services += f"""
  {name}:
    kind: app
    command: "{{{{artifact}}}} --port={{{{ports.http}}}} --address={{{{address}}}} --id={{{{instance}}}}"
    artifact: ./{name}.sh
    instances: {instances}
    ports: {{ http: {port + 2 * at} }}
    health: {{ http: /health, every: 1s }}"""
    return muster.file(f"""
cluster: pair
hosts:
  h1: {{ address: 10.0.0.1 }}
services:{services}
  edge:
    kind: nginx
    listen: {port + 4}
    routes:
      - {{ path: /shop/, to: shop, strip: true }}
      - {{ path: /desk/, to: desk, strip: true }}
""")


def artifact(muster, name, version):
    """A program that is only a wrapper, but a large one, and of other bytes in each version."""
    path = muster.file(f"#!/bin/sh\nexec {muster.app} --version={version} \"$@\"\n", name + ".sh")
    with path.open("ab") as file:
        file.write(os.urandom(1024) * (BALLAST // 1024))
    path.chmod(0o755)


def versions(muster):
    url = edge(muster, KEY)
    return {name: {line.split(": ")[1] for _ in range(6) for line in get(f"{url}/{name}/")[2].splitlines()
                   if line.startswith("version: ")} for name in ("shop", "desk")}


def artifacts_on_host(muster):
    return {path.name for path in pathlib.Path(muster.home).glob(f"m/hosts/{KEY}/*/artifacts/*")}


def test_two_artifacts_of_one_host_change_in_one_up(muster):
    for name in ("shop", "desk"):
        artifact(muster, name, "1")
    file = cluster(muster)
    muster.run("up", file, "--rehearse")
    assert versions(muster) == {"shop": {"1"}, "desk": {"1"}}
    before = {name: one["pid"] for name, one in muster.instances(KEY).items()}

    for name in ("shop", "desk"):
        artifact(muster, name, "2")
    muster.run("plan", file, "--rehearse", code=2)
    muster.run("up", file, "--rehearse")
    assert versions(muster) == {"shop": {"2"}, "desk": {"2"}}
    after = {name: one["pid"] for name, one in muster.instances(KEY).items()}
    assert all((before[name] != after[name]) == (name != "edge-1") for name in before)
    muster.run("plan", file, "--rehearse", code=0)

    # Both go back together, though the files that they came from are gone.
    for name in ("shop", "desk"):
        (muster.folder / f"{name}.sh").unlink()
    muster.run("rollback", "--cluster", KEY, "1")
    assert versions(muster) == {"shop": {"1"}, "desk": {"1"}}
    wait_until(lambda: muster.status(KEY)["health"] == "green", what="green")


def test_two_services_of_one_artifact_share_it(muster):
    artifact(muster, "shop", "1")
    (muster.folder / "desk.sh").write_bytes((muster.folder / "shop.sh").read_bytes())
    (muster.folder / "desk.sh").chmod(0o755)
    file = cluster(muster)
    muster.run("up", file, "--rehearse")
    assert len(artifacts_on_host(muster)) == 1
    artifact(muster, "desk", "2")  # now only one of them
    muster.run("up", file, "--rehearse")
    assert versions(muster) == {"shop": {"1"}, "desk": {"2"}}


def test_another_program_in_its_place_is_seen_and_never_run(muster):
    artifact(muster, "shop", "1")
    artifact(muster, "desk", "1")
    file = cluster(muster)
    muster.run("up", file, "--rehearse")
    named = next(pathlib.Path(muster.home).glob(f"m/hosts/{KEY}/*/artifacts/*/shop.sh"))

    def replace():
        foreign = named.with_name("foreign")
        foreign.write_text(f"#!/bin/sh\nexec {muster.app} --version=foreign \"$@\"\n")
        foreign.chmod(0o755)
        foreign.rename(named)

    replace()
    plan = muster.run("plan", file, "--rehearse", code=2)
    assert "shop-1" in plan.stdout and "artifact shop.sh changed by hand" in plan.stdout
    assert "desk" not in plan.stdout
    muster.run("up", file, "--rehearse")
    muster.run("plan", file, "--rehearse", code=0)
    assert versions(muster)["shop"] == {"1"}
    # What is started before anybody plans is put right first.
    replace()
    muster.run("restart", "--cluster", KEY, "shop-1")
    assert versions(muster)["shop"] == {"1"}
    # Written over, it has to come once more: this host has no other.
    with named.open("r+b") as inside:
        inside.write(b"#!/bin/sh\necho foreign; exit 1\n")
    before = muster.instances(KEY)["shop-2"]["pid"]
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: muster.instances(KEY)["shop-2"]["pid"] not in (0, before), what="shop-2 to return")
    wait_until(lambda: muster.state(KEY, "shop-2") == "ready", what="shop-2 to be ready")
    assert "foreign" not in muster.run("logs", "--cluster", KEY, "shop-2").stdout
    assert versions(muster)["shop"] == {"1"}
    muster.run("up", file, "--rehearse")
    muster.run("plan", file, "--rehearse", code=0)
