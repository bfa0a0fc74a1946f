"""What a run stands on: the origin, the certificate, the proxies; each on its core, on free ports."""

import http.client
import os
import ssl
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import peers
from load import Runner
from peers import Peer, Ports, Proxy
from processes import Children, Cores, exit_status, free_ports, wait_until

ORIGIN = Path(__file__).parent / "origin"
START_SECONDS = 20.0
UPLOAD_BYTES = 1_000_000
PATHS = {"/64": 64, "/1k": 1024, "/100k": 102_400}

# All clients offer the same one key exchange and cipher, so that all proxies do the same work.
CLIENT_TLS = """openssl_conf = all
[all]
ssl_conf = ssl
[ssl]
system_default = client
[client]
MinProtocol = TLSv1.3
Groups = X25519
Ciphersuites = TLS_AES_128_GCM_SHA256
"""


@dataclass
class Bed:
    """Starts proxies in front of one origin; `directory` is the run's own."""

    directory: Path
    children: Children
    cores: Cores
    values: dict = field(default_factory=dict)
    # Process ids of what the proxies stand in front of, and of what else serves them.
    origin: list[int] = field(default_factory=list)
    started: int = 0

    def __post_init__(self) -> None:
        names = ("origin_one", "origin_two", "websocket", "log_sink")
        self.values |= dict(zip(names, free_ports(len(names))))
        self._make_certificate()
        self._start_origin()

    def runner(self, pace: Path) -> Runner:
        """What runs load generators here; `pace` is that program."""
        settings, body = self.directory / "client.cnf", self.directory / "upload"
        settings.write_text(CLIENT_TLS)
        body.write_bytes(os.urandom(UPLOAD_BYTES))
        return Runner(self.cores.rest, {**os.environ, "OPENSSL_CONF": str(settings)}, body, pace)

    def start(self, peer: Peer) -> Proxy:
        """Starts a proxy and waits until it answers as it should. Raises with what it said if it doesn't."""
        self.started += 1
        http_port, h2c, https, admin = free_ports(4)
        ports = Ports(http_port, h2c if peer.own_h2c_port else http_port, https, admin)
        directory = self.directory / f"{self.started}-{peer.name}"
        proxy = peers.start(peer, self.values, ports, directory, self.children, self.cores.proxy)
        try:
            wait_until(lambda: self._answers(proxy), START_SECONDS, f"{peer.label} to answer")
            check_answers(proxy, self.values["certificate"])
        except (TimeoutError, OSError, AssertionError, http.client.HTTPException) as error:
            self.end(proxy)
            raise RuntimeError(f"{error}; {tail(directory / 'output.log')}") from error
        return proxy

    def end(self, proxy: Proxy) -> None:
        """Ends a proxy before the run does."""
        self.children.end(proxy.child)

    def _answers(self, proxy: Proxy) -> bool:
        status = exit_status(proxy.child)
        if status is not None:
            raise ChildProcessError(f"{proxy.peer.label} ended with status {status}")
        try:
            return get(proxy.ports.http, "/64")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def _make_certificate(self) -> None:
        certificate, key, bundle = (self.directory / f"{name}.pem" for name in ("certificate", "key", "bundle"))
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
             "-days", "30", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
             "-keyout", str(key), "-out", str(certificate)],
            check=True, capture_output=True,
        )
        bundle.write_text(certificate.read_text() + key.read_text())
        self.values |= {"certificate": certificate, "key": key, "bundle": bundle}

    def _start_origin(self) -> None:
        directory = self.directory / "origin"
        directory.mkdir()
        (directory / "100k").write_text("p" * PATHS["/100k"])
        bodies = {"body_64": "p" * PATHS["/64"], "body_1k": "p" * PATHS["/1k"]}
        settings = peers.fill(ORIGIN / "nginx.conf", {**self.values, **bodies, "directory": directory}, directory)
        output = directory / "output.log"
        commands = (
            ["nginx", "-c", str(settings)],
            [sys.executable, str(ORIGIN / "websocket.py"), str(self.values["websocket"])],
            [sys.executable, str(ORIGIN / "log_sink.py"), str(self.values["log_sink"]), str(directory / "lines.log")],
        )
        for command in commands:
            self.origin.append(self.children.start(command, self.cores.rest, output).pid)
        for name in ("origin_one", "origin_two", "websocket"):
            wait_until(lambda: _is_well(self.values[name]), START_SECONDS, f"the origin to answer; see {output}")


def check_answers(proxy: Proxy, certificate: Path) -> None:
    """Whether every path has its length, another host is refused, and metrics are there; TLS the same."""
    for path, length in PATHS.items():
        status, body = get(proxy.ports.http, path)
        assert (status, len(body)) == (200, length), f"{path} gave {status} with {len(body)} bytes"
        if "tls" not in proxy.peer.lacks:
            status, body = get(proxy.ports.https, path, ssl.create_default_context(cafile=str(certificate)))
            assert (status, len(body)) == (200, length), f"{path} by TLS gave {status} with {len(body)} bytes"
    assert get(proxy.ports.http, "/64", host="other.test")[1] != b"p" * PATHS["/64"], "any host is served"
    assert get(proxy.ports.admin, proxy.peer.metrics, host=None)[0] == 200, "no metrics"


def get(port: int, path: str, tls: ssl.SSLContext | None = None, host: str | None = "localhost"):
    """Status and body of one request."""
    kind = http.client.HTTPSConnection if tls else http.client.HTTPConnection
    connection = kind("localhost", port, timeout=5, **({"context": tls} if tls else {}))
    try:
        connection.request("GET", path, headers={"Host": host} if host else {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def tail(log: Path) -> str:
    """The end of what a program said."""
    return log.read_text(errors="replace").strip()[-400:] if log.exists() else "it said nothing"


def _is_well(port: int) -> bool:
    try:
        return get(port, "/health")[0] == 200
    except (OSError, http.client.HTTPException):
        return False
