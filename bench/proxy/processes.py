"""Child processes: started on a core in a group of their own, and ended with this program whatever ends it."""

import ctypes
import os
import resource
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

PR_SET_PDEATHSIG = 1
CLONE_NEWNET = 0x4000_0000
LIBC = ctypes.CDLL(None, use_errno=True)
END_GRACE_SECONDS = 3.0


@dataclass(frozen=True)
class Cores:
    """Who may run where: the proxy has a core to itself, whatever loads it has the rest."""

    proxy: int
    rest: frozenset[int]

    @staticmethod
    def of_this_machine() -> "Cores":
        """The first core that this process may use is the proxy's. Raises without a second one."""
        usable = sorted(os.sched_getaffinity(0))
        if len(usable) < 2:
            raise SystemExit("script/bench proxy needs two cores: one for the proxy, one for the load")
        return Cores(usable[0], frozenset(usable[1:]))


def raise_file_limit(wanted: int) -> int:
    """Raises the number of files that this process and its children may open; tells what it is now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limit in ((wanted, max(wanted, hard)), (min(wanted, hard), hard)):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, limit)
            return limit[0]
        except (ValueError, PermissionError):
            continue
    return soft


def own_network() -> bool:
    """Moves this program, and all that it starts from now on, to a network that has a loopback and nothing else.

    A firewall of this machine, such as a container engine's, looks at each packet on its loopback too, which costs every proxy
    the same and so makes them look more alike. False: only root can do that, and all stays as it is.
    """
    if LIBC.unshare(CLONE_NEWNET) != 0:
        return False
    return subprocess.run(["ip", "link", "set", "lo", "up"]).returncode == 0


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on at the moment, each another."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def tree(pid: int) -> list[int]:
    """A process and all that descend from it and still live."""
    found, waiting = [], [pid]
    while waiting:
        one = waiting.pop()
        found.append(one)
        for children in Path(f"/proc/{one}/task").glob("*/children"):
            try:
                waiting += map(int, children.read_text().split())
            except OSError:
                continue  # a thread that ended meanwhile
    return found


def exit_status(process: subprocess.Popen) -> int | None:
    """The status that a child ended with; none while it runs. It is not waited for: its number stays its own."""
    ended = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    return ended.si_status if ended else None


def end_group(process: subprocess.Popen) -> None:
    """Asks a process to end, then ends what is left of it and of the group that it leads."""
    # Not `terminate`: that would wait for a process that has ended already, and give its number away.
    os.kill(process.pid, signal.SIGTERM)
    try:
        wait_until(lambda: exit_status(process) is not None, END_GRACE_SECONDS, "the end of a process")
    except TimeoutError:
        pass
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@dataclass
class Children:
    """All processes of a run. As a context it ends them, in the reverse order of their start."""

    running: list[subprocess.Popen] = field(default_factory=list)

    def __enter__(self) -> "Children":
        return self

    def __exit__(self, *_) -> None:
        while self.running:
            end_group(self.running.pop())

    def start(self, command: list[str], cores, output: Path, environment=None, **options) -> subprocess.Popen:
        """Starts a command on these cores; what it says is appended to `output`."""
        with output.open("ab") as sink:
            given = {"stdin": subprocess.DEVNULL, "stdout": sink, "stderr": sink, **options}
            child = subprocess.Popen(
                command, env=environment, preexec_fn=bound_to(cores), start_new_session=True, **given
            )
        self.running.append(child)
        return child

    def end(self, child: subprocess.Popen) -> None:
        """Ends one of them before the others."""
        self.running.remove(child)
        end_group(child)


def bound_to(cores):
    """What a new child does before its program: stay on `cores`, and be asked to end when this process is no more.

    Asked, not killed: nginx's first process takes its workers along only if it is asked.
    """
    wanted = set(cores)

    def prepare() -> None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        os.sched_setaffinity(0, wanted)

    return prepare


def wait_until(condition, seconds: float, what: str) -> None:
    """Waits for a condition; raises `TimeoutError` that says what did not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s for {what}")
        time.sleep(0.02)


def step_aside(pid: int, cores: frozenset[int]) -> None:
    """Moves a process and all that descend from it to those cores, at the lowest priority."""
    for one in tree(pid):
        for thread in Path(f"/proc/{one}/task").iterdir():
            os.sched_setaffinity(int(thread.name), cores)
            os.setpriority(os.PRIO_PROCESS, int(thread.name), 19)
