"""Members that are taken out of the load balancer stop only when the requests that they have are answered."""

import socket
import threading

from conftest import edge, wait_until, web

CLUSTER = "web@rehearsal"


class SlowClients:
    """Each asks for something that takes a second, again and again. By POST: nginx tries no other member for those. What
    isn't answered with status 200 is a failure."""

    def __init__(self, url, clients=6):
        host, port = url.split("//")[1].strip("/").split(":")
        self.where, self.ending = (host, int(port)), threading.Event()
        self.served, self.failures = 0, []
        self.threads = [threading.Thread(target=self.client) for _ in range(clients)]
        for thread in self.threads:
            thread.start()

    def client(self):
        while not self.ending.is_set():
            answer = self.ask()
            if answer.startswith(b"HTTP/1.1 200"):
                self.served += 1
            else:
                self.failures.append(answer[:80])

    def ask(self):
        answer = b""
        try:
            with socket.create_connection(self.where, timeout=20) as sock:
                sock.sendall(b"POST /slow?ms=1000 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                while more := sock.recv(4096):
                    answer += more
        except OSError as error:
            return f"{type(error).__name__}: {error}".encode()
        return answer

    def end(self):
        self.ending.set()
        for thread in self.threads:
            thread.join()


def clients_of(muster, update, *command):
    """What clients of three apps that end at once met while `command` was done; the apps' pids before it."""
    file = muster.file(web(muster, instances=3, update=update, app_extra="stop: { signal: KILL }"))
    muster.run("up", file, "--rehearse")
    before = {name: one["pid"] for name, one in muster.instances(CLUSTER).items()}
    clients = SlowClients(edge(muster, CLUSTER))
    try:
        wait_until(lambda: clients.served, what="the first answer")
        muster.run(*command, "--cluster", CLUSTER)
    finally:
        clients.end()
    return clients, before


def rolled(muster, update, *what):
    """What the clients met, through a restart of `what`."""
    clients, before = clients_of(muster, update, "restart", *what)
    after = {name: one["pid"] for name, one in muster.instances(CLUSTER).items()}
    assert all(before[f"app-{n}"] != after[f"app-{n}"] for n in (1, 2, 3))
    return clients


def test_each_member_of_a_roll_answers_the_requests_that_it_has(muster):
    """Also the later ones, whose requests the workers of earlier reloads still carry."""
    clients = rolled(muster, "{ max_unavailable: 1, drain: 10s }", "app")
    assert clients.failures == []
    assert clients.served > 6


def test_a_request_that_takes_longer_than_the_drain_is_cut(muster):
    """So that the test above would see one."""
    assert rolled(muster, "{ max_unavailable: 1, drain: 10ms }", "app").failures != []


def test_nginx_serves_the_apps_that_restart_with_it_until_its_turn(muster):
    """What is away is nginx itself, for a moment: there nobody answers, and nobody says that a member is gone."""
    clients = rolled(muster, "{ max_unavailable: 1, drain: 10s }")
    assert [answer for answer in clients.failures if answer.startswith(b"HTTP")] == []
    assert clients.served > 6


def test_a_member_that_is_scaled_away_answers_the_requests_that_it_has(muster):
    clients, before = clients_of(muster, "{ drain: 10s }", "scale", "app", "1")
    assert len(before) == 4 and sorted(muster.instances(CLUSTER)) == ["app-1", "edge-1"]
    assert clients.failures == []


def test_a_member_that_is_scaled_away_cuts_what_takes_longer_than_the_drain(muster):
    clients, _ = clients_of(muster, "{ drain: 10ms }", "scale", "app", "1")
    assert clients.failures != []
