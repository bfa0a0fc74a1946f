"""Plots: panels of horizontal bars with a whisker from the least to the greatest, as SVG."""

from dataclasses import dataclass
from html import escape

WIDTH, MARGIN, NAMES, VALUES = 760, 16, 80, 150
TITLE, PANEL_TITLE, ROW, GAP = 34, 24, 18, 12
STYLE = """text{font:12px system-ui,sans-serif;fill:#24292f}.title{font-size:16px;font-weight:600}
.panel{font-weight:600}.bar{fill:#9aa7b4}.ours{fill:#2f6fde}.whisker{stroke:#24292f;stroke-width:1}.value{fill:#57606a}"""


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
    """Bars that share a scale, under a title."""

    title: str
    bars: list[Bar]


def draw(title: str, panels: list[Panel], unit: str) -> str:
    """The plot as the text of an SVG file."""
    parts, y = [_text(MARGIN, MARGIN + 12, title, "title")], MARGIN + TITLE
    for panel in panels:
        parts.append(_text(MARGIN, y, panel.title, "panel"))
        longest = max(bar.high for bar in panel.bars) or 1.0
        scale = (WIDTH - 2 * MARGIN - NAMES - VALUES) / longest
        for number, bar in enumerate(panel.bars):
            parts += _bar(bar, y + PANEL_TITLE - 16 + number * ROW, scale, unit)
        y += PANEL_TITLE + len(panel.bars) * ROW + GAP
    inside = "\n".join(parts)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}" role="img">\n'
            f'<title>{escape(title)}</title>\n<style>{STYLE}</style>\n<rect width="100%" height="100%" fill="#fff"/>\n'
            f"{inside}\n</svg>\n")


def _bar(bar: Bar, y: float, scale: float, unit: str) -> list[str]:
    left, middle = MARGIN + NAMES, y + ROW / 2
    end, low, high = (left + value * scale for value in (bar.median, bar.low, bar.high))
    kind = "bar ours" if bar.ours else "bar"
    return [
        _text(MARGIN, middle + 4, bar.name, ""),
        f'<rect class="{kind}" x="{left}" y="{y + 3:.1f}" width="{end - left:.1f}" height="{ROW - 6}"/>',
        f'<line class="whisker" x1="{low:.1f}" x2="{high:.1f}" y1="{middle:.1f}" y2="{middle:.1f}"/>',
        _text(max(end, high) + 6, middle + 4, f"{_number(bar.median)}{unit} ({_number(bar.low)}–{_number(bar.high)})", "value"),
    ]


def _number(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'
