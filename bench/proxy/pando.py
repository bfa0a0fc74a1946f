"""How Pando's own program is started, and what it can't do yet, as it says itself.

This is the one place to change when `pando proxy` gains options: `peers/pando.json` is its table without TLS, and here
are its arguments and what TLS adds to the table. What `lacks` names is reported as "not yet" instead of measured.
"""

import functools
import json
import subprocess
from pathlib import Path

# The option that names an address for TLS.
TLS_OPTION = "--listen-tls"

# Whom requests are for.
HOST = "localhost"
WORKERS_OPTION = "--workers"


def arguments(binary: Path) -> tuple[str, ...]:
    """The words after the program's name, as a template."""
    plain = ("proxy", "--table", "@{directory}/pando.json", "--listen", "127.0.0.1:@{http}",
             "--access-log", "@{directory}/access.log", "--metrics", "127.0.0.1:@{admin}")
    workers = (WORKERS_OPTION, "1") if WORKERS_OPTION in help_text(binary) else ()
    tls = () if lacks(binary) else (TLS_OPTION, "127.0.0.1:@{https}")
    return (*plain, *workers, *tls)


def lacks(binary: Path) -> frozenset[str]:
    """Abilities that the program's help doesn't offer. (HTTP/2 without TLS shows when it is tried.)"""
    return frozenset() if TLS_OPTION in help_text(binary) else frozenset({"tls"})


def with_certificates(binary: Path, table: Path, values: dict) -> None:
    """Adds to a written table what TLS needs; nothing as long as the program has none."""
    if lacks(binary):
        return
    read = json.loads(table.read_text())
    chain, key = (Path(values[name]).read_text() for name in ("certificate", "key"))
    read["secret"] = {"certificates": [{"hosts": [HOST], "chain_pem": chain, "key_pem": key}]}
    # What comes without TLS is measured as well.
    read["hosts"] = {HOST: {"https": {"redirect": False}}}
    table.write_text(json.dumps(read, indent=2))


@functools.cache
def help_text(binary: Path) -> str:
    """What `pando proxy --help` prints; nothing if the program is not there."""
    try:
        return subprocess.run([binary, "proxy", "--help"], capture_output=True, text=True, timeout=30).stdout
    except OSError:
        return ""
