"""Load: `wrk`, `h2load` and `pace`, what they are told and what they say."""

import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from processes import bound_to

# What a browser sends besides the host.
HEADERS = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language": "en-GB,en;q=0.5",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Cookie": "session=4f6c1e0a9b3d47d28c5e7a61; theme=dark",
}
# A load generator that hangs is ended this long after its time.
OVERTIME_SECONDS = 20.0


class LoadFailed(Exception):
    """A load generator that did not say what it did."""


@dataclass(frozen=True)
class Answered:
    """What came back: complete answers with status 2xx, whatever else, and percentiles of how long answers took (µs)."""

    requests: int
    errors: int
    micros: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Wrk:
    """As many HTTP/1.1 requests as possible."""

    path: str
    connections: int
    close: bool = False

    def run(self, proxy, seconds: int, runner) -> Answered:
        headers = {"Host": "localhost", **HEADERS, **({"Connection": "close"} if self.close else {})}
        command = ["wrk", "-t1", f"-c{self.connections}", f"-d{seconds}s", "--timeout", "10s"]
        for name, value in headers.items():
            command += ["-H", f"{name}: {value}"]
        return wrk_said(runner.run([*command, f"http://localhost:{proxy.ports.http}{self.path}"], seconds))


@dataclass(frozen=True)
class H2load:
    """As many requests as possible by HTTP/2, or uploads by either version."""

    path: str
    connections: int
    streams: int = 1
    version: str = "h2"
    tls: bool = False
    body: bool = False

    def run(self, proxy, seconds: int, runner) -> Answered:
        command = ["h2load", "-t1", f"-c{self.connections}", f"-m{self.streams}", f"-D{seconds}"]
        command += ["--h1"] if self.version == "h1" else []
        command += ["-d", str(runner.body)] if self.body else []
        for name, value in {":authority": "localhost", **HEADERS}.items():
            command += ["-H", f"{name.lower()}: {value}"]
        return h2load_said(runner.run([*command, f"{self._address(proxy)}{self.path}"], seconds))

    def _address(self, proxy) -> str:
        if self.tls:
            return f"https://localhost:{proxy.ports.https}"
        port = proxy.ports.h2c if self.version == "h2" else proxy.ports.http
        return f"http://localhost:{port}"


@dataclass(frozen=True)
class Pace:
    """HTTP/1.1 requests at a mean rate of so many a second, whether or not earlier ones are answered."""

    path: str
    connections: int
    rate: float

    def run(self, proxy, seconds: int, runner) -> Answered:
        request = written(proxy, self.path, HEADERS)
        order = [str(request), f"127.0.0.1:{proxy.ports.http}", f"{self.rate:g}", str(self.connections), str(seconds)]
        return pace_said(runner.run([str(runner.pace), *order], seconds))


@dataclass(frozen=True)
class Tls:
    """As many HTTP/1.1 requests over TLS as possible, by `pace`; `afresh`: with a handshake each."""

    path: str
    connections: int
    afresh: bool = False
    tls: bool = True

    def run(self, proxy, seconds: int, runner) -> Answered:
        own = {"Connection": "close"} if self.afresh else {}
        request = written(proxy, self.path, {**HEADERS, **own})
        order = ["handshakes" if self.afresh else "tls", str(request), f"127.0.0.1:{proxy.ports.https}"]
        told = runner.run([str(runner.pace), *order, str(self.connections), str(seconds)], seconds)
        words = told.split()
        counts = dict(zip(words[::2], map(int, words[1::2])))
        return Answered(counts["answered"], counts["failed"])


def written(proxy, path: str, headers: dict[str, str]) -> Path:
    """The file with that request."""
    lines = [f"GET {path} HTTP/1.1", "Host: localhost", *(f"{name}: {value}" for name, value in headers.items())]
    request = proxy.directory / "request"
    request.write_bytes("\r\n".join([*lines, "", ""]).encode())
    return request


@dataclass(frozen=True)
class Runner:
    """Runs load generators: on which cores, with which environment; which body uploads have, and where `pace` is."""

    cores: frozenset[int]
    environment: dict[str, str]
    body: Path
    pace: Path

    def run(self, command: list[str], seconds: int) -> str:
        """What the command printed. Raises `LoadFailed` if it fails or does not end."""
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=seconds + OVERTIME_SECONDS,
                env=self.environment, preexec_fn=bound_to(self.cores),
            )
        except subprocess.TimeoutExpired as late:
            raise LoadFailed(f"{command[0]} did not end {OVERTIME_SECONDS:g} s after its time") from late
        if done.returncode != 0:
            raise LoadFailed(f"{command[0]}: {last_line(done.stderr or done.stdout)}")
        return done.stdout


def wrk_said(text: str) -> Answered:
    """Reads wrk's report."""
    total = re.search(r"(\d+) requests in", text)
    if not total:
        raise LoadFailed(f"wrk said something else: {last_line(text)}")
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    sockets = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    wrong = int(bad[1]) if bad else 0
    return Answered(int(total[1]) - wrong, wrong + (sum(map(int, sockets.groups())) if sockets else 0))


def h2load_said(text: str) -> Answered:
    """Reads h2load's report."""
    good = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", text)
    broken = re.search(r"(\d+) failed, (\d+) errored, (\d+) timeout", text)
    if not (good and broken):
        raise LoadFailed(f"h2load said something else: {last_line(text)}")
    wrong = sum(map(int, good.groups()[1:]))
    return Answered(int(good[1]), wrong + int(broken[2]) + int(broken[3]))


def pace_said(text: str) -> Answered:
    """Reads pace's line: names and numbers in turn."""
    words = text.split()
    told = dict(zip(words[::2], map(int, words[1::2])))
    percentiles = {name: told[name] for name in ("p50", "p99", "p999")}
    return Answered(told["answered"], told["failed"], percentiles)


def last_line(text: str) -> str:
    """The last line that says something."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "nothing")[:300]
