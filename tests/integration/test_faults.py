"""kill -9 at every fault point of an up, a roll and a down, of whoever got there, of the server, of an agent and of all
of them at that very moment; then green with nothing lost and nothing started twice.

A few of the many are tried each time; MUSTER_FAULTS=all (as `tools/dev test --long` sets it) tries every one.
"""

import contextlib
import os
import pathlib
import re
import signal

import pytest

from conftest import BUILD, TOP, Muster, edge, get, processes_below, wait_until, web

FAULTS = pathlib.Path(os.environ.get("MUSTER_FAULT_BUILD", BUILD.parent / "build-faults"))
pytestmark = [pytest.mark.skipif(not (FAULTS / "muster").exists(), reason="no build with fault points"),
              pytest.mark.never_again]
ALL = os.environ.get("MUSTER_FAULTS") == "all"
KEY = "web@rehearsal"

# Every point, and how many times at least an up of two apps and an nginx, a roll of the apps and a down pass it.
POINTS = {
    "runtime.before-fork": {"up": 3, "roll": 2},
    "runtime.after-fork": {"up": 3, "roll": 2},
    "runtime.before-exec": {"up": 3, "roll": 2},
    "agent.files-written": {"up": 3, "roll": 2},
    "agent.installed": {"up": 3, "roll": 2},
    "agent.before-start": {"up": 3, "roll": 2},
    "agent.started": {"up": 3, "roll": 2},
    "agent.ready": {"up": 3, "roll": 2},
    "agent.taken-over": {"adoption": 6},  # of what was formed by hand, see test_adopt_faults.py
    "agent.stopped": {"roll": 2, "down": 3},
    "agent.removed": {"down": 3},
    "agent.outcome": {"up": 6, "roll": 6, "down": 3},
    "control.run.recorded": {"up": 1, "roll": 1, "down": 1},
    "control.journal.before": {"up": 3, "roll": 6, "down": 3},
    "control.journal.after": {"up": 3, "roll": 6, "down": 3},
    "control.outcome.arrived": {"up": 6, "roll": 6, "down": 3},
    "control.recover.settled": {"recovery": 1},  # of a roll that stood still at agent.stopped, see below
    "control.recover.put-back": {"recovery": 2},
    "control.recover.paused": {"recovery": 1},
    "store.before-commit": {"up": 3, "roll": 6, "down": 3},
    "store.after-commit": {"up": 3, "roll": 6, "down": 3},
}
EXECS = "runtime.before-exec"  # what is counted as a start: the last that happens before the program itself


class Points:
    """The folder in which this test and the processes that it kills tell each other of fault points."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir()
        self.folder.chmod(0o1777)  # what is about to become an instance has the instance's user
        (self.folder / "passed").touch()
        (self.folder / "passed").chmod(0o666)

    def passed(self, name=None):
        lines = [line.split() for line in (self.folder / "passed").read_text().splitlines()]
        return [int(pid) for point, pid in lines if name in (None, point)]

    def counts(self):
        names = [line.split()[0] for line in (self.folder / "passed").read_text().splitlines()]
        return {name: names.count(name) for name in names}

    def want(self, name, nth):
        self.forget()
        for old in self.folder.glob(f"{name}.*"):
            old.unlink()
        wanted = self.folder / "wanted.new"
        wanted.write_text(f"{name} {nth} stop\n")
        wanted.rename(self.folder / "wanted")

    def forget(self):
        (self.folder / "wanted").unlink(missing_ok=True)

    def who(self, name, nth):
        """The pid of whoever was the nth to come to the point, or 0."""
        try:
            return int((self.folder / f"{name}.{nth}").read_text())
        except FileNotFoundError:
            return 0


class Life:
    """A cluster that is brought up, rolled and taken down, and what must be true of it after each of these."""

    def __init__(self):
        self.muster = Muster(FAULTS)
        self.muster.app = str(BUILD / "example-app")
        self.points = Points(self.muster.home + "/points")
        self.muster.env["MUSTER_FAULT_FOLDER"] = str(self.points.folder)
        self.file = self.muster.file(web(self.muster, instances=2, extra="--version=0", app_extra="data: [box]"))
        self.version = 0    # of the apps; each roll makes it one more
        self.unborn = 0     # children that were killed before they became an instance
        self.put_backs = 0  # old ones that may have been started again: the roll they had made way for was interrupted
        self.places = {}

    def command(self, operation):
        return ["down", "--cluster", KEY] if operation == "down" else ["up", self.file, "--rehearse"]

    def change(self):
        text = self.file.read_text().replace(f"--version={self.version}", f"--version={self.version + 1}")
        self.file.write_text(text)
        self.version += 1

    def go(self, operation):
        if operation == "roll":
            self.change()
        self.muster.run(*self.command(operation), timeout=90)
        self.is_whole(operation)

    def processes(self, word):
        """Those of `word`, without what they have forked and what looks like them until it becomes its program."""
        found = [pid for pid, command in processes_below(self.muster.home).items() if f" {word} run" in command]
        return [pid for pid in found if parent_of(pid) not in found]

    def victims(self, who, hit):
        """Whom to kill when `hit` stands at the point, the server first: it would start its agents again."""
        servers, agents = self.processes("server"), self.processes("agent")
        assert len(servers) == 1 and agents, (servers, agents)
        of_hit = hit if hit in agents else parent_of(hit) if parent_of(hit) in agents else min(agents)
        return {"itself": [hit], "server": servers, "agent": [of_hit], "both": [*servers, *{*agents, hit}]}[who]

    def go_with_deaths(self, operation, *deaths):
        """Does `operation` with these deaths, then what a person would do after such: the same command again."""
        if operation == "roll":
            self.change()
        said = self.begin_with_deaths(operation, *deaths)
        again = self.muster.run(*self.command(operation), code=None, timeout=120)
        try:
            assert again.returncode == 0, again.stdout + again.stderr
            self.is_whole(operation)
        except AssertionError as error:
            error.add_note(f"the first said:\n{said}\nthe second:\n{again.stdout}{again.stderr}\n{self.muster.logs()}")
            raise

    def begin_with_deaths(self, operation, *deaths):
        """The command; whenever somebody has come to the next of `deaths`, (point, which time, who), that one is
        killed. Returns what it said."""
        self.points.want(*deaths[0][:2])
        going = self.muster.start(*self.command(operation))
        try:
            for (name, nth, who), following in zip(deaths, [*deaths[1:], None]):
                hit = self.wait_for(name, nth, going if name == deaths[0][0] else None)
                if following:
                    self.points.want(*following[:2])
                else:
                    self.points.forget()
                self.kill(who, hit, name, operation)
            return going.communicate(timeout=120)[0]
        finally:
            going.kill()

    def wait_for(self, name, nth, going):
        """Until somebody stands still at the point: the pid."""
        ended = lambda: going is not None and going.poll() is not None
        wait_until(lambda: self.points.who(name, nth) or ended(), seconds=60, what=name)
        hit = self.points.who(name, nth)
        assert hit, f"{name} isn't passed {nth} times:\n{going.communicate()[0]}{self.muster.logs()}"
        wait_until(lambda: state_of(hit) == "T", what=f"{hit} to stand still at {name}")
        return hit

    def kill(self, who, hit, name, operation):
        servers = set(self.processes("server"))
        victims = self.victims(who, hit)
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):  # an agent that found another there, for instance
                os.kill(pid, signal.SIGKILL)
        if hit not in victims:
            os.kill(hit, signal.SIGCONT)
        self.unborn += name == EXECS and hit in victims
        self.put_backs += operation == "roll" and bool(servers & set(victims))

    # --- What must be true.

    def is_whole(self, operation):
        if operation == "down":
            self.is_gone()
        else:
            self.is_green()
        runs = self.muster.json("history", "--runs", "--cluster", KEY)["runs"]
        assert runs[0]["state"] == "done", runs
        assert not [run for run in runs if run["state"] == "running"], runs  # one left "paused" is history
        self.has_its_history()
        self.was_started_once()

    def is_green(self):
        wait_until(lambda: self.muster.status(KEY)["health"] == "green", seconds=30, what="green")
        self.muster.run("plan", self.file, "--rehearse", code=0)  # nothing to do
        assert len(self.muster.app_pids()) == 2, self.muster.app_pids()
        answers = [get(edge(self.muster, KEY).rstrip("/") + "/info") for _ in range(8)]
        assert {headers.get("X-Instance") for _, headers, _ in answers} == {"app-1", "app-2"}
        assert all(f'"version":"{self.version}"' in body for _, _, body in answers), answers
        places = {one["name"]: (one["host"], one["address"], one["ports"])
                  for one in self.muster.instances(KEY).values()}
        assert set(places) == {"app-1", "app-2", "edge-1"}
        assert self.places in ({}, places)
        self.places = places
        for box in self.boxes():
            note = box / "note"
            assert not self.version or note.read_text() == str(box), "data was lost"
            note.write_text(str(box))

    def is_gone(self):
        gone = lambda: not self.processes("agent") and not self.muster.app_pids()
        wait_until(gone, what="instances and agents to be gone")
        assert [box for box in self.boxes() if (box / "note").read_text() == str(box)] == self.boxes()
        assert self.muster.status(KEY)["down"]

    def has_its_history(self):
        """One revision for each file that was brought up, and each with its own text."""
        revisions = self.muster.json("history", "--cluster", KEY)["revisions"]
        assert [one["number"] for one in revisions] == list(range(1 + self.version, 0, -1)), revisions
        newest = self.muster.run("history", "--cluster", KEY, "--show", 1 + self.version).stdout
        assert newest.strip() == self.file.read_text().strip()
        actions = {one["action"] for one in self.muster.json("audit", "--cluster", KEY)["entries"]}
        assert "up" in actions, actions

    def was_started_once(self):
        """Each version of each instance, as the fault points and its own log tell; an old one again where the death
        of the server left a roll in the middle and it was put back."""
        versions = range(1 + self.version)
        starts = len(self.points.passed(EXECS)) - self.unborn
        wanted = 1 + 2 * len(versions)
        assert wanted <= starts <= wanted + self.put_backs, self.points.counts()
        if not self.muster.app_pids():
            return  # a down has taken the logs, too
        for name in ("app-1", "app-2"):
            logs = pathlib.Path(self.muster.home).glob(f"m/hosts/*/*/instances/{name}/logs/*")
            told = re.findall(r"listening on .*, version (\d+)", "".join(log.read_text() for log in logs))
            times = [told.count(str(version)) for version in versions]
            assert times[-1] == 1, f"{name} was started {times[-1]} times"
            assert min(times) == 1 and sum(times) <= len(times) + self.put_backs, times

    def boxes(self):
        return sorted(pathlib.Path(self.muster.home).glob("m/hosts/*/*/instances/app-*/data/box"))


def state_of(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def parent_of(pid):
    with contextlib.suppress(OSError):
        return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


@contextlib.contextmanager
def living(kind):
    """A life of this kind with a server; afterwards nobody waits at a point, and nothing is left."""
    one = kind()
    try:
        one.muster.run("server", "start")
        yield one
    finally:
        one.points.forget()
        one.muster.close()


@pytest.fixture
def life():
    with living(Life) as one:
        yield one


def points_in(folder):
    """The names of those in sources below it."""
    sources = [path for path in folder.rglob("*.[ch]*") if not path.name.endswith("_test.cc")]
    return {name for path in sources for name in re.findall(r'MUSTER_FAULT\("([^"]+)"\)', path.read_text())}


def test_every_point_of_the_sources_is_tried():
    """One that nobody passes, or that is new and not in the table, would be believed to be tried. Those of recipes are tried in
    test_redis_faults.py."""
    assert points_in(TOP / "src") - points_in(TOP / "src" / "recipes") == set(POINTS)
    assert all(operations for operations in POINTS.values())


def test_the_points_are_passed_as_often_as_is_said(life):
    for operation in ("up", "roll", "down"):
        before = life.points.counts()
        life.go(operation)
        wait_until(lambda: not [1 for name, passes in POINTS.items() if operation in passes and
                                life.points.counts().get(name, 0) - before.get(name, 0) < passes[operation]],
                   seconds=5, what=f"{operation} to pass all points: {before} {life.points.counts()}")
        passed = {name for name, count in life.points.counts().items() if count > before.get(name, 0)}
        assert passed == {name for name, passes in POINTS.items() if operation in passes}, operation


def cases():
    """(point, which time, who dies): each is tried in an up, a roll and a down, where these pass the point."""
    for name, passes in POINTS.items():
        for nth in (1, 2, 3, 6) if ALL else (1, 2):
            if nth > max(passes.get(operation, 0) for operation in ("up", "roll", "down")):
                continue
            whos = ("itself", "server", "agent", "both") if ALL else ("itself", "both") if nth == 1 else ("both",)
            for who in whos:
                yield pytest.param(name, nth, who, id=f"{name}-{nth}-{who}")


@pytest.mark.parametrize("name, nth, who", cases())
def test_a_death_in_an_up_a_roll_and_a_down(life, name, nth, who):
    for operation in ("up", "roll", "down"):
        if nth <= POINTS[name].get(operation, 0):
            life.go_with_deaths(operation, (name, nth, who))
        elif operation != "down":
            life.go(operation)


@pytest.mark.parametrize("who", ["itself", "agent", "both"])
@pytest.mark.parametrize("name, nth", [(name, 1 + nth) for name, passes in POINTS.items()
                                       for nth in range(passes.get("recovery", 0))])
def test_a_death_while_a_death_is_mended(life, name, nth, who):
    life.go("up")
    life.go_with_deaths("roll", ("agent.stopped", 1, "both"), (name, nth, who))


def health_cases():
    """(point, who dies) while a changed health check is brought to the first member."""
    if not ALL:
        return [("agent.files-written", "itself"), ("agent.installed", "itself"), ("agent.installed", "both"),
                ("control.outcome.arrived", "both")]
    points = ["agent.files-written", "agent.installed", "agent.outcome", "control.journal.before",
              "control.journal.after", "control.outcome.arrived", "store.before-commit", "store.after-commit"]
    return [(name, who) for name in points for who in ("itself", "server", "agent", "both")]


@pytest.mark.parametrize("name, who", health_cases())
def test_a_death_while_a_wrong_health_check_is_brought(life, name, who):
    """It may be what the next agent finds written down, but nobody is killed for it."""
    life.go("up")
    before = {name: one["pid"] for name, one in life.muster.instances(KEY).items()}
    good = life.file.read_text()
    wrong = good.replace("http: /health, every: 1s", "http: /health, status: 299, every: 100ms")
    assert wrong != good
    life.file.write_text(wrong)
    told = [life.begin_with_deaths("health", (name, 1, who))]
    for _ in range(2):  # each takes longer than it would to find somebody hung
        up = life.muster.run(*life.command("health"), code=None, timeout=120)
        told.append(up.stdout + up.stderr)
        assert up.returncode not in (0, 2) and "health-wrong" in told[-1], told
    life.file.write_text(good)
    life.muster.run(*life.command("health"), timeout=90)
    url = edge(life.muster, KEY).rstrip("/") + "/info"
    wait_until(lambda: len({get(url)[1].get("X-Instance") for _ in range(8)}) == 2, what="nginx to send to both again")
    life.is_green()
    assert {name: one["pid"] for name, one in life.muster.instances(KEY).items()} == before, told
    life.was_started_once()
