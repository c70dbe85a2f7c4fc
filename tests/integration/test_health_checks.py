"""Health checks that are changed while what they ask runs: proven, never a reason to kill before they are, and told as
what they are."""

from conftest import free_ports

KEY = "sick@rehearsal"


def served(port, health, more="", instances=1, deadline="60s"):
    """Members that answer 200 to everything, asked by `health`."""
    return f"""
cluster: sick
services:
  web:
    kind: app
    command: python3 -m http.server {{{{ports.http}}}} --bind {{{{address}}}}
    ports: {{ http: {port} }}
    instances: {instances}
    health: {{ {health} }}
    update: {{ max_unavailable: 1, deadline: {deadline} }}
{more}"""


def sleepers(health, instances=1):
    return f"""
cluster: sick
services:
  web: {{ kind: app, command: sleep 1001, instances: {instances}, health: {{ {health} }},
         update: {{ max_unavailable: 1 }} }}
"""


def pids(muster):
    return {name: one["pid"] for name, one in muster.instances(KEY).items()}


def states(muster):
    return sorted(one["state"] for one in muster.instances(KEY).values())


def up(muster, text, timeout=60):
    """The exit code of an up, and what it has told."""
    done = muster.run("up", muster.file(text), "--rehearse", code=None, timeout=timeout)
    return done.returncode, done.stdout + done.stderr


def test_the_same_up_again_says_again_that_the_check_is_wrong(muster):
    port = free_ports(1)
    assert up(muster, served(port, "http: /, every: 1s"))[0] == 0
    before = pids(muster)
    for _ in range(2):  # the second comes at once: nothing may look well just because it hasn't been asked yet
        code, told = up(muster, served(port, "http: /, every: 1s, status: 204"))
        assert code not in (0, 2) and "health-wrong" in told and "nothing to do" not in told, told
        assert states(muster) == ["unhealthy"], told
        assert muster.status(KEY)["health"] == "red"
    assert pids(muster) == before


def test_a_check_that_can_pass_only_once_stops_at_the_first_member(muster):
    assert up(muster, sleepers("command: 'true', every: 200ms", instances=3))[0] == 0
    before = pids(muster)
    code, told = up(muster, sleepers("command: 'mkdir {{folder}}/once', every: 200ms", instances=3))
    assert code not in (0, 2) and "health-wrong" in told, told
    assert states(muster) == ["ready", "ready", "unhealthy"], told
    assert pids(muster) == before


def test_a_wrong_check_that_comes_with_a_reload_is_told_as_one(muster):
    """Long before its deadline, and though the reload itself went well."""
    port = free_ports(1)
    program = ("import signal,http.server,sys\\n"
               "signal.signal(signal.SIGHUP, lambda *_: print('reloaded', flush=True))\\n"
               "http.server.HTTPServer((sys.argv[2], int(sys.argv[1])),"
               " http.server.SimpleHTTPRequestHandler).serve_forever()\\n")

    def text(value, health):
        files = (f'    files: {{ app.ini: {{ content: "v={value}", on_change: reload }},'
                 f' serve.py: {{ content: "{program}" }} }}\n')
        served_so = served(port, health, files, deadline="600s")
        return served_so.replace("-m http.server", "-u {{folder}}/serve.py").replace("--bind ", "")

    assert up(muster, text(1, "http: /, every: 200ms"))[0] == 0
    before = pids(muster)
    code, told = up(muster, text(2, "http: /, every: 200ms, status: 204"))
    assert code not in (0, 2) and "health-wrong" in told and "answered 200" in told and "not-ready" not in told, told
    assert "reloaded" in muster.run("logs", "--cluster", KEY, "web-1").stdout
    assert states(muster) == ["unhealthy"] and pids(muster) == before


def test_a_live_change_makes_nobody_ready_whose_log_line_was_never_written(muster):
    def text(deadline):
        return f"""
cluster: sick
services:
  job: {{ kind: app, command: "sh -c 'echo begun; sleep 1000'", health: {{ log: '^ready$', every: 100ms }},
         update: {{ deadline: {deadline} }} }}
"""

    for deadline in ("1s", "2s"):
        code, told = up(muster, text(deadline))
        assert code not in (0, 2) and "not-ready" in told and "is green" not in told, told
        assert states(muster) == ["starting"], told
