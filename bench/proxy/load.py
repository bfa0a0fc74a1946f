"""Load: `wrk` and `h2load`, what they are told and what they say."""

import re
import subprocess
import tempfile
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
    """What came back: complete answers with status 2xx, whatever else, and how long answers took (µs)."""

    requests: int
    errors: int
    micros: list[float] = field(default_factory=list, repr=False)


@dataclass(frozen=True)
class Wrk:
    """As many HTTP/1.1 requests as possible."""

    path: str
    connections: int
    tls: bool = False
    close: bool = False

    def run(self, proxy, seconds: int, runner) -> Answered:
        scheme, port = ("https", proxy.ports.https) if self.tls else ("http", proxy.ports.http)
        headers = {"Host": "localhost", **HEADERS, **({"Connection": "close"} if self.close else {})}
        command = ["wrk", "-t1", f"-c{self.connections}", f"-d{seconds}s", "--timeout", "10s"]
        for name, value in headers.items():
            command += ["-H", f"{name}: {value}"]
        return wrk_said(runner.run([*command, f"{scheme}://localhost:{port}{self.path}"], seconds))


@dataclass(frozen=True)
class H2load:
    """HTTP/2, uploads, and fixed rates. `rate` is of all connections together, per second."""

    path: str
    connections: int
    streams: int = 1
    version: str = "h2"
    tls: bool = False
    body: bool = False
    rate: float | None = None

    def run(self, proxy, seconds: int, runner) -> Answered:
        with tempfile.TemporaryDirectory() as directory:
            log = Path(directory) / "requests.log"
            said = runner.run(self._command(proxy, seconds, runner, log), seconds)
            return h2load_said(said, log.read_text() if log.exists() else "")

    def _command(self, proxy, seconds: int, runner, log: Path) -> list[str]:
        command = ["h2load", "-t1", f"-c{self.connections}", f"-m{self.streams}", f"-D{seconds}"]
        command += ["--h1"] if self.version == "h1" else []
        command += ["-d", str(runner.body)] if self.body else []
        if self.rate:
            command += [f"--rps={self.rate / self.connections:g}", f"--log-file={log}"]
        for name, value in {":authority": "localhost", **HEADERS}.items():
            command += ["-H", f"{name.lower()}: {value}"]
        return [*command, f"{self._address(proxy)}{self.path}"]

    def _address(self, proxy) -> str:
        if self.tls:
            return f"https://localhost:{proxy.ports.https}"
        port = proxy.ports.h2c if self.version == "h2" else proxy.ports.http
        return f"http://localhost:{port}"


@dataclass(frozen=True)
class Runner:
    """Runs load generators: on which cores, with which environment, and which body uploads have."""

    cores: frozenset[int]
    environment: dict[str, str]
    body: Path

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


def h2load_said(text: str, log: str = "") -> Answered:
    """Reads h2load's report, and its log of requests: start, status and microseconds, by tabs."""
    good = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", text)
    broken = re.search(r"(\d+) failed, (\d+) errored, (\d+) timeout", text)
    if not (good and broken):
        raise LoadFailed(f"h2load said something else: {last_line(text)}")
    lines = (line.split("\t") for line in log.splitlines())
    micros = [float(line[2]) for line in lines if line[1].startswith("2")]
    wrong = sum(map(int, good.groups()[1:]))
    return Answered(int(good[1]), wrong + int(broken[2]) + int(broken[3]), micros)


def last_line(text: str) -> str:
    """The last line that says something."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "nothing")[:300]
