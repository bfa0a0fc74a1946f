"""What a process tree cost: CPU time from /proc, resident memory, and who else was on its core."""

import os
import resource
import time
from dataclasses import dataclass
from pathlib import Path

from processes import Cores, tree

TICK = 1.0 / os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Spent:
    """Seconds of CPU over some wall time: the proxy's process tree, and what others had of the cores.

    `foreign` and `stolen` are of the proxy's core: time of other processes and interrupts, and time that the hypervisor took.
    `load_foreign` is what others than the load and the origin had of the load's cores; `load_busy` is a share of those.
    """

    user: float
    system: float
    wall: float
    foreign: float
    stolen: float
    load_foreign: float
    load_busy: float

    @property
    def cpu(self) -> float:
        return self.user + self.system


class Meter:
    """Measures a process tree on its core, from its making until `stop`. The load must run and end in between."""

    def __init__(self, pid: int, cores: Cores, origin: list[int]):
        self.pid, self.cores, self.origin = pid, cores, origin
        self.before = self._now()

    def stop(self) -> Spent:
        wall, user, system, busy, stolen, load, expected = (
            after - before for after, before in zip(self._now(), self.before)
        )
        return Spent(
            user, system, wall, foreign=max(0.0, busy - user - system), stolen=stolen,
            load_foreign=max(0.0, load - expected), load_busy=load / wall / len(self.cores.rest),
        )

    def _now(self) -> tuple[float, ...]:
        load = sum(sum(core_times(core)) for core in self.cores.rest)
        # Children that were waited for: the load generators.
        generators = resource.getrusage(resource.RUSAGE_CHILDREN)
        expected = generators.ru_utime + generators.ru_stime + sum(sum(tree_times(pid)) for pid in self.origin)
        return time.monotonic(), *tree_times(self.pid), *core_times(self.cores.proxy), load, expected


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
