"""The report: raw figures kept as JSON, and from them the page and its plots."""

import json
import os
import platform
from pathlib import Path

import chart
from measures import MEASURES, Held, Measure, Paced, Start, Sustained
from ratios import Figures, figures

NOTES = {"rate": "requests a second", "connections": "connections"}
METHOD = Path(__file__).parent / "method.md"
LABELS = {"pando": "Pando", "nginx": "nginx", "haproxy": "HAProxy", "envoy": "Envoy", "caddy": "Caddy",
          "traefik": "Traefik"}


def keep(out: Path, measure: Measure, outcome: dict) -> None:
    """Puts a measure's outcome in the place of an earlier one, and writes the page and plots anew."""
    out.mkdir(parents=True, exist_ok=True)
    kept = out / "proxy.json"
    known = json.loads(kept.read_text()) if kept.exists() else {}
    known[measure.name] = outcome
    kept.write_text(as_lines(known))
    (out / "proxy.md").write_text(page(known))
    for name, drawing in plots(known).items():
        (out / name).write_text(drawing)


def as_lines(known: dict) -> str:
    """JSON with a line for each sample, so that it can be read and compared."""
    text = []
    for name, outcome in known.items():
        head = json.dumps({key: value for key, value in outcome.items() if key != "samples"})
        samples = ",\n  ".join(json.dumps(sample) for sample in outcome["samples"])
        text.append(f'"{name}": {head[:-1]}, "samples": [\n  {samples}\n]}}')
    return "{\n" + ",\n".join(text) + "\n}\n"


def page(known: dict) -> str:
    """The whole page."""
    parts = [METHOD.read_text().strip(), conditions(known), at_a_glance(known)]
    parts += [section(known, *each) for each in SECTIONS]
    return "\n\n".join(part for part in parts if part) + "\n"


def conditions(known: dict) -> str:
    """Where and with what it was measured: each different set of conditions once."""
    sets: dict[str, list[str]] = {}
    for name, outcome in known.items():
        versions = ", ".join(f"{LABELS[peer]} {number}" for peer, number in outcome["versions"].items())
        missing = "".join(f" **Without {label}: {reason}.**" for label, reason in outcome["missing"].items())
        quick = " **Two short rounds: no figures to rely on.**" if outcome["quick"] else ""
        sets.setdefault(f"{outcome['machine']}. {versions}.{missing}{quick}", []).append(name)
    lines = ["## Where"]
    for told, names in sets.items():
        whole = len(sets) == 1
        lines.append(told if whole else f"{', '.join(names)}: {told}")
    times = sorted(outcome["when"] for outcome in known.values())
    return "\n\n".join([*lines, f"Measured from {times[0]} to {times[-1]}."])


def at_a_glance(known: dict) -> str:
    """CPU for each request, relative to nginx: a row for each measure."""
    rows = [(each.title, known[each.name]) for each in MEASURES
            if isinstance(each, Sustained) and each.name in known]
    if not rows:
        return ""
    lines = ["## CPU for each request, relative to nginx", "", f"| | {' | '.join(LABELS.values())} |",
             "|---|" + "---|" * len(LABELS)]
    for title, outcome in rows:
        found = figures(outcome["samples"])
        lines.append(f"| {title} | {' | '.join(ratio_of(found, outcome, peer) for peer in LABELS)} |")
    return "\n".join([*lines, "", "![CPU for each request, relative to nginx](proxy-cpu.svg)"])


def ratio_of(found: dict[str, Figures], outcome: dict, peer: str) -> str:
    if peer not in found:
        return short(outcome["absent"].get(peer, "–"))
    ratio = found[peer].ratio
    text = f"{ratio.median:.2f}" if ratio else f"{found[peer].value.median:.1f} µs"
    return f"**{text}**" if peer == "pando" else text


def short(reason: str) -> str:
    return reason.split(":")[0] if reason.startswith("not yet") else "failed" if reason != "–" else reason


def section(known: dict, title: str, kind, table, plot: str | None) -> str:
    """One part of the page: a table for each of its measures."""
    parts = [f"## {title}"]
    for each in MEASURES:
        if isinstance(each, kind) and each.name in known:
            outcome = known[each.name]
            parts.append(f"### {each.title}{heading(outcome)}\n\n{table(each, outcome)}{left_out(outcome)}")
    if len(parts) == 1:
        return ""
    return "\n\n".join(parts + ([f"![{title}]({plot})"] if plot else []))


def heading(outcome: dict) -> str:
    """What the run itself decided: the rate, or how many connections were held."""
    return "".join(f": {value:,} {NOTES[name]}" for name, value in outcome["notes"].items())


def left_out(outcome: dict) -> str:
    reasons = [f"{LABELS[peer]}: {reason}" for peer, reason in outcome["absent"].items()]
    return "\n\nNot in it: " + "; ".join(reasons) + "." if reasons else ""


def cpu_table(measure: Sustained, outcome: dict) -> str:
    head = [f"µs for each {measure.unit}", "of it user", "relative to nginx", "requests/s", "core busy",
            "load's cores busy", "errors", "disturbed"]
    return table_of(head, outcome, lambda one: [
        span(one.value), f"{one.details['user']:.1f}", ranged(one.ratio), f"{one.details['rate']:.0f}",
        share(one.details["busy"]), share(one.details["load_busy"]), str(one.errors), f"{one.disturbed} of {one.rounds}",
    ])


def latency_table(_measure: Paced, outcome: dict) -> str:
    head = ["p50 ms", "p99 ms", "p999 ms", "p99 relative to nginx", "errors", "disturbed"]
    return table_of(head, outcome, lambda one: [
        f"{one.details['p50'] / 1e3:.2f}", span(one.value, 1e3, 2), f"{one.details['p999'] / 1e3:.2f}", ranged(one.ratio),
        str(one.errors), f"{one.disturbed} of {one.rounds}",
    ])


def start_table(_measure: Start, outcome: dict) -> str:
    return table_of(["MB"], outcome, lambda one: [span(one.value, 1e6)])


def held_table(_measure: Held, outcome: dict) -> str:
    return table_of(["KB each", "MB in all"], outcome, lambda one: [
        span(one.value, 1e3), f"{one.details['after'] / 1e6:.0f}",
    ])


SECTIONS = (
    ("CPU in detail", Sustained, cpu_table, None),
    ("Latency at fixed rates", Paced, latency_table, "proxy-latency.svg"),
    ("Memory after the start", Start, start_table, None),
    ("Memory of idle connections", Held, held_table, "proxy-memory.svg"),
)


def table_of(head: list[str], outcome: dict, cells) -> str:
    lines = [f"| | {' | '.join(head)} |", "|---|" + "---|" * len(head)]
    rows = in_order(figures(outcome["samples"]))
    return "\n".join(lines + [f"| {LABELS[peer]} | {' | '.join(cells(one))} |" for peer, one in rows])


def in_order(found: dict[str, Figures]) -> list[tuple[str, Figures]]:
    """Always in the same order, whoever was first in a round."""
    return [(peer, found[peer]) for peer in LABELS if peer in found]


def ranged(spread) -> str:
    return span(spread, digits=2) if spread else "–"


def span(spread, scale: float = 1, digits: int = 1) -> str:
    median, low, high = (f"{value / scale:.{digits}f}" for value in (spread.median, spread.low, spread.high))
    return f"{median} ({low}–{high})"


def share(value: float) -> str:
    return f"{value * 100:.0f} %"


def plots(known: dict) -> dict[str, str]:
    """The plots by their files' names; those without figures are left out."""
    drawn = {
        "proxy-cpu.svg": ("CPU for each request, relative to nginx", Sustained),
        "proxy-latency.svg": ("The slowest of a hundred answers (p99), at fixed rates", Paced),
        "proxy-memory.svg": ("Resident memory", Start | Held),
    }
    panels = {name: (title, panels_of(known, kind)) for name, (title, kind) in drawn.items()}
    return {name: chart.draw(*each) for name, each in panels.items() if each[1]}


def panels_of(known: dict, kind) -> list[chart.Panel]:
    measures = [each for each in MEASURES if isinstance(each, kind) and each.name in known]
    panels = [panel(each, figures(known[each.name]["samples"])) for each in measures]
    return [panel for panel in panels if panel.bars]


def panel(measure: Measure, found: dict[str, Figures]) -> chart.Panel:
    unit, scale = {Sustained: ("×", 1), Paced: (" ms", 1e3), Start: (" MB", 1e6), Held: (" KB", 1e3)}[type(measure)]
    relative = isinstance(measure, Sustained)
    bars = []
    for peer, one in in_order(found):
        spread = one.ratio if relative else one.value
        if spread:
            low, median, high = (value / scale for value in (spread.low, spread.median, spread.high))
            bars.append(chart.Bar(LABELS[peer], median, low, high, ours=peer == "pando"))
    return chart.Panel(measure.title, unit, bars, mark=1 if relative else None)


def brief(measure: Measure, outcome: dict) -> str:
    """A line for each proxy, for whoever waits for the run."""
    lines = []
    for peer, one in in_order(figures(outcome["samples"])):
        lines.append(f"  {LABELS[peer]:8} {one.value.median:12.1f}   relative to nginx {ranged(one.ratio)}"
                     f"   disturbed {one.disturbed} of {one.rounds}")
    return "\n".join(lines + [f"  {LABELS[peer]:8} {reason}" for peer, reason in outcome["absent"].items()])


def machine() -> str:
    """Processor, cores, memory and kernel, for readers who compare."""
    model = next((line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.machine())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GB, Linux {platform.release().split('-')[0]}"
