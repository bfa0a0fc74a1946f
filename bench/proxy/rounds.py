"""Rounds: in each, every proxy is measured once, one after the other, and the first is another each time.

What drifts on a machine drifts for all of a round alike, so figures are compared within their round only.
"""

import contextlib
import os
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import cpu
from bed import Bed
from load import Answered, LoadFailed, Pace, Runner
from measures import PACED_CONNECTIONS, PEAK, Held, Measure, Paced, Start, Sustained, needs_http2, needs_tls
from peers import Peer, Proxy
from processes import bound_to, exit_status

SETTLE_SECONDS = 1.0
SPARE_FILES = 500
HOLDER = Path(__file__).parent / "holder.py"


@dataclass(frozen=True)
class Timing:
    """How many rounds, and whole seconds of each load (the generators know no others)."""

    rounds: int
    memory_rounds: int
    warm: int
    load: int
    paced: int


FULL = Timing(rounds=5, memory_rounds=3, warm=1, load=3, paced=8)
QUICK = Timing(rounds=2, memory_rounds=1, warm=1, load=1, paced=2)


@dataclass(frozen=True)
class Sample:
    """One proxy in one round. `value` is the main figure: µs of CPU, bytes, or µs until the answer (p99)."""

    peer: str
    round: int
    value: float
    details: dict[str, float] = field(default_factory=dict)


@dataclass
class Outcome:
    """All of a measure, and why proxies are not in it."""

    samples: list[Sample] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)
    notes: dict[str, float] = field(default_factory=dict)

    def as_json(self) -> dict:
        return asdict(self)


@dataclass
class Rounds:
    """Measures proxies on a bed. Proxies for CPU and latency run all along; those for memory are new each time."""

    bed: Bed
    peers: list[Peer]
    timing: Timing
    runner: Runner
    running: dict[str, Proxy] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    peaks: dict[str, float] = field(default_factory=dict)

    def measure(self, measure: Measure) -> Outcome:
        """Measures all rounds of one measure."""
        outcome = Outcome()
        take = self._prepared(measure, outcome)
        memory = isinstance(measure, Start | Held)
        for number in range(self.timing.memory_rounds if memory else self.timing.rounds):
            for peer in rotated(self.peers, number):
                if peer.name not in outcome.absent:
                    self._take(take, peer, number, outcome)
        return outcome

    def _take(self, take, peer: Peer, number: int, outcome: Outcome) -> None:
        try:
            value, details = take(peer)
        except (LoadFailed, RuntimeError, TimeoutError) as error:
            outcome.absent[peer.name] = f"failed in round {number + 1}: {error}"
            return
        outcome.samples.append(Sample(peer.name, number, round(value, 3), rounded(details)))

    def _prepared(self, measure: Measure, outcome: Outcome):
        """What takes one sample of a measure; proxies that can't be in it are noted as absent."""
        if isinstance(measure, Start):
            return self._resident_at_start
        if isinstance(measure, Held):
            count = outcome.notes["connections"] = min(measure.count, self._room())
            return lambda peer: self._resident_while_held(peer, measure, count)
        self._start_all()
        if isinstance(measure, Paced):
            rate = measure.share * self._slowest_peak()
            outcome.notes["rate"] = round(rate)
            outcome.absent |= self.failed
            load = Pace("/1k", PACED_CONNECTIONS, rate)
            return lambda peer: self._paced(peer, load)
        outcome.absent |= self.failed
        self._try_all(measure, outcome)
        return lambda peer: self._sustained(peer, measure)

    def _start_all(self) -> None:
        for peer in self.peers:
            if peer.name not in self.running and peer.name not in self.failed:
                try:
                    self.running[peer.name] = self.bed.start(peer)
                except RuntimeError as error:
                    self.failed[peer.name] = f"did not start: {error}"

    def _try_all(self, measure: Sustained, outcome: Outcome) -> None:
        """Loads each proxy for a moment: whoever doesn't answer at all is left out, and said so."""
        for peer in self.peers:
            if peer.name in outcome.absent:
                continue
            if reason := self._unable(peer, measure):
                outcome.absent[peer.name] = reason

    def _unable(self, peer: Peer, measure: Sustained) -> str | None:
        if needs_tls(measure) and "tls" in peer.lacks:
            return "not yet"
        try:
            answered = measure.load.run(self.running[peer.name], self.timing.warm, self.runner)
        except LoadFailed as error:
            return str(error)
        if answered.requests:
            return None
        silent = f"no good answer ({answered.errors} errors)"
        return f"not yet: {silent}" if peer.name == "pando" and needs_http2(measure) else silent

    def _sustained(self, peer: Peer, measure: Sustained):
        proxy = self.running[peer.name]
        measure.load.run(proxy, self.timing.warm, self.runner)
        spent, answered = self._metered(proxy, lambda: measure.load.run(proxy, self.timing.load, self.runner))
        if not answered.requests:
            raise LoadFailed("no request was answered")
        return cost(spent, answered)

    def _paced(self, peer: Peer, load: Pace):
        proxy = self.running[peer.name]
        load.run(proxy, self.timing.warm, self.runner)
        spent, answered = self._metered(proxy, lambda: load.run(proxy, self.timing.paced, self.runner))
        if not answered.requests:
            raise LoadFailed("no request was answered")
        micros_of_cpu, details = cost(spent, answered)
        # Who waits for an answer also waits for whoever keeps the load's cores from working.
        disturbance = max(details["disturbance"], spent.load_foreign / spent.wall)
        return answered.micros["p99"], {
            **details, **answered.micros, "cpu": micros_of_cpu, "disturbance": disturbance
        }

    def _metered(self, proxy: Proxy, load) -> tuple[cpu.Spent, Answered]:
        meter = cpu.Meter(proxy.pid, self.bed.cores, self.bed.origin)
        answered = load()
        spent = meter.stop()
        status = exit_status(proxy.child)
        if status is not None:
            raise LoadFailed(f"the proxy ended with status {status}")
        empty_logs(proxy)
        return spent, answered

    def _slowest_peak(self) -> float:
        """Requests a second of the slowest proxy that answers: the better of two times, each in turn."""
        for _ in range(2 if not self.peaks else 0):
            for name, proxy in self.running.items():
                if name not in self.failed:
                    self._take_peak(name, proxy)
        return min(peak for name, peak in self.peaks.items() if name not in self.failed)

    def _take_peak(self, name: str, proxy: Proxy) -> None:
        seconds = self.timing.load
        try:
            seen = PEAK.run(proxy, seconds, self.runner).requests / seconds
        except LoadFailed as error:
            self.failed[name] = str(error)
            return
        if not seen:
            self.failed[name] = "no request was answered"
        self.peaks[name] = max(seen, self.peaks.get(name, 0))
        empty_logs(proxy)

    def _resident_at_start(self, peer: Peer):
        proxy = self.bed.start(peer)
        try:
            time.sleep(SETTLE_SECONDS)
            return cpu.resident(proxy.pid), {}
        finally:
            self.bed.end(proxy)

    def _room(self) -> int:
        """Whole thousands of connections that a proxy can hold with the files that it may open: two for each."""
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return (files // 2 - SPARE_FILES) // 1000 * 1000

    def _resident_while_held(self, peer: Peer, measure: Held, count: int):
        proxy = self.bed.start(peer)
        try:
            PEAK.run(proxy, self.timing.warm, self.runner)
            time.sleep(SETTLE_SECONDS)
            before = cpu.resident(proxy.pid)
            with held(measure.kind, count, proxy.ports.http, self.bed.cores.rest):
                time.sleep(SETTLE_SECONDS)
                after = cpu.resident(proxy.pid)
            return (after - before) / count, {"before": before, "after": after}
        finally:
            self.bed.end(proxy)


@contextlib.contextmanager
def held(kind: str, count: int, port: int, cores):
    """Connections that a process of its own holds open meanwhile. Raises `LoadFailed` unless all open and stay open."""
    command = [sys.executable, str(HOLDER), kind, str(port), str(count)]
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=bound_to(cores)
    )
    try:
        expect(f"open {count}", child.stdout.readline())
        yield
        child.stdin.close()
        expect(f"alive {count}", child.stdout.readline())
    finally:
        child.kill()
        child.wait()


def expect(wanted: str, said: str) -> None:
    if said.strip() != wanted:
        raise LoadFailed(f"idle connections: {said.strip()} instead of {wanted}")


def cost(spent: cpu.Spent, answered: Answered) -> tuple[float, dict[str, float]]:
    """Microseconds of CPU for each request, and what else is worth knowing of the slot."""
    each = 1e6 / answered.requests
    return spent.cpu * each, {
        "user": spent.user * each,
        "rate": answered.requests / spent.wall,
        "busy": spent.cpu / spent.wall,
        "disturbance": (spent.foreign + spent.stolen) / spent.wall,
        "load_busy": spent.load_busy,
        "errors": answered.errors,
    }


def rotated(peers: list[Peer], number: int) -> list[Peer]:
    """The peers, another one first in each round."""
    first = number % len(peers)
    return peers[first:] + peers[:first]


def rounded(details: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in details.items()}


def empty_logs(proxy: Proxy) -> None:
    """Access logs grow by gigabytes otherwise; all proxies append, so theirs go on at the start."""
    for name in ("access.log", "output.log"):
        log = proxy.directory / name
        if log.exists():
            os.truncate(log, 0)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
