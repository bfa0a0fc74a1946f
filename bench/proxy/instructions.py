"""`script/bench instructions`: what a request costs in the load balancer's own instructions, counted by callgrind.

Unlike time, the count is nearly the same on every machine and run, so that a slip shows in review. The kernel's part is
not in it. A case runs twice, with a few requests and with many; the difference is theirs alone, without the program's start.
"""

import argparse
import dataclasses
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import peers
import report
from bed import Bed
from load import HEADERS
from processes import Children, Cores, raise_file_limit

ROOT = Path(__file__).parents[2]
FEW, MANY = 2_000, 22_000
LOAD_SECONDS = 120


@dataclass(frozen=True)
class Case:
    """Requests of one kind, over 64 connections (HTTP/2: 16 of ten streams)."""

    title: str
    tls: bool
    h2load: tuple[str, ...]


CASES = (
    Case("HTTP/1.1, 1 KB, keep-alive", False, ("--h1", "-c", "64")),
    Case("HTTP/1.1 over TLS 1.3, 1 KB, keep-alive", True, ("--h1", "-c", "64")),
    Case("HTTP/2 without TLS, 1 KB, 10 streams", False, ("-p", "h2c", "-c", "16", "-m", "10")),
)


def count(bed: Bed, peer: peers.Peer, case: Case, requests: int) -> int:
    """Instructions of a whole run with so many requests."""
    out = bed.directory / f"callgrind.{bed.started + 1}"
    valgrind = ("valgrind", "--tool=callgrind", f"--callgrind-out-file={out}")
    proxy = bed.start(dataclasses.replace(peer, command=(*valgrind, *peer.command)))
    port = proxy.ports.https if case.tls else proxy.ports.http
    headers = [word for name, value in HEADERS.items() for word in ("-H", f"{name}: {value}")]
    url = f"{'https' if case.tls else 'http'}://localhost:{port}/1k"
    told = subprocess.run(["h2load", "-n", str(requests), *case.h2load, *headers, url], capture_output=True,
                          text=True, timeout=LOAD_SECONDS, check=True).stdout
    if f" {requests} succeeded" not in told:
        raise RuntimeError(f"not all requests were answered: {told}")
    bed.end(proxy)
    found = re.search(r"^(?:summary|totals): (\d+)", out.read_text(), re.MULTILINE)
    if not found:
        raise RuntimeError(f"callgrind wrote no total to {out}")
    return int(found[1])


def for_each(bed: Bed, peer: peers.Peer, case: Case) -> float:
    """Instructions for each request."""
    few, many = (count(bed, peer, case, requests) for requests in (FEW, MANY))
    return (many - few) / (MANY - FEW)


def written(figures: dict[str, float]) -> str:
    lines = [
        "# Instructions for each request",
        "",
        "`script/bench instructions` counts again: instructions of the load balancer's own for a request, by callgrind, with all",
        "features on as in [proxy.md](proxy.md). The kernel's are not in it.",
        "",
        "| | instructions |",
        "|---|---|",
        *(f"| {title} | {figure:,.0f} |" for title, figure in figures.items()),
        "",
        f"Counted on {report.machine()}.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="script/bench instructions")
    parser.add_argument("--pando", type=Path, default=ROOT / "target/release/pando", help="the program to measure")
    parser.add_argument("--out", type=Path, default=ROOT / "bench/results/instructions.md", help="where the table goes")
    told = parser.parse_args()
    raise_file_limit(65_536)
    present, _ = peers.all_peers(ROOT, told.pando.absolute())
    peer = present[0]
    figures = {}
    with tempfile.TemporaryDirectory(prefix="pando-bench-") as directory, Children() as children:
        bed = Bed(Path(directory), children, Cores.of_this_machine())
        for case in CASES:
            figures[case.title] = for_each(bed, peer, case)
            print(f"{case.title}: {figures[case.title]:,.0f}", file=sys.stderr, flush=True)
    told.out.write_text(written(figures))


if __name__ == "__main__":
    main()
