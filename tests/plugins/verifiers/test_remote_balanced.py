"""``remote`` through a load balancer: one URL, two reward servers behind it, one of which dies."""

from __future__ import annotations

import itertools
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from guerdon import Rollout

from .test_remote import Serving, folder, guerdon, serving, url, verdicts

__all__ = ["folder", "guerdon", "serving", "url"]  # fixtures


@contextmanager
def balancer(*servers: str) -> Iterator[tuple[str, Counter[tuple[str, int]]]]:
    """Run a proxy that gives each request to the next server, and answers 502 for one that is gone.

    Yields:
        Its URL, and the number of its answers by server and status.
    """
    turns = itertools.cycle(servers)
    answers: Counter[tuple[str, int]] = Counter()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            server = next(turns)
            request = urllib.request.Request(
                f"{server}{self.path}", body, {"content-type": "application/json"}
            )
            status, headers, answer = 502, {}, b"<html>Bad Gateway</html>"
            try:
                with urllib.request.urlopen(request, timeout=60) as response:
                    status, headers, answer = response.status, dict(response.headers), response.read()
            except (urllib.error.URLError, OSError):
                pass
            answers[server, status] += 1
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=proxy.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{proxy.server_port}", answers
    finally:
        proxy.shutdown()
        proxy.server_close()


def test_remote_behind_a_balancer_one_of_whose_servers_dies_loses_and_doubles_nothing(
    serving: Serving, url: str
) -> None:
    rollouts = [
        Rollout(f"question {n}", "slow", {"reference": "slow" if n % 3 else "fast", "n": n})
        for n in range(60)
    ]
    with serving("--use", "./v.py:judge") as (doomed, server), balancer(url, doomed) as (one_url, answers):
        killer = threading.Timer(0.8, server.kill)
        killer.start()
        values = [verdict.score.value for verdict in verdicts(rollouts, one_url)]
        killer.join()
    assert values == [float(bool(n % 3)) for n in range(60)]
    assert answers[url, 200] + answers[doomed, 200] == 60  # none is scored twice
    assert min(answers[url, 200], answers[doomed, 200]) > 0
    assert answers[doomed, 502] > 0
