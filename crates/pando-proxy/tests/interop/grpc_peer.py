"""Two gRPC servers and a client by gRPC's own library, told step by step on stdin what to do.

Prints the servers' ports first. A line `STEP ARGUMENT…` is answered with `ok …`, or with `failed …` and why.
"""

import queue
import sys
import threading
import time
from concurrent import futures

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

NAME = "t.T"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
UNBOUNDED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


def same(message: bytes) -> bytes:
    return message


def one_for_one(request: bytes, context) -> bytes:
    context.set_trailing_metadata((("x-trail", "yes"), ("x-bytes-bin", b"\x00\x01")))
    if request == b"fail":
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "100 % wrong ü")
    if request == b"slow":
        time.sleep(5)
    return b"re:" + request


def many_for_one(_, __):
    yield from (b"%d" % n for n in range(1000))


def one_for_many(requests, _) -> bytes:
    return b"%d" % sum(len(each) for each in requests)


def many_for_many(requests, _):
    yield from (b"re:" + each for each in requests)


class Server:
    def __init__(self):
        self.server = grpc.server(futures.ThreadPoolExecutor(20), options=UNBOUNDED)
        kinds = {
            "One": grpc.unary_unary_rpc_method_handler(one_for_one, same, same),
            "Down": grpc.unary_stream_rpc_method_handler(many_for_one, same, same),
            "Up": grpc.stream_unary_rpc_method_handler(one_for_many, same, same),
            "Both": grpc.stream_stream_rpc_method_handler(many_for_many, same, same),
        }
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(NAME, kinds),))
        self.health = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self.server)
        self.health.set(NAME, SERVING)
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()


class Peer:
    def __init__(self):
        self.servers = [Server(), Server()]
        self.channel = None
        self.load = None

    def connect(self, address: str):
        self.channel = grpc.insecure_channel(address, UNBOUNDED)

    def call(self, kind: str, method: str):
        make = getattr(self.channel, kind)
        return make(f"/{NAME}/{method}", request_serializer=same, response_deserializer=same)

    def one(self):
        return self.call("unary_unary", "One")

    def unary(self):
        answer, call = self.one().with_call(b"hi", timeout=10)
        trailers = dict(call.trailing_metadata())
        assert (answer, trailers["x-trail"], trailers["x-bytes-bin"]) == (b"re:hi", "yes", b"\x00\x01"), trailers

    def large(self):
        message = b"x" * 9_000_000
        assert self.one()(message, timeout=30) == b"re:" + message

    def status(self):
        for method, request, code in (("One", b"fail", "FAILED_PRECONDITION"), ("None", b"", "UNIMPLEMENTED")):
            try:
                self.call("unary_unary", method)(request, timeout=10)
            except grpc.RpcError as error:
                assert error.code().name == code, error
                assert method == "None" or error.details() == "100 % wrong ü", error.details()
            else:
                raise AssertionError(f"{method} did not fail")

    def deadline(self):
        try:
            self.one()(b"slow", timeout=0.5)
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED, error
        else:
            raise AssertionError("it did not take too long")

    def streams(self):
        assert len(list(self.call("unary_stream", "Down")(b"", timeout=30))) == 1000
        assert self.call("stream_unary", "Up")(iter([b"abc"] * 1000), timeout=30) == b"3000"
        assert len(list(self.call("stream_stream", "Both")(iter([b"m"] * 1000), timeout=30))) == 1000

    def lockstep(self):
        """An answer to each message before the next is sent."""
        messages = queue.Queue()
        answers = self.call("stream_stream", "Both")(iter(messages.get, None), timeout=60)
        for n in range(2000):
            messages.put(b"%d" % n)
            assert next(answers) == b"re:%d" % n
        messages.put(None)
        assert not list(answers)

    def calls(self, count: str):
        """So many calls by eight threads at once, as fast as they go."""
        self._together(int(count) // 8)

    def health(self, server: str, serving: str):
        self.servers[int(server)].health.set(NAME, SERVING if serving == "yes" else NOT_SERVING)

    def begin(self):
        self.over, self.done = threading.Event(), 0
        self.load = futures.ThreadPoolExecutor(8)
        self.loads = [self.load.submit(self._until_over) for _ in range(8)]

    def end(self) -> str:
        self.over.set()
        return str(sum(each.result() for each in self.loads))

    def stop(self, server: str):
        """As a server is stopped that is asked to: calls under way end."""
        assert self.servers[int(server)].server.stop(10).wait(15)

    def _together(self, each: int):
        def some():
            call = self.one()
            for _ in range(each):
                assert call(b"q", timeout=10) == b"re:q"

        with futures.ThreadPoolExecutor(8) as threads:
            for done in [threads.submit(some) for _ in range(8)]:
                done.result()

    def _until_over(self) -> int:
        call, count = self.one(), 0
        while not self.over.is_set():
            assert call(b"q", timeout=10) == b"re:q"
            count += 1
        return count


def main():
    peer = Peer()
    print(*(server.port for server in peer.servers), flush=True)
    for line in sys.stdin:
        step, *words = line.split()
        try:
            print("ok", getattr(peer, step)(*words) or "", flush=True)
        except Exception as error:
            print("failed", step, " ".join(repr(error).split()), flush=True)


main()
