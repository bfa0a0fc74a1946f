"""`script/bench proxy`: Pando's load balancer beside nginx, HAProxy, Envoy, Caddy and Traefik.

Reads what to measure from its arguments, measures, and after each measure writes the report anew. The peers and
load generators must be there: the script puts them in place.
"""

import argparse
import os
import signal
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path

import peers
import report
from bed import Bed
from measures import MEASURES, chosen
from processes import Children, Cores, own_network, raise_file_limit
from rounds import FULL, QUICK, Rounds, say

ROOT = Path(__file__).parents[2]
FILES = 65_536


def arguments() -> argparse.Namespace:
    names = ", ".join(f"{each.name}" for each in MEASURES)
    groups = ", ".join(dict.fromkeys(each.group for each in MEASURES))
    parser = argparse.ArgumentParser(
        prog="script/bench proxy", epilog=f"measures: {names}; groups of them: {groups}. Without a name, all."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="measure only these")
    parser.add_argument("--quick", action="store_true", help="two short rounds, to see that all works; "
                        "results go to target/bench-proxy")
    parser.add_argument("--only", metavar="PEER,…", help="measure only these proxies, such as pando,nginx")
    parser.add_argument("--rounds", type=int, help=f"how many rounds instead of {FULL.rounds}")
    parser.add_argument("--out", type=Path, help="where results go instead of bench/results")
    parser.add_argument("--pando", type=Path, default=ROOT / "target/release/pando", help="the program to measure")
    parser.add_argument("--pace", type=Path, default=ROOT / "target/release/pace", help="the program for fixed rates")
    parser.add_argument("--peers", type=Path, default=cache(), help="where `peers`, the virtual environment, is")
    return parser.parse_args()


def cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "pando-bench"


def main() -> None:
    told = arguments()
    wanted = chosen(told.names)
    timing = QUICK if told.quick else FULL
    if told.rounds:
        timing = type(timing)(**{**vars(timing), "rounds": told.rounds})
    out = told.out or ROOT / ("target/bench-proxy" if told.quick else "bench/results")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    if not own_network():
        say("not root: a firewall of this machine, if there is one, is part of what is measured")
    raise_file_limit(FILES)
    present, missing = peers.all_peers(told.peers, told.pando.absolute())
    present = peers.only(present, told.only)
    for label, reason in missing.items():
        say(f"without {label}: {reason}")
    conditions = {
        "versions": {peer.name: peers.version(peer) for peer in present},
        "missing": missing, "machine": report.machine(), "quick": told.quick,
    }
    with tempfile.TemporaryDirectory(prefix="pando-bench-") as directory, Children() as children:
        bed = Bed(Path(directory), children, Cores.of_this_machine())
        rounds = Rounds(bed, present, timing, bed.runner(told.pace))
        for measure in wanted:
            say(f"{measure.name}: {measure.title}")
            when = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
            outcome = rounds.measure(measure)
            report.keep(out, measure, {**conditions, "when": when, **outcome.as_json()})
            say(report.brief(measure, outcome.as_json()))
    say(f"written to {out}/proxy.md")


try:
    main()
except KeyboardInterrupt:
    sys.exit("interrupted; measures that were whole are kept")
