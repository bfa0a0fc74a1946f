"""What is measured: each measure by its name, what loads it, and what it needs of a proxy."""

from dataclasses import dataclass

from load import H2load, Tls, Wrk


@dataclass(frozen=True)
class Sustained:
    """CPU for each request at as many requests as go through."""

    name: str
    group: str
    title: str
    load: Wrk | H2load | Tls
    unit: str = "request"


@dataclass(frozen=True)
class Paced:
    """How long answers take at a fixed rate: a share of the peak of the slowest proxy."""

    name: str
    group: str
    title: str
    share: float


@dataclass(frozen=True)
class Start:
    """Resident memory of a proxy that was just started and has answered once."""

    name: str
    group: str
    title: str


@dataclass(frozen=True)
class Held:
    """Resident memory for each of many idle connections; fewer, if the limit of open files allows no more."""

    name: str
    group: str
    title: str
    kind: str
    count: int


Measure = Sustained | Paced | Start | Held

# What the peak of each proxy is taken with, and what paces its requests below that.
PEAK = Wrk("/1k", 64)
PACED_CONNECTIONS = 256

MEASURES: tuple[Measure, ...] = (
    Sustained("h1-64", "h1", "HTTP/1.1, 64 B", Wrk("/64", 64)),
    Sustained("h1-1k", "h1", "HTTP/1.1, 1 KB", Wrk("/1k", 64)),
    Sustained("h1-100k", "h1", "HTTP/1.1, 100 KB", Wrk("/100k", 64)),
    Sustained("h1-close", "h1", "HTTP/1.1, 1 KB, a connection for each request", Wrk("/1k", 64, close=True)),
    Sustained("tls-1k", "tls", "TLS 1.3, HTTP/1.1, 1 KB", Tls("/1k", 64)),
    Sustained("handshake", "tls", "Full TLS 1.3 handshake and one request", Tls("/64", 16, afresh=True),
              unit="handshake"),
    Sustained("h2c-1", "h2", "HTTP/2 without TLS, 1 stream", H2load("/1k", 64, 1)),
    Sustained("h2c-10", "h2", "HTTP/2 without TLS, 10 streams", H2load("/1k", 16, 10)),
    Sustained("h2-1", "h2", "HTTP/2 over TLS, 1 stream", H2load("/1k", 64, 1, tls=True)),
    Sustained("h2-10", "h2", "HTTP/2 over TLS, 10 streams", H2load("/1k", 16, 10, tls=True)),
    Sustained("upload", "upload", "HTTP/1.1, POST of 1 MB", H2load("/upload", 8, version="h1", body=True)),
    Start("start", "memory", "Resident, having answered once"),
    Held("idle", "memory", "Idle keep-alive connection", "keepalive", 10_000),
    Held("websockets", "memory", "Idle WebSocket", "websocket", 5_000),
    Paced("latency-30", "latency", "30 % of the slowest proxy's peak", 0.3),
    Paced("latency-70", "latency", "70 % of the slowest proxy's peak", 0.7),
)


def chosen(names: list[str]) -> list[Measure]:
    """The measures of these names or groups, in the order of the list; all without a name."""
    known = {each.name for each in MEASURES} | {each.group for each in MEASURES}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SystemExit(f"no measure is called {', '.join(unknown)}; there are: {', '.join(sorted(known))}")
    return [each for each in MEASURES if not names or each.name in names or each.group in names]


def needs_tls(measure: Measure) -> bool:
    return isinstance(measure, Sustained) and getattr(measure.load, "tls", False)


def needs_http2(measure: Measure) -> bool:
    return isinstance(measure, Sustained) and isinstance(measure.load, H2load) and measure.load.version == "h2"
