"""Holds idle connections open: keep-alive ones that had one answer, or WebSockets that had one echo.

    holder.py keepalive|websocket PORT COUNT

Prints `open N` when all are, holds them until its input ends, then prints `alive N`: how many were still open.
Runs as a process of its own, for the number of files that a process may open, and ends by itself after two minutes.
"""

import select
import signal
import socket
import sys

# So that no limit for each address is met: clients come from as many, as they would.
ADDRESSES = 100
TIMEOUT_SECONDS = 10.0
LIFE_SECONDS = 120


def connect(port: int, number: int) -> socket.socket:
    one = socket.socket()
    one.settimeout(TIMEOUT_SECONDS)
    one.bind((f"127.0.1.{1 + number % ADDRESSES}", 0))
    one.connect(("127.0.0.1", port))
    return one


def read(one: socket.socket, enough) -> bytes:
    got = b""
    while not enough(got):
        more = one.recv(65536)
        if not more:
            raise ConnectionError(f"closed after {got[:200]!r}")
        got += more
    return got


def keepalive(port: int, number: int) -> socket.socket:
    one = connect(port, number)
    one.sendall(b"GET /64 HTTP/1.1\r\nHost: localhost\r\nUser-Agent: holder\r\nAccept: */*\r\n\r\n")
    got = read(one, lambda got: b"\r\n\r\n" in got and len(got.split(b"\r\n\r\n", 1)[1]) >= 64)
    if not got.startswith(b"HTTP/1.1 200"):
        raise ConnectionError(f"answered {got[:200]!r}")
    return one


def websocket(port: int, number: int) -> socket.socket:
    one = connect(port, number)
    one.sendall(
        b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    got = read(one, lambda got: b"\r\n\r\n" in got)
    if not got.startswith(b"HTTP/1.1 101"):
        raise ConnectionError(f"answered {got[:200]!r}")
    # A text frame "well", masked with zeros, and the same unmasked back.
    one.sendall(b"\x81\x84\0\0\0\0well")
    read(one, lambda got: got == b"\x81\x04well")
    return one


def still_open(connections: list[socket.socket]) -> int:
    poll = select.poll()
    for one in connections:
        poll.register(one, select.POLLIN | select.POLLHUP)
    # Whatever can be read now is the end: nobody has anything to say.
    return len(connections) - len(poll.poll(0))


def main() -> None:
    signal.alarm(LIFE_SECONDS)
    opening = {"keepalive": keepalive, "websocket": websocket}[sys.argv[1]]
    connections = []
    try:
        for number in range(int(sys.argv[3])):
            connections.append(opening(int(sys.argv[2]), number))
    except OSError as error:
        print(f"stopped after {len(connections)}: {error}", flush=True)
        return
    print(f"open {len(connections)}", flush=True)
    sys.stdin.read()
    print(f"alive {still_open(connections)}", flush=True)


main()
