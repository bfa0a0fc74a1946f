"""Tests of what needs no proxy: `python3 bench/proxy/tests.py`."""

import subprocess
import tempfile
import unittest
from pathlib import Path

import chart
import report
from load import LoadFailed, h2load_said, pace_said, wrk_said
from measures import MEASURES, chosen
from peers import fill_text
from processes import Children, exit_status, tree, wait_until
from ratios import figures
from rounds import rotated

WRK = """Running 2s test @ http://localhost:8080/1k
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   596.04us    1.10ms   7.44ms   86.44%
  26144 requests in 1.10s, 29.27MB read
"""
WRK_TROUBLED = WRK + """  Socket errors: connect 1, read 2, write 3, timeout 4
  Non-2xx or 3xx responses: 100
"""
H2LOAD = """finished in 1.01s, 23381.00 req/s, 26.18MB/s
requests: 23381 total, 23385 started, 23381 done, 23381 succeeded, 0 failed, 2 errored, 1 timeout
status codes: 23371 2xx, 0 3xx, 0 4xx, 10 5xx
"""


class Reading(unittest.TestCase):
    def test_wrk_counts_only_good_answers(self):
        self.assertEqual((wrk_said(WRK).requests, wrk_said(WRK).errors), (26144, 0))
        self.assertEqual((wrk_said(WRK_TROUBLED).requests, wrk_said(WRK_TROUBLED).errors), (26044, 110))

    def test_h2load_counts_only_good_answers(self):
        self.assertEqual((h2load_said(H2LOAD).requests, h2load_said(H2LOAD).errors), (23371, 13))

    def test_pace_tells_percentiles(self):
        told = pace_said("answered 2000 failed 3 p50 1000 p99 1980 p999 1998\n")
        self.assertEqual((told.requests, told.errors, told.micros["p99"]), (2000, 3, 1980))

    def test_something_else_is_a_failure_with_its_last_line(self):
        for read in (wrk_said, h2load_said):
            with self.assertRaisesRegex(LoadFailed, "unable to connect"):
                read("unable to connect to localhost\n\n")


class Comparing(unittest.TestCase):
    def test_ratios_are_of_the_same_round(self):
        # The machine was half as fast in the second round; the ratio is the same in both.
        found = figures([sample("nginx", 0, 10), sample("pando", 0, 8), sample("nginx", 1, 20), sample("pando", 1, 16)])
        self.assertEqual(vars(found["pando"].ratio), {"median": 0.8, "low": 0.8, "high": 0.8})
        self.assertEqual(found["pando"].value.median, 12)

    def test_a_round_without_nginx_has_no_ratio(self):
        found = figures([sample("pando", 0, 8), sample("pando", 1, 8), sample("nginx", 1, 16)])
        self.assertEqual((found["pando"].ratio.high, found["pando"].rounds), (0.5, 2))
        self.assertIsNone(figures([sample("pando", 0, 8)])["pando"].ratio)

    def test_disturbed_slots_are_counted(self):
        found = figures([sample("pando", 0, 8, 0.06), sample("pando", 1, 8, 0.04)])
        self.assertEqual((found["pando"].disturbed, found["pando"].errors), (1, 4))

    def test_everyone_is_first_once(self):
        self.assertEqual([rotated(list("abc"), number)[0] for number in range(3)], list("abc"))
        self.assertEqual(rotated(list("abc"), 4), list("bca"))


class Choosing(unittest.TestCase):
    def test_names_and_groups(self):
        self.assertEqual([each.name for each in chosen(["handshake", "h1-64"])], ["h1-64", "handshake"])
        self.assertEqual({each.group for each in chosen(["h2"])}, {"h2"})
        self.assertEqual(len(chosen([])), len(MEASURES))
        with self.assertRaisesRegex(SystemExit, "no measure is called h3"):
            chosen(["h3"])


class Reporting(unittest.TestCase):
    def test_a_later_run_of_one_measure_leaves_the_others(self):
        with tempfile.TemporaryDirectory() as directory:
            first, second = chosen(["h1-64", "h1-1k"])
            for measure in (first, second, first):
                report.keep(Path(directory), measure, outcome())
            page = (Path(directory) / "proxy.md").read_text()
            self.assertIn("| HTTP/1.1, 64 B | **0.80** | 1.00 | not yet |", page)
            self.assertIn("| HTTP/1.1, 1 KB | **0.80** | 1.00 | not yet |", page)
            self.assertIn("Without Envoy: gone", page)
            self.assertIn("0.80×", (Path(directory) / "proxy-cpu.svg").read_text())

    def test_plots_escape_what_they_show(self):
        drawn = chart.draw("a < b", [chart.Panel("c & d", "×", [chart.Bar("e", 1, 1, 1, True)])])
        self.assertIn("a &lt; b", drawn)
        self.assertIn("c &amp; d", drawn)

    def test_templates_leave_what_is_not_theirs(self):
        self.assertEqual(fill_text("@type $x %y @{port}", {"port": 80}), "@type $x %y 80")


class Ending(unittest.TestCase):
    def test_children_end_with_their_own_children(self):
        with tempfile.TemporaryDirectory() as directory, Children() as children:
            output = Path(directory) / "output"
            child = children.start(["sh", "-c", "trap '' TERM; sleep 60 & wait; wait"], {0}, output)
            wait_until(lambda: len(tree(child.pid)) == 2, 5, "a child of the child")
            members = tree(child.pid)
            children.end(child)
            wait_until(lambda: not any(lives(pid) for pid in members), 5, "the end of both")

    def test_a_child_that_is_gone_already_is_no_trouble(self):
        with tempfile.TemporaryDirectory() as directory, Children() as children:
            child = children.start(["true"], {0}, Path(directory) / "output")
            wait_until(lambda: exit_status(child) is not None, 5, "the end")

    def test_the_status_of_a_child_can_be_asked_for_again(self):
        with subprocess.Popen(["sh", "-c", "exit 3"]) as child:
            wait_until(lambda: exit_status(child) is not None, 5, "the end")
            self.assertEqual((exit_status(child), exit_status(child)), (3, 3))


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def sample(peer: str, number: int, value: float, disturbance: float = 0) -> dict:
    details = {"user": 1, "rate": 1000, "busy": 0.9, "disturbance": disturbance, "load_busy": 0.5, "errors": 2}
    return {"peer": peer, "round": number, "value": value, "details": details}


def outcome() -> dict:
    return {
        "samples": [sample("nginx", 0, 10), sample("pando", 0, 8)], "absent": {"haproxy": "not yet"}, "notes": {},
        "versions": {"pando": "0.1.0"}, "missing": {"Envoy": "gone"}, "machine": "here", "quick": False, "when": "now",
    }


if __name__ == "__main__":
    unittest.main()
