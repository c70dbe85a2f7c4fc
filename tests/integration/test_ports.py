"""Edits that hand a port from one instance to another: whoever has it stops before the other starts."""

import pytest

from conftest import edge, free_ports, get, web
from load import Load

CLUSTER = "hand"


def app(muster, name, port, instances=1, more="", flags=""):
    command = "{{artifact}} --port={{ports.http}} --address={{address}} --id={{instance}} " + flags
    return (f"  {name}: {{ kind: app, artifact: {muster.app}, command: \"{command}\", instances: {instances}, "
            f"ports: {{ http: {port} }}, health: {{ http: /health, every: 200ms }}{more} }}\n")


def front(name, listen, to):
    return f"  {name}: {{ kind: nginx, listen: {listen}, routes: [ {{ path: /, to: {to} }} ] }}\n"


def write(muster, *services, hosts=""):
    return muster.file(f"cluster: {CLUSTER}\n{hosts}services:\n" + "".join(services))


def up(muster, file, code=0):
    """The plan says what `up` then does."""
    plan = muster.json("plan", file, code=None)["plan"]
    muster.run("up", file, code=code)
    return plan


def all_ready(muster, *names):
    found = muster.instances(CLUSTER)
    assert {name: one["state"] for name, one in found.items()} == {name: "ready" for name in names}
    assert muster.json("plan", muster.folder / "cluster.yaml", code=None)["plan"]["steps"] == []


def whose(port):
    """The instance that answers there."""
    status, headers, body = get(f"http://127.0.0.1:{port}/")
    assert status == 200
    return body


def test_services_get_other_names(muster):
    port = free_ports(2)
    up(muster, write(muster, app(muster, "web", port), front("edge", port + 1, "web")))
    plan = up(muster, write(muster, app(muster, "site", port), front("edge", port + 1, "site")))
    assert any("web-1" in outage and "site-1" in outage for outage in plan["outages"]), plan["outages"]
    all_ready(muster, "site-1", "edge-1")
    assert "site-1" in whose(port + 1)
    plan = up(muster, write(muster, app(muster, "site", port), front("front", port + 1, "site")))
    assert any("edge-1" in outage and "front-1" in outage for outage in plan["outages"]), plan["outages"]
    all_ready(muster, "site-1", "front-1")
    assert "site-1" in whose(port + 1)


def test_a_host_gets_another_name(muster):
    port = free_ports(4)
    services = app(muster, "web", port, 3), front("edge", port + 3, "web")
    up(muster, write(muster, *services))
    up(muster, write(muster, *services, hosts="hosts: { me: { address: 127.0.0.1 } }\n"))
    all_ready(muster, "web-4", "web-5", "web-6", "edge-2")
    assert {one["host"] for one in muster.instances(CLUSTER).values()} == {"me"}
    assert "web-" in whose(port + 3)


def test_two_services_swap_their_ports(muster):
    port = free_ports(4)
    uses = ", uses: [a]"
    up(muster, write(muster, app(muster, "a", port, 2), app(muster, "b", port + 2, 2, uses)))
    plan = up(muster, write(muster, app(muster, "a", port + 2, 2), app(muster, "b", port, 2, uses)))
    assert any("b-1, b-2 stop early" in outage for outage in plan["outages"]), plan["outages"]
    all_ready(muster, "a-1", "a-2", "b-1", "b-2")
    assert ["a-" in whose(port + 2), "b-" in whose(port)] == [True, True]


def test_a_swap_that_failed_half_way_is_gone_on_with(muster):
    port = free_ports(2)
    late = ", update: { deadline: 2s }"
    up(muster, write(muster, app(muster, "a", port), app(muster, "b", port + 1)))
    bad = app(muster, "a", port + 1, more=late, flags="--never-ready")
    up(muster, write(muster, bad, app(muster, "b", port)), code=1)
    up(muster, write(muster, app(muster, "a", port + 1), app(muster, "b", port)))
    all_ready(muster, "a-1", "b-1")
    assert ["a-1" in whose(port + 1), "b-1" in whose(port)] == [True, True]


@pytest.mark.parametrize("by", [1, 20])
def test_no_request_fails_while_all_members_move_to_other_ports(muster, by):
    port = free_ports(30)
    options = {"instances": "2 per host", "port": port, "listen": port + 29}
    file = muster.file(web(muster, **options))
    muster.run("up", file, "--rehearse")
    load = Load(edge(muster, "web@rehearsal"), per_second=100)
    try:
        file.write_text(file.read_text().replace(f"http: {port} ", f"http: {port + by} "))
        assert muster.json("plan", file, "--rehearse", code=None)["plan"]["outages"] == []
        muster.run("up", file, "--rehearse")
    finally:
        load.end()
    found = muster.instances("web@rehearsal")
    assert {one["state"] for one in found.values()} == {"ready"}
    assert sorted(one["ports"]["http"] - port for name, one in found.items() if name != "edge-1") == \
        [by, by, by + 1, by + 1]
    assert load.served > 20 and load.failures == []


def test_a_port_that_is_another_services_is_refused_with_what_to_do(muster):
    port = free_ports(2)
    up(muster, write(muster, app(muster, "db", port), app(muster, "web", port + 1)))
    refused = muster.run("scale", "db", 2, "--cluster", CLUSTER, code=None)
    assert refused.returncode != 0
    told = refused.stdout + refused.stderr
    assert f"port {port + 1} " in told and "port-twice" in told and "fix: give one of them another port" in told
