"""All clients of a node lose it at once and come back at once: what `bench/push/run --come-back` does to a server. Three ways: the
node is killed and started again; the network breaks, and both sides see it; the network goes silent, and only the clients know.

In the last two, ticks are sent to all while nobody hears, which those who come back should get, each once."""

import http.client
import json
import pathlib
import re
import subprocess
import time

TOKEN = "the-token-of-the-bench"
MISSED = 10  # ticks while all are away
PARTS = ["killed", "network", "silent"]
SETTINGS = "shards: 2\nadmin: {{listen: 127.0.0.1:{admin}}}\nrecovery: {{enabled: true}}\n"
SECONDS = 120  # for anything


def request(port, method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        connection.request(method, path, body=body, headers={"Authorization": f"Bearer {TOKEN}"})
        response = connection.getresponse()
        text = response.read().decode()
        assert response.status == 200, f"{path}: {response.status} {text}"
        return text
    finally:
        connection.close()


class Node:
    """A server that can be killed and started again, and told to tick. `start(port, admin)` starts one."""

    def __init__(self, which, start, free_port):
        self.which, self.start = which, start
        self.port, self.admin = free_port(), free_port()
        self.server = start(self.port, self.admin)

    def tick(self, number):
        if self.which == "spear":
            request(self.admin, "POST", "/v1/push", json.dumps({"to": {"all": True}, "event": "tick", "arguments": [number]}))
        else:
            request(self.port, "POST", f"/tick?{number}")

    def sockets(self):
        if self.which == "spear":
            return sum(shard["sockets"] for shard in json.loads(request(self.admin, "GET", "/state"))["shards"])
        return int(request(self.port, "GET", "/sockets"))

    def wait_for_nobody(self):
        end = time.monotonic() + SECONDS
        while self.sockets() > 0:
            assert time.monotonic() < end, "the server doesn't see that all are gone"
            time.sleep(0.05)

    def kill_and_start(self):
        self.server.process.kill()
        self.server.process.wait()
        self.server = self.start(self.port, self.admin)

    def peak_mib(self):
        status = pathlib.Path(f"/proc/{self.server.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024


class Crowd:
    """The clients, over several processes of the load."""

    def __init__(self, command, port, clients, processes):
        share = [clients // processes + (number < clients % processes) for number in range(processes)]
        self.loads = [subprocess.Popen([*command, "--port", str(port), "--mode", "back", "--connections", str(each)],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for each in share]
        self.heard()

    def say(self, line):
        for load in self.loads:
            load.stdin.write(line + "\n")
            load.stdin.flush()

    def heard(self):
        told = [json.loads(load.stdout.readline() or '{"error":"the load ended"}') for load in self.loads]
        for each in told:
            if "error" in each:
                raise SystemExit(each["error"])
        return told

    def ticks(self, number):
        self.say(f"ticks {number}")
        return self.heard()

    def end(self):
        for load in self.loads:
            load.stdin.close()
            load.wait()


def measure(part, node, command, clients, processes):
    """What came of it, once."""
    crowd = Crowd(command, node.port, clients, processes)
    try:
        node.tick(1)
        crowd.ticks(1)
        full_mib, last = node.server.resident_kib() / 1024, 1
        if part == "killed":
            crowd.say("auto 1")
            crowd.heard()
            cpu, began = 0, time.monotonic()
            node.kill_and_start()
        else:
            crowd.say("drop" if part == "network" else "silent")
            if part == "network":
                node.wait_for_nobody()
            for last in range(2, 2 + MISSED):
                node.tick(last)
            cpu, began = node.server.cpu_seconds(), time.monotonic()
            crowd.say(f"back {last}")
        told = crowd.heard()
        cpu = node.server.cpu_seconds() - cpu
        node.tick(last + 1)
        ticks = crowd.ticks(last + 1)
        peak = node.peak_mib()
    finally:
        crowd.end()
    return together(told, ticks, began) | {"server_cpu": cpu, "full_mib": full_mib, "peak_mib": peak, "clients": clients}


def of_runs(runs):
    """The run with the median time; but who didn't come back and what was lost in any of them counts. Pure."""
    median = sorted(runs, key=lambda run: run["seconds"])[len(runs) // 2]
    return median | {key: min(run[key] for run in runs) for key in ("there", "recovered")} \
        | {key: max(run[key] for run in runs) for key in ("made_new", "missing", "twice", "peak_mib")}


def together(told, ticks, began):
    """The figures of several loads as one. Times count from `began`, in seconds of the monotonic clock. Pure."""
    def total(name, of):
        return sum(each[name] for each in of)
    there = total("there", told)
    return {"there": there, "seconds": max(each["last_there_ns"] for each in told) / 1e9 - began,
            "median_seconds": max(each["median_there_ns"] for each in told) / 1e9 - began,
            "caught_up": max(each["done_ns"] for each in told) / 1e9 - began if total("with_tick", told) == there else None,
            "recovered": total("recovered", told), "made_new": total("made_new", told), "dials": total("dials", told),
            "missing": total("missing", ticks), "twice": total("twice", ticks), "load_cpu": total("load_cpu", told)}
