"""Figures from samples: medians, spread, and ratios within rounds."""

import statistics
from dataclasses import dataclass

# In a slot of which others took more than this, of a core that they have no business on, figures are marked as disturbed.
DISTURBED_SHARE = 0.05


@dataclass(frozen=True)
class Spread:
    """The median of some values with the least and the greatest."""

    median: float
    low: float
    high: float

    @staticmethod
    def of(values: list[float]) -> "Spread":
        return Spread(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Figures:
    """One proxy in one measure. `ratio` is relative to nginx in the same rounds; absent without it."""

    value: Spread
    ratio: Spread | None
    details: dict[str, float]
    rounds: int
    disturbed: int
    errors: int


def figures(samples: list[dict], base: str = "nginx") -> dict[str, Figures]:
    """Figures of each proxy in a measure."""
    by_peer: dict[str, dict[int, dict]] = {}
    for sample in samples:
        by_peer.setdefault(sample["peer"], {})[sample["round"]] = sample
    return {peer: _of_peer(mine, by_peer.get(base, {})) for peer, mine in by_peer.items()}


def _of_peer(mine: dict[int, dict], base: dict[int, dict]) -> Figures:
    ratios = [sample["value"] / base[number]["value"] for number, sample in mine.items()
              if number in base and base[number]["value"] > 0]
    details = [sample["details"] for sample in mine.values()]
    return Figures(
        value=Spread.of([sample["value"] for sample in mine.values()]),
        ratio=Spread.of(ratios) if ratios else None,
        details={name: statistics.median(each[name] for each in details) for name in details[0]},
        rounds=len(mine),
        disturbed=sum(each.get("disturbance", 0) > DISTURBED_SHARE for each in details),
        errors=round(sum(each.get("errors", 0) for each in details)),
    )

