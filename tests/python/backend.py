#!/usr/bin/env python3
"""A gRPC server by grpcio that knows nothing of gateways: `tidegate.test.v1` with health and reflection.

    backend.py --descriptor-set test.binpb [--descriptor-set more.binpb] [--port 0] [--service NAME]

No generated code: messages come from the descriptor sets. `Echo` behaves as its proto file says; every other service
answers by the shape of a method's output: `Seen` tells what arrived, a method that returns its input echoes it.
Prints `port N` on standard output once it serves, and one line per cancelled call.
"""

import argparse
import base64
import json
import sys
import threading
from concurrent import futures

import grpc
from google.api import annotations_pb2, httpbody_pb2  # noqa: F401 (fills the pool)
from google.protobuf import (  # noqa: F401 (fills the pool)
    any_pb2, descriptor_pb2, descriptor_pool, duration_pb2, empty_pb2, field_mask_pb2, json_format, message_factory,
    struct_pb2, timestamp_pb2, wrappers_pb2,
)
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

PACKAGE = "tidegate.test.v1"
CODES = {code.value[0]: code for code in grpc.StatusCode}


def load(paths):
    """Adds the sets' files to the default pool; returns the names of all of them."""
    pool = descriptor_pool.Default()
    sets = [descriptor_pb2.FileDescriptorSet.FromString(open(path, "rb").read()) for path in paths]
    files = [file for found in sets for file in found.file]
    for file in files:
        try:
            pool.FindFileByName(file.name)
        except KeyError:
            pool.AddSerializedFile(file.SerializeToString())
    return pool, list(dict.fromkeys(file.name for file in files))


def metadata(context):
    found = {}
    for name, value in context.invocation_metadata():
        text = base64.b64encode(value).decode() if isinstance(value, bytes) else value
        found[name] = f"{found[name]}, {text}" if name in found else text
    return found


def deadline_ms(context):
    remaining = context.time_remaining()
    # Without a deadline grpcio tells a very long one.
    return "" if remaining is None or remaining > 1e9 else str(int(remaining * 1000))


class Services:
    def __init__(self, pool):
        self.pool = pool
        self.msg, self.sum, self.seen_type = (self.type(name) for name in ("Msg", "Sum", "Seen"))

    def type(self, name):
        return message_factory.GetMessageClass(self.pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))

    def seen(self, method, requests, context, streams):
        texts = [json.loads(json_format.MessageToJson(request)) for request in requests]
        seen = self.seen_type(
            method=method,
            request_json=json.dumps(texts if streams else texts[0], sort_keys=True),
            requests=len(requests),
            deadline_ms=deadline_ms(context),
        )
        seen.metadata.update(metadata(context))
        return seen

    # ---- any service, by the shape of its methods

    def reply(self, method, requests, context):
        if method.output_type.full_name == f"{PACKAGE}.Seen":
            return self.seen(method.full_name, requests, context, method.client_streaming)
        if method.output_type is method.input_type:
            return requests[-1]
        return message_factory.GetMessageClass(method.output_type)()

    def by_shape(self, method):
        if method.client_streaming and method.server_streaming:
            return lambda requests, context: (self.reply(method, [request], context) for request in requests)
        if method.client_streaming:
            return lambda requests, context: self.reply(method, list(requests), context)
        if method.server_streaming:
            return lambda request, context: (self.reply(method, [request], context) for _ in range(3))
        return lambda request, context: self.reply(method, [request], context)

    # ---- Echo

    def greet(self, context):
        seen = metadata(context)
        context.send_initial_metadata(
            (("x-backend", "python"), ("x-echo", seen.get("x-echo", "")), ("x-bin-bin", b"\x00\x01\xff"))
        )
        context.set_trailing_metadata((("x-trailer", "bye"), ("x-trailer-bin", b"\xfe\xff")))

    def fail(self, context, code, text, details=False):
        trailers = [("x-fail", "yes")]
        if details:
            status = status_pb2.Status(code=code, message=text)
            status.details.add().Pack(
                error_details_pb2.ErrorInfo(reason="ASKED", domain="tidegate.test", metadata={"k": "v"})
            )
            violation = error_details_pb2.BadRequest.FieldViolation(field="code", description="not zero")
            status.details.add().Pack(error_details_pb2.BadRequest(field_violations=[violation]))
            trailers.append(("grpc-status-details-bin", status.SerializeToString()))
        context.set_trailing_metadata(tuple(trailers))
        context.abort(CODES.get(code, grpc.StatusCode.UNKNOWN), text)

    @staticmethod
    def wait(context, delay_ms, what):
        """False where the call was cancelled meanwhile."""
        gone = threading.Event()
        if not context.add_callback(gone.set) or gone.wait(delay_ms / 1000):
            print(f"cancelled {what}", flush=True)
            return False
        return True

    def Say(self, request, context):
        self.greet(context)
        return request

    Bare = Say

    def All(self, request, context):
        return request

    def Down(self, request, context):
        self.greet(context)
        for index in range(request.count or 3):
            if request.delay_ms and not self.wait(context, request.delay_ms, "Down"):
                return
            if request.fail_after and index >= request.fail_after:
                self.fail(context, request.fail_code, request.fail_message or "asked to fail")
            yield self.msg(text=request.text, n=index, data=b"x" * request.size)

    def Up(self, requests, context):
        self.greet(context)
        texts, size = [], 0
        for request in requests:
            texts.append(request.text)
            size += len(request.data)
        return self.sum(count=len(texts), bytes=size, joined=",".join(texts[:100]))

    def Chat(self, requests, context):
        self.greet(context)
        for request in requests:
            if request.text == "fail":
                self.fail(context, 9, "asked to fail", details=True)
            for _ in range(max(1, request.n)):
                yield request

    def Fail(self, request, context):
        if request.delay_ms and not self.wait(context, request.delay_ms, "Fail"):
            return self.msg()
        if request.code == 0:
            return self.msg(text="ok")
        return self.fail(context, request.code, request.message or "asked to fail", request.details)

    def Slow(self, request, context):
        told = deadline_ms(context)
        self.wait(context, request.delay_ms, "Slow")
        return self.seen_type(method="Slow", deadline_ms=told)

    def Meta(self, request, context):
        self.greet(context)
        return self.seen("Meta", [request], context, False)

    def Download(self, request, context):
        data = (request.text or "hello").encode() + b"x" * request.size
        return httpbody_pb2.HttpBody(content_type="text/plain; charset=utf-8", data=data)

    def DownloadStream(self, request, context):
        for index in range(request.count or 3):
            if request.delay_ms and not self.wait(context, request.delay_ms, "DownloadStream"):
                return
            data = f"chunk{index}\n".encode() + b"x" * request.size
            yield httpbody_pb2.HttpBody(content_type="text/plain", data=data)

    def Upload(self, request, context):
        return self.sum(count=1, bytes=len(request.data), joined=request.content_type)

    def UploadStream(self, requests, context):
        chunks = list(requests)
        kind = next((chunk.content_type for chunk in chunks if chunk.content_type), "")
        return self.sum(count=len(chunks), bytes=sum(len(chunk.data) for chunk in chunks), joined=kind)

    def Mirror(self, requests, context):
        yield from requests

    # ---- registration

    def handler(self, method):
        kinds = {
            (False, False): grpc.unary_unary_rpc_method_handler,
            (False, True): grpc.unary_stream_rpc_method_handler,
            (True, False): grpc.stream_unary_rpc_method_handler,
            (True, True): grpc.stream_stream_rpc_method_handler,
        }
        is_echo = method.containing_service.full_name == f"{PACKAGE}.Echo"
        behaviour = getattr(self, method.name) if is_echo else self.by_shape(method)
        return kinds[bool(method.client_streaming), bool(method.server_streaming)](
            behaviour,
            request_deserializer=message_factory.GetMessageClass(method.input_type).FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--descriptor-set", action="append", required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--service", help="serve this one alone")
    parser.add_argument("--compression", action="store_true", help="compress replies, for who reads gzip")
    arguments = parser.parse_args()

    pool, files = load(arguments.descriptor_set)
    services = Services(pool)
    server = grpc.server(
        futures.ThreadPoolExecutor(32),
        options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", 64 << 20)],
        compression=grpc.Compression.Gzip if arguments.compression else None,
    )
    names = []
    for file in files:
        for service in pool.FindFileByName(file).services_by_name.values():
            if arguments.service not in (None, service.full_name):
                continue
            handlers = {method.name: services.handler(method) for method in service.methods}
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, handlers),))
            names.append(service.full_name)
    checks = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    for name in ["", *names]:
        checks.set(name, health_pb2.HealthCheckResponse.SERVING)
    reflection.enable_server_reflection([*names, health.SERVICE_NAME, reflection.SERVICE_NAME], server, pool)
    port = server.add_insecure_port(f"127.0.0.1:{arguments.port}")
    server.start()
    print(f"port {port}", flush=True)
    # `health NAME STATUS`, as in `health tidegate.test.v1.Echo NOT_SERVING`; the name is `-` for the server as a whole.
    for line in sys.stdin:
        _, name, status = line.split()
        checks.set("" if name == "-" else name, health_pb2.HealthCheckResponse.ServingStatus.Value(status))
    server.wait_for_termination()


if __name__ == "__main__":
    main()
