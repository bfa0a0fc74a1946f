"""`script/bench attacks`: what others feel of an attack, and what it costs in memory.

Innocent clients ask at a fixed rate: alone, while the attack goes to another proxy of the same kind, and while it goes to theirs;
their slowest hundredth is compared. The other proxy runs at the lowest priority on the attacker's core, so the second figure is
what the attacker alone takes from the clients, with whom it shares that core. Each attack meets a proxy that was just started.
"""

import argparse
import os
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import peers
import report
from bed import Bed
from cpu import resident
from load import Answered, LoadFailed, Pace
from processes import Children, Cores, own_network, raise_file_limit, step_aside
from rounds import say

ROOT = Path(__file__).parents[2]
ATTACKER = Path(__file__).parent / "attack" / "attacker.py"
FILES = 65_536
RATE, CONNECTIONS = 1_000.0, 32
SECONDS, LEAD_SECONDS, REST_SECONDS = 6, 2.0, 3.0
SLOW = ("-c", "4000", "-r", "1500", "-i", "2", "-x", "24", "-p", "3")

HEADINGS = "| | p99 alone, ms | p99 with another attacked, ms | p99 attacked, ms | ratio | failed | MB before / most / after | what it did |"


@dataclass(frozen=True)
class Attack:
    """`slow` are words for slowhttptest; without them it is one of the attacker's own."""

    name: str
    title: str
    slow: tuple[str, ...] = ()


ATTACKS = (
    Attack("slow-heads", "slowhttptest: 4,000 heads that trickle in", ("-H",)),
    Attack("slow-bodies", "slowhttptest: 4,000 bodies that trickle in", ("-B", "-s", "8192")),
    Attack("slow-reads", "slowhttptest: 4,000 clients that hardly read", ("-X", "-w", "1", "-y", "1", "-n", "5", "-z", "1", "-k", "3")),
    Attack("ranges", "slowhttptest: 4,000 requests for overlapping ranges", ("-R", "-a", "10", "-b", "3000")),
    Attack("half-open", "10,000 connections with half a head"),
    Attack("half-hello", "10,000 connections with half a TLS hello"),
    Attack("handshakes", "a flood of TLS handshakes"),
    Attack("resets", "HTTP/2: rapid resets"),
    Attack("continuations", "HTTP/2: heads without an end"),
    Attack("pings", "HTTP/2: a flood of PING"),
    Attack("settings", "HTTP/2: a flood of SETTINGS"),
    Attack("header-bombs", "HTTP/2: heads that grow when unpacked"),
)


@dataclass
class Memory:
    """The most that a process tree has had resident, looked at ten times a second."""

    pid: int
    most: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Memory":
        self.watcher = threading.Thread(target=self._watch)
        self.watcher.start()
        return self

    def __exit__(self, *_) -> None:
        self.over.set()
        self.watcher.join()

    def _watch(self) -> None:
        while not self.over.wait(0.1):
            self.most = max(self.most, resident(self.pid))


@dataclass(frozen=True)
class Outcome:
    alone: Answered
    elsewhere: Answered
    attacked: Answered
    before: int
    most: int
    after: int
    did: str


def endure(bed: Bed, peer: peers.Peer, attack: Attack, runner) -> Outcome:
    """One attack on a proxy that was just started."""
    proxy = bed.start(peer)
    try:
        pace = Pace("/1k", CONNECTIONS, RATE)
        alone, before = pace.run(proxy, SECONDS, runner), resident(proxy.pid)
        elsewhere = aside(bed, peer, attack, lambda: pace.run(proxy, SECONDS, runner))
        with Memory(proxy.pid) as memory:
            attacked, did = under(bed, attack, proxy, lambda: pace.run(proxy, SECONDS, runner))
        time.sleep(REST_SECONDS)
        return Outcome(alone, elsewhere, attacked, before, memory.most, resident(proxy.pid), did)
    finally:
        bed.end(proxy)


def aside(bed: Bed, peer: peers.Peer, attack: Attack, load) -> Answered:
    """What `load` measures while another proxy of the same kind is attacked, out of the way."""
    other = bed.start(peer)
    try:
        step_aside(other.pid, bed.cores.rest)
        return under(bed, attack, other, load)[0]
    finally:
        bed.end(other)


def under(bed: Bed, attack: Attack, target: peers.Proxy, load) -> tuple[Answered, str]:
    """What `load` measures while `target` is attacked, and what the attacker did."""
    log = target.directory / "attack.log"
    attacker = bed.children.start(command(attack, target), bed.cores.rest, log)
    try:
        time.sleep(LEAD_SECONDS)
        measured = load()
    finally:
        bed.children.end(attacker)
    did = log.read_text(errors="replace").strip().splitlines()
    return measured, "" if attack.slow or not did else did[-1]


def command(attack: Attack, proxy: peers.Proxy) -> list[str]:
    # Both outlast the load, which an end of so many connections at once would disturb, and end by themselves if nobody ends them.
    ports, length = proxy.ports, int(LEAD_SECONDS + SECONDS) + 5
    if attack.slow:
        url = f"http://localhost:{ports.http}/100k"
        return ["nice", "-n", "19", "slowhttptest", *SLOW, *attack.slow, "-l", str(length), "-u", url]
    words = (ports.http, ports.h2c, ports.https, length)
    return [sys.executable, str(ATTACKER), attack.name, *map(str, words)]


def row(label: str, outcome: Outcome) -> str:
    alone, elsewhere, attacked = (
        each.micros["p99"] / 1000 for each in (outcome.alone, outcome.elsewhere, outcome.attacked)
    )
    memory = " / ".join(f"{size / 1e6:.0f}" for size in (outcome.before, outcome.most, outcome.after))
    return (f"| {label} | {alone:.2f} | {elsewhere:.2f} | {attacked:.2f} | {attacked / elsewhere:.1f} | "
            f"{outcome.attacked.errors} | {memory} | {outcome.did} |")


def page(rows: dict[str, list[str]], files: int) -> str:
    lines = [
        "# Under attack",
        "",
        "`script/bench attacks` measures again: innocent clients ask for 1 KB over HTTP/1.1, 1,000 times a second over 32 connections,",
        "alone, while the attack goes to another proxy of the same kind, and while it goes to theirs. The attacker shares its core",
        "with the clients and the origin, at the lowest priority, as does that other proxy: the second figure is what the attacker",
        "takes from the clients by itself, and the ratio is of the third to it. Each attack meets a proxy that was just started, and",
        "stops by itself.",
        f"A process may have {files:,} files open here. Where they run short, Pando ends connections that wait for nothing to make room for",
        "new ones; 10,000 half-open ones have room here.",
        "All proxies have one worker; their settings are those of [proxy.md](proxy.md).",
        "",
    ]
    for title, of_it in rows.items():
        lines += [f"## {title}", "", HEADINGS, "|---|---|---|---|---|---|---|---|", *of_it, ""]
    return "\n".join([*lines, f"Measured on {report.machine()}.", ""])


def main() -> None:
    names = ", ".join(each.name for each in ATTACKS)
    parser = argparse.ArgumentParser(prog="script/bench attacks", epilog=f"attacks: {names}. Without a name, all.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="try only these")
    parser.add_argument("--pando", type=Path, default=ROOT / "target/release/pando", help="the program to measure")
    parser.add_argument("--pace", type=Path, default=ROOT / "target/release/pace", help="the program for fixed rates")
    parser.add_argument("--out", type=Path, default=ROOT / "bench/results/attacks.md", help="where the tables go")
    parser.add_argument("--only", metavar="PEER,…", help="attack only these proxies, such as pando,nginx")
    told = parser.parse_args()
    unknown = set(told.names) - {each.name for each in ATTACKS}
    if unknown:
        parser.error(f"no such attack: {', '.join(sorted(unknown))}; there are {names}")
    os.environ["PATH"] += ":/usr/sbin"
    own_network()
    files = raise_file_limit(FILES)
    present, _ = peers.all_peers(ROOT, told.pando.absolute())
    present = peers.only(present, told.only)
    rows: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory(prefix="pando-bench-") as directory, Children() as children:
        bed = Bed(Path(directory), children, Cores.of_this_machine())
        runner = bed.runner(told.pace)
        for attack in ATTACKS:
            if told.names and attack.name not in told.names:
                continue
            say(attack.title)
            for peer in present:
                try:
                    line = row(peer.label, endure(bed, peer, attack, runner))
                except LoadFailed as failure:
                    words = str(failure).replace(str(told.pace), "the clients")
                    line = f"| {peer.label} | | | | | all | | {words} |"
                rows.setdefault(attack.title, []).append(line)
                say(line)
            told.out.write_text(page(rows, files))


if __name__ == "__main__":
    main()
