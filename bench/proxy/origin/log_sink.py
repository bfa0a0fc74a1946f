"""Takes lines over TCP and appends them to a file: where HAProxy's buffered log goes.

    log_sink.py PORT FILE

The file starts anew when it has grown large.
"""

import socketserver
import sys

LARGE = 64_000_000
CHUNK = 262_144


class Lines(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        with open(sys.argv[2], "ab") as file:
            while chunk := self.request.recv(CHUNK):
                file.write(chunk)
                if file.tell() > LARGE:
                    file.truncate(0)


with socketserver.ThreadingTCPServer(("127.0.0.1", int(sys.argv[1])), Lines) as server:
    server.serve_forever()
