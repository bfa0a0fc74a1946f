"""What a process tree cost: CPU time from /proc, resident memory, and who else was on its core."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from processes import tree

TICK = 1.0 / os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Spent:
    """Seconds of CPU over some wall time: the process tree's own, and what others had of its core."""

    user: float
    system: float
    wall: float
    foreign: float
    stolen: float
    load_busy: float

    @property
    def cpu(self) -> float:
        return self.user + self.system


class Meter:
    """Measures a process tree on its core, from its making until `stop`."""

    def __init__(self, pid: int, core: int, others):
        self.pid, self.core, self.others = pid, core, sorted(others)
        self.before = self._now()

    def stop(self) -> Spent:
        (wall, (user, system), (busy, stolen), load) = (
            _difference(after, before) for after, before in zip(self._now(), self.before)
        )
        foreign = max(0.0, busy - user - system)
        return Spent(user, system, wall, foreign, stolen, load / wall / len(self.others))

    def _now(self):
        load = sum(sum(core_times(core)) for core in self.others)
        return time.monotonic(), tree_times(self.pid), core_times(self.core), load


def _difference(after, before):
    if isinstance(after, tuple):
        return tuple(a - b for a, b in zip(after, before))
    return after - before


def tree_times(pid: int) -> tuple[float, float]:
    """User and system seconds of a process, its living descendants and the children it waited for."""
    user = system = 0
    for one in tree(pid):
        try:
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        # Fields 14 to 17 of proc(5): utime, stime, cutime, cstime.
        user += int(fields[11]) + int(fields[13])
        system += int(fields[12]) + int(fields[14])
    return user * TICK, system * TICK


def core_times(core: int) -> tuple[float, float]:
    """Seconds that a core was busy with processes and interrupts, and that the hypervisor took away."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *values = line.split()
        if name == f"cpu{core}":
            user, nice, system, _idle, _iowait, irq, softirq, stolen = map(int, values[:8])
            return (user + nice + system + irq + softirq) * TICK, stolen * TICK
    raise LookupError(f"/proc/stat knows no core {core}")


def resident(pid: int) -> int:
    """Bytes of resident memory of a process tree."""
    total = 0
    for one in tree(pid):
        try:
            total += int(Path(f"/proc/{one}/statm").read_text().split()[1]) * PAGE
        except OSError:
            continue
    return total
