"""A server that another has replaced comes back to the agents of a running Redis. They refuse what it had ordered, it says that
it has been replaced and orders nothing more, and no role is other than the newer server ordered it.

The older one stands still (SIGSTOP) as its machine would, with an order that its agent hasn't taken; the newer one begins with a
copy of its store; then it goes on in the place where agents look for their server."""

import contextlib
import json
import os
import pathlib
import shutil
import signal

import pytest
from conftest import free_ports, processes_below, wait_until
from redis_clusters import Planned as ClusterCache
from redis_clusters import without_loss
from test_redis_primary import Cache, Redis, RedisError, Writer, cluster_file, formed
from test_redis_primary import pytestmark as as_there

pytestmark = [*as_there, pytest.mark.never_again]


class Servers:
    """The servers of one home, of which one at a time has the folder in which agents and commands look for it."""

    def __init__(self, muster, cluster):
        self.muster, self.cluster = muster, cluster
        self.place = pathlib.Path(muster.home, "m/server")
        self.older, self.newer = muster.server_pid(), None
        self.before = max(self.seen())

    def aside(self, whose):
        return self.place.with_name(f"server-{whose}")

    def seen(self):
        """The epochs that agents have seen."""
        paths = pathlib.Path(self.muster.home).glob("m/hosts/*/*/agent.json")
        return [json.loads(path.read_text())["epoch"] for path in paths]

    def agent_of(self, host):
        pid, = [pid for pid, command in processes_below(self.muster.home).items()
                if " agent run " in command and f" --host {host} " in command]
        return pid

    def audit(self, *verbs):
        """What whoever answers has written down, of these verbs or of all, oldest first."""
        entries = self.muster.json("audit", "-c", self.cluster)["entries"]
        return [f"{one['action']} {one['detail']}" for one in reversed(entries) if not verbs or one["action"] in verbs]

    def begin(self, verb, *args):
        """A command to the older one, which has sent its order once this returns."""
        asked = self.muster.start(verb, "cache", "--cluster", self.cluster, *args)
        # It thinks right after it has written this down, and answers the next question later.
        wait_until(lambda: self.audit(verb), what=f"{verb} to be written down")
        return asked

    def replace(self):
        os.kill(self.older, signal.SIGSTOP)
        self.place.rename(self.aside("older"))
        shutil.copytree(self.aside("older"), self.place, ignore=shutil.ignore_patterns("*.sock", "lock", "*.log"))
        # Agents keep the connection to one that stands still. They die, and are started anew by the newer one.
        for pid in self.muster.agent_pids():
            os.kill(pid, signal.SIGKILL)
        self.muster.run("server", "start")
        self.newer = self.muster.server_pid()
        wait_until(lambda: min(self.seen()) > self.before, what="a newer epoch to be seen by all")

    def bring_older_back(self):
        """Where the newer one was, which dies: agents look for another then."""
        self.place.rename(self.aside("newer"))
        self.aside("older").rename(self.place)
        os.kill(self.older, signal.SIGCONT)
        os.kill(self.newer, signal.SIGKILL)

    def says_so(self):
        """Waits until the older one says of itself that it isn't the one any more, and takes no command."""
        found = wait_until(lambda: self.replaced_by(), what="the older server to say that it was replaced")
        assert found["health"] == "red"
        assert self.muster.server_pid() == self.older
        refusing = [self.muster.run(verb, "cache", "--cluster", self.cluster, code=None, timeout=20)
                    for verb in ("switchover", "failover", "restart", "stop")]
        assert all(one.returncode == 1 and "epoch-old" in one.stderr for one in refusing), refusing

    def replaced_by(self):
        services = self.muster.status(self.cluster)["services"]
        return next((one for one in services if f"another server has taken {self.cluster} over" in str(one["reasons"])), None)

    def put_right(self):
        """The older one ends, and a third goes on with what the newer one had."""
        os.kill(self.older, signal.SIGKILL)
        self.place.rename(self.aside("older"))
        self.aside("newer").rename(self.place)
        self.muster.run("server", "start")

    def refusals(self, verb):
        """Orders of this verb that agents have refused to the older one, as it has written them down."""
        return [one for one in self.audit(verb)
                if one.endswith(f"the order is of epoch {self.before}, and {max(self.seen())} has been seen")]

    def end(self):
        for pid in (self.older, self.newer):
            with contextlib.suppress(ProcessLookupError, TypeError):
                os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def servers_of(cache, cluster):
    servers = Servers(cache.muster, cluster)
    try:
        yield servers
    finally:
        servers.end()


def takes_writes(address):
    with contextlib.suppress(OSError, RedisError), Redis(address) as redis:
        return redis("SET", "asked", "1") == "OK"
    return False


def writable(cache):
    return [name for name in cache.members() if takes_writes(cache.address(name))]


def test_a_hand_over_that_an_older_server_ordered_is_refused_and_the_primary_stays_who_the_newer_one_made_it(muster):
    cache = formed(muster)
    writer = Writer(cache.addresses())
    with servers_of(cache, cache.cluster) as servers:
        writer.wait_for()
        assert cache.primary() == "cache-1"
        # It would hand over to cache-2 as soon as it goes on.
        os.kill(servers.agent_of("h1"), signal.SIGSTOP)
        asked = servers.begin("switchover", "--to", "cache-2")
        servers.replace()
        cache.settled()
        assert cache.primary() == "cache-1"  # the order was not taken
        pids = {name: one["pid"] for name, one in cache.members().items()}
        muster.run("switchover", "cache", "--cluster", cache.cluster, "--to", "cache-3", timeout=90)
        assert cache.settled() == "cache-3"

        servers.bring_older_back()
        said, _ = asked.communicate(timeout=60)
        assert asked.returncode == 1 and "[epoch-old]" in said, said
        wait_until(lambda: servers.refusals("hand-over"), what="the refusal of what was under way")
        servers.says_so()
        writer.wait_for()
        assert writable(cache) == ["cache-3"]
        roles = {name: cache.call(name, "ROLE")[0] for name in cache.members()}
        assert roles == {"cache-1": "slave", "cache-2": "slave", "cache-3": "master"}
        assert {name: one["pid"] for name, one in cache.members().items()} == pids

        servers.put_right()
        assert cache.settled() == "cache-3"
        writer.wait_for()
        writer.stop()
        assert cache.lost(writer) == []
        assert cache.plan_is_empty()[0], cache.plan_is_empty()[1]


def test_a_server_from_a_backup_is_obeyed_again_once_a_person_says_so(muster):
    cache = formed(muster)
    cache.write_to_all("kept", "yes")
    with servers_of(cache, cache.cluster) as servers:
        servers.replace()
        primary = cache.settled()
        refused = muster.run("server", "rule", "--cluster", cache.cluster, "--confirm", "kv", code=None)
        assert "[not-replaced]" in refused.stderr, refused
        servers.bring_older_back()
        servers.says_so()
        refused = muster.run("server", "rule", "--cluster", cache.cluster, code=3)
        assert "[confirm-name]" in refused.stderr, refused
        muster.run("server", "rule", "--cluster", cache.cluster, "--confirm", "kv")
        assert cache.settled() == primary
        cache.kill(primary)
        wait_until(lambda: cache.primary() not in (None, primary), what="another primary")
        assert cache.call(cache.primary(), "GET", "kept") == "yes"
        cache.settled()
        assert cache.plan_is_empty()[0], cache.plan_is_empty()[1]


def test_a_primary_that_dies_under_an_older_server_is_left_to_the_newer_one(muster):
    cache = formed(muster)
    cache.write_to_all("kept", "yes")
    with servers_of(cache, cache.cluster) as servers:
        servers.replace()
        primary = cache.settled()
        servers.bring_older_back()
        servers.says_so()
        changes = servers.audit("promote", "hand-over")
        cache.kill(primary)
        wait_until(lambda: cache.members()[primary]["restarts"] == 1, what="its agent to start it again")
        wait_until(lambda: cache.members()[primary]["state"] == "ready", what="it to answer")
        assert writable(cache) == []
        assert servers.audit("promote", "hand-over") == changes
        servers.put_right()
        new = cache.settled()
        assert writable(cache) == [new] and cache.call(new, "GET", "kept") == "yes"
        assert cache.plan_is_empty()[0], cache.plan_is_empty()[1]


def test_an_older_server_keeps_no_lease_and_takes_nothing_away_that_the_newer_one_put_up(muster):
    port = free_ports(5)
    cache = Cache(muster, cluster_file(muster, hosts=4, port=port))
    cache.up()
    cache.settled()
    with servers_of(cache, cache.cluster) as servers:
        servers.replace()
        cache.file = cluster_file(muster, hosts=4, replicas=3, port=port)
        cache.up()
        primary = cache.settled()
        members, address = cache.members(), cache.address(primary)
        new, = [name for name, one in members.items() if one["host"] == "h4"]
        servers.bring_older_back()
        servers.says_so()
        assert takes_writes(address)
        # Nobody who counts reaches the primary any more: those that followed it start fenced, and are told nothing.
        for name, one in members.items():
            if name != primary:
                os.kill(one["pid"], signal.SIGKILL)
        wait_until(lambda: not takes_writes(address), what="the end of its lease")
        assert os.path.exists(f"/proc/{members[primary]['pid']}")
        # The older one knows no h4, whose agent asks it again and again what it wants.
        assert new not in cache.members()
        servers.agent_of("h4")
        servers.put_right()
        assert cache.settled() == primary
        assert set(cache.members()) == set(members)
        assert cache.members()[new]["restarts"] == 1
        assert cache.plan_is_empty()[0], cache.plan_is_empty()[1]


def test_a_failover_that_an_older_server_ordered_of_a_redis_cluster_is_refused(muster):
    cache = ClusterCache(muster)
    cache.up()
    cache.whole()
    with servers_of(cache, cache.key) as servers, cache.writer() as writer:
        wait_until(lambda: len(writer.acks) > 50, what="writes")
        primaries = cache.primaries()
        _, (replica,) = cache.shard(primaries[0])
        # It would become master as soon as its agent goes on.
        os.kill(servers.agent_of(cache.members()[replica]["host"]), signal.SIGSTOP)
        asked = servers.begin("switchover", "--to", replica)
        servers.replace()
        wait_until(lambda: cache.is_settled() and cache.primaries() == primaries, 40, "the newer server to find all well")

        servers.bring_older_back()
        said, _ = asked.communicate(timeout=60)
        assert asked.returncode == 1 and "[epoch-old]" in said, said
        wait_until(lambda: servers.refusals("take-over"), what="the refusal of what was under way")
        servers.says_so()
        assert [name for name in cache.members() if cache.ask(name, "ROLE")[0] == "master"] == primaries
        writes = len(writer.acks)
        wait_until(lambda: len(writer.acks) > writes + 50, what="writes to go on")

        servers.put_right()
        cache.whole()
        assert cache.primaries() == primaries
        without_loss(writer, cache)
