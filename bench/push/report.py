"""The page that bench/push/run writes of what it measured: docs/reports/DATE-push-benchmarks.md. Pure."""

GOALS = [  # what, of which, in which direction, how much, times socket.io's or as it is
    ("idle", "kib_each", "<", 0.6, False), ("idle polling", "kib_each", "<", 2.0, False),
    ("idle", "connects_per_second", ">", 7, True),
    ("echo 100", "per_second", ">", 3.4, True), ("echo 1000", "per_second", ">", 5.8, True),
    ("fan-out 1", "per_second", ">", 2.2, True), ("fan-out 4", "per_second", ">", 5.9, True),
    ("fan-out 1", "us_cpu", "<", 0.2, True), ("fan-out 4", "us_cpu", "<", 0.2, True),
    ("fan-out steady", "p99_ms", "<", 0.58, True), ("fan-out polling", "per_second", ">", 1.3, True),
]
PARTS = ["idle", "echo 100", "echo 1000", "echo 100 x 16", "fan-out 1", "fan-out 4", "fan-out steady", "idle polling", "fan-out polling"]
NOT_MEASURED = "not measured"
UNITS = [("kib_each", "KiB each"), ("connects_per_second", "connects/s"), ("per_second", "/s"), ("p99_ms", "ms p99"),
         ("us_cpu", "us CPU each"), ("load_us_cpu", "us CPU of the load each"), ("busy", "of its core")]
EXPLAINED = """\
Each client of spear has a user and a group in all of it; the other servers do the plain thing. Where connections are counted, who the
client is stands in what it connects with and is part of the time; a group is another request, which comes after it ("connects with
group": before it). Where "floor" is one of them, it only reads and writes the same bytes: of
what the kernel leaves of a goal its figure tells. A connection of long-polling is one descriptor with a GET that waits; 19,000 are
what the 20,000 descriptors allow that a process often may have at most."""


def shown(value):
    if value is None:
        return "–"
    return f"{value:,.2f}" if value < 100 else f"{value:,.0f}"


def figures(found):
    """A table: a line for each figure, a column for each server, and how spear compares with socket.io."""
    compared = {"spear", "socket.io"} <= set(found)
    names = list(dict.fromkeys(name for each in found.values() for name in each))
    lines = ["| |" + "".join(f" {which} |" for which in found) + (" spear / socket.io |" if compared else ""),
             "|---|" + "---|" * (len(found) + compared)]
    for name in names:
        for key, unit in UNITS:
            if key == "connects_per_second" and not name.startswith(("idle", "connects")):
                continue
            values = {which: each.get(name, {}).get(key) for which, each in found.items()}
            if all(value is None for value in values.values()):
                continue
            line = f"| {name}, {unit} |" + "".join(f" {shown(value)} |" for value in values.values())
            if compared:
                both = values["spear"] is not None and values["socket.io"]
                line += f" {values['spear'] / values['socket.io']:.2f}× |" if both else " – |"
            lines.append(line)
    return lines


def load_ratio(found, which, name):
    """What the load took of its core for each time what the server took of its own; None where that wasn't measured."""
    figure = found.get(which, {}).get(name, {})
    return figure["load_us_cpu"] / figure["us_cpu"] if figure.get("load_us_cpu") is not None and figure.get("us_cpu") else None


def judged_load(found):
    """For each part: whether the load cost less than spear, which it measured. Where it didn't, it may be what the figure tells of."""
    goals = []
    for name in PARTS:
        ratio = load_ratio(found, "spear", name)
        goals.append((f"load beside spear, {name}", "less than 1×", NOT_MEASURED if ratio is None else f"{ratio:.2f}×",
                      ratio is not None and ratio < 1))
    return goals


def load_table(found):
    """The load's CPU for each time the server's, with a mark where it isn't the cheaper of the two."""
    lines = ["| load / server |" + "".join(f" {which} |" for which in found), "|---|" + "---|" * len(found)]
    for name in PARTS:
        ratios = [load_ratio(found, which, name) for which in found]
        lines.append(f"| {name} |" + "".join(" – |" if ratio is None else f" {ratio:.2f}× |" if ratio < 1 else f" **{ratio:.2f}× dearer** |"
                                             for ratio in ratios))
    return lines


def judged(found, which="spear"):
    """For each goal: its name, what was wanted, what came, and whether that is good. One without a figure isn't met: whoever leaves
    out what is hard would meet all others. Of `which` else than spear: what would have come of that server."""
    goals = []
    for name, key, direction, wanted, ratio in GOALS:
        ours = found.get(which, {}).get(name, {}).get(key)
        theirs = found.get("socket.io", {}).get(name, {}).get(key) if ratio else 1
        times = "×" if ratio else ""
        text, good = NOT_MEASURED, False
        if ours is not None and theirs:
            came = ours / theirs
            text, good = f"{came:.2f}{times}", came >= wanted if direction == ">" else came <= wanted
        goals.append((f"{name}, {dict(UNITS)[key]}", f"at {'least' if direction == '>' else 'most'} {wanted:g}{times}", text, good))
    return goals


def goals_table(goals, found=None):
    """With `found`, what came of the floor stands in a column of its own."""
    def mark(came, good):
        return "ok" if good else f"**{NOT_MEASURED}**" if came == NOT_MEASURED else "**missed**"

    def cell(came):
        return "–" if came == NOT_MEASURED else came
    floor = {name: came for name, _, came, _ in judged(found, "floor")} if found and "floor" in found else None
    lines = [f"| goal | wanted | came |{'' if floor is None else ' floor |'} |", "|---|---|---|---|" + ("" if floor is None else "---|")]
    for name, wanted, came, good in goals:
        between = "" if floor is None else f" {cell(floor.get(name, NOT_MEASURED))} |"
        lines.append(f"| {name} | {wanted} | {cell(came)} |{between} {mark(came, good)} |")
    return lines


BACK_UNITS = [  # of all clients coming back
    ("clients", "clients", 0), ("there", "there again", 0), ("seconds", "s until all are there", 2),
    ("median_seconds", "s until half are, of the slower process", 2),
    ("caught_up", "s until all have what they missed", 2), ("recovered", "recovered", 0), ("made_new", "new", 0),
    ("missing", "ticks missing", 0), ("twice", "ticks twice", 0), ("dials", "dials", 0), ("server_cpu", "s of CPU of the server", 2),
    ("load_cpu", "s of CPU of the load", 2), ("full_mib", "MiB with all before", 1), ("peak_mib", "MiB at most", 1)]
BACK_PARTS = {
    "killed": "The node is killed and started again at once; clients dial as soon as they see it, and again every 50 to 150 ms until they are "
              "in. Times count from the kill. Nothing can be recovered, as a node keeps everything in memory; ticks are sent before and after.",
    "network": "All connections are reset, and the server has seen it; ten ticks are sent to nobody. Times count from when all dial at once.",
    "silent": "All connections stay open, but nobody reads them: the server doesn't know. Ten ticks are sent, and all dial at once, each from "
              "a new socket. It needs two files a client, so there may be fewer of them.",
}


def judged_back(found):
    """The goals of coming back: that it is complete, whoever measures; and its time beside socket.io's in the same run."""
    spear, peer, goals = found.get("spear", {}), found.get("socket.io", {}), []
    units = {name: unit for name, unit, _ in BACK_UNITS}

    def exactly(part, key, wanted):
        came = spear.get(part, {}).get(key)
        good = came is not None and came == (spear[part]["clients"] if wanted is None else wanted)
        goals.append((f"{part}, {units[key]}", "all" if wanted is None else f"{wanted}", NOT_MEASURED if came is None else f"{came:,}", good))
    for part in BACK_PARTS:
        exactly(part, "there", None)
        if part != "killed":
            exactly(part, "recovered", None)
        exactly(part, "missing", 0)
        exactly(part, "twice", 0)
        ours, theirs = spear.get(part, {}).get("seconds"), peer.get(part, {}).get("seconds")
        known = ours is not None and theirs
        goals.append((f"{part}, time beside socket.io", "at most 0.5×", f"{ours / theirs:.2f}×" if known else NOT_MEASURED,
                      bool(known) and ours / theirs <= 0.5))
    return goals


def back_figures(found):
    lines = ["| |" + "".join(f" {which} |" for which in found), "|---|" + "---|" * len(found)]
    for part in BACK_PARTS:
        for key, unit, digits in BACK_UNITS:
            if part == "killed" and key == "caught_up":
                continue  # nothing is missed: nobody is there to send it
            values = [each.get(part, {}).get(key) for each in found.values()]
            if any(value is not None for value in values):
                lines.append(f"| {part}, {unit} |" + "".join(" – |" if value is None else f" {value:,.{digits}f} |" for value in values))
    return lines


def back_page(about, found):
    goals = judged_back(found)
    lines = [f"# All clients of muster-push lose it and come back, {about['date']}", "",
             f"`{about['command']}` of commit {about['commit']}, on {about['machine']}.",
             f"Beside it: {about['versions']}. Load average {about['load_before']} at the beginning, {about['load_after']} at the end.", "",
             f"**{sum(good for *_, good in goals)} of {len(goals)} goals met.**"]
    if float(about["load_before"]) > 0.7:
        lines += ["", "The machine did other work at the same time: these times are worth little; who came back and what was missed is as good."]
    lines += ["", "Each server had one core, the load another; spear two shards on its one, so that clients come back to another shard than "
              "they left. A tick is an event to all, of which each client should get each once, in order.", ""]
    lines += [f"- **{part}**: {text}" for part, text in BACK_PARTS.items()]
    dearer = [part for part, each in found.get("spear", {}).items() if each["load_cpu"] >= each["server_cpu"]]
    if dearer:
        lines += ["", f"The load took as much of its core as spear, or more, in: {', '.join(dearer)}. That time is the load's as much as spear's."]
    lines += ["", "## Goals", "", *goals_table(goals), "", "## Figures", ""]
    if about["runs"] > 1:
        lines += [f"Of {about['runs']} runs the one with the median time; of who came back, of ticks and of memory at most, the worst.", ""]
    return "\n".join([*lines, *back_figures(found)]) + "\n"


def page(about, found=None, many=None):
    """`about`: date, command, commit, machine, versions, runs, load at begin and end. `found`: figures by server and part. `many`:
    what came of many connections."""
    goals = judged(found or {}) + judged_load(found or {}) + (many["goals"] if many else [])
    met = sum(good for *_, good in goals)
    lines = [f"# Benchmarks of muster-push, {about['date']}", "",
             f"`{about['command']}` of commit {about['commit']}, on {about['machine']}.",
             f"Beside it: {about['versions']}. Load average {about['load_before']} at the beginning, {about['load_after']} at the end.", "",
             f"**{met} of {len(goals)} goals met.**"]
    if float(about["load_before"]) > 0.7:
        lines += ["", "The machine did other work at the same time: these figures are worth little."]
    lines += ["", "## Goals", "", "Ratios are to socket.io in the same run; × marks them. Each server had one core, the load another.",
              EXPLAINED, "", *goals_table(judged(found or {}), found)]
    lines += ["", "## The load", "",
              "What the load took of its core, for each time what the server took of its own. Where it is the dearer, the figure is one of "
              "the load at least as much as of the server: a server that is faster still wouldn't be seen.", "",
              *(load_table(found) if found else []), "", *goals_table(judged_load(found or {}))]
    if found:
        runs = about["runs"]
        lines += ["", "## Figures", "", "" if runs == 1 else f"The median of {runs} runs.", *figures(found)]
    if many:
        lines += ["", "## Many connections", "", many["text"], "", *goals_table(many["goals"])]
    return "\n".join(line for line, before in zip(lines, [None, *lines]) if line or before) + "\n"
