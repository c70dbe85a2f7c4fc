"""What somebody has in their shell is nobody's but theirs: neither server nor agents nor what they run see it."""
import pathlib

from conftest import free_ports

CLUSTER = """
cluster: shell
hosts: { one: { address: 10.0.0.1 } }
services:
  app:
    kind: app
    artifact: %s
    command: "{{artifact}} --port={{ports.http}} --address={{address}} --id={{instance}}"
    ports: { http: %d }
    health: { command: "sh -c 'test -z \\"$AWS_SECRET_ACCESS_KEY\\"'" }
"""
TOKEN = "only-for-this-shell"


def environ(pid):
    return pathlib.Path(f"/proc/{pid}/environ").read_bytes().decode()


def test_a_token_in_the_shell_that_started_it_all_is_seen_by_none(muster):
    file = muster.file(CLUSTER % (muster.app, free_ports(1)))
    shell = {"AWS_SECRET_ACCESS_KEY": TOKEN}
    muster.run("up", file, "--rehearse", env=shell)
    pids = [muster.server_pid(), *muster.agent_pids(), *muster.app_pids()]
    assert len(pids) == 3
    for pid in pids:
        assert TOKEN not in environ(pid) and "AWS_" not in environ(pid), pid
    said = muster.run("exec", "app-1", "--", "env", env=shell).stdout
    assert "MUSTER_INSTANCE=app-1" in said and TOKEN not in said
