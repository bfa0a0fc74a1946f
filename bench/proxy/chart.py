"""Plots: panels of horizontal bars, each with a line from the least to the greatest value, as SVG."""

from dataclasses import dataclass
from html import escape

WIDTH, MARGIN, NAMES, VALUES = 760, 16, 80, 150
TITLE, PANEL_TITLE, ROW, GAP = 34, 24, 18, 12
STYLE = """text{font:12px system-ui,sans-serif;fill:#24292f}.title{font-size:16px;font-weight:600}
.panel{font-weight:600}.bar{fill:#9aa7b4}.ours{fill:#2f6fde}.whisker{stroke:#24292f;stroke-width:1}.mark{stroke:#e8a27c;stroke-dasharray:3 3}.value{fill:#57606a}"""


@dataclass(frozen=True)
class Bar:
    """A bar as long as the median."""

    name: str
    median: float
    low: float
    high: float
    ours: bool


@dataclass(frozen=True)
class Panel:
    """Bars that share a scale and a unit, under a title. A line goes through all of them at `mark`, if there is one."""

    title: str
    unit: str
    bars: list[Bar]
    mark: float | None = None


def draw(title: str, panels: list[Panel]) -> str:
    """The plot as the text of an SVG file."""
    parts, y = [_text(MARGIN, MARGIN + 12, title, "title")], MARGIN + TITLE + GAP
    for panel in panels:
        parts += _panel(panel, y)
        y += PANEL_TITLE + len(panel.bars) * ROW + GAP
    inside = "\n".join(parts)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}" role="img">\n'
            f'<title>{escape(title)}</title>\n<style>{STYLE}</style>\n<rect width="100%" height="100%" fill="#fff"/>\n'
            f"{inside}\n</svg>\n")


def _panel(panel: Panel, y: float) -> list[str]:
    longest = max(bar.high for bar in panel.bars) or 1.0
    scale = (WIDTH - 2 * MARGIN - NAMES - VALUES) / longest
    parts, top = [_text(MARGIN, y, panel.title, "panel")], y + PANEL_TITLE - 16
    if panel.mark is not None:
        x = MARGIN + NAMES + panel.mark * scale
        end = top + len(panel.bars) * ROW
        parts.append(f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{end}"/>')
    for number, bar in enumerate(panel.bars):
        parts += _bar(bar, top + number * ROW, scale, panel.unit)
    return parts


def _bar(bar: Bar, y: float, scale: float, unit: str) -> list[str]:
    left, middle = MARGIN + NAMES, y + ROW / 2
    end, low, high = (left + value * scale for value in (bar.median, bar.low, bar.high))
    kind = "bar ours" if bar.ours else "bar"
    value = f"{_number(bar.median)}{unit}"
    told = value if bar.low == bar.high else f"{value} ({_number(bar.low)}–{_number(bar.high)})"
    return [
        _text(MARGIN, middle + 4, bar.name, ""),
        f'<rect class="{kind}" x="{left}" y="{y + 3:.1f}" width="{end - left:.1f}" height="{ROW - 6}"/>',
        f'<line class="whisker" x1="{low:.1f}" x2="{high:.1f}" y1="{middle:.1f}" y2="{middle:.1f}"/>',
        _text(max(end, high) + 6, middle + 4, told, "value"),
    ]


def _number(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'
