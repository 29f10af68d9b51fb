#!/usr/bin/env python3
"""Ordinary clients in Python, grpcio and connectrpc with each of its protocols, that make the calls they are told.

    clients.py HTTPS_PORT HTTP_PORT CA DESCRIPTOR_SET

Each line of standard input is a call, and what became of it is printed on a line: `client` names who makes it, `method`
is one of `Echo`, `requests` its messages in JSON. With `cancelAfter`, the call is cancelled after so many replies, and
after one more line, which allows it.
"""

import asyncio
import base64
import contextlib
import functools
import json
import sys

import grpc
import pyqwest
from connectrpc.client import ConnectClient, ResponseMetadata
from connectrpc.code import Code
from connectrpc.compat import google_protobuf_binary_codec, google_protobuf_json_codec
from connectrpc.errors import ConnectError
from connectrpc.method import IdempotencyLevel, MethodInfo, StreamType
from connectrpc.protocol import ProtocolType
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

SERVICE = "tidegate.test.v1.Echo"
CODES = {code.value: grpc.StatusCode[code.name.replace("CANCELED", "CANCELLED")].value[0] for code in Code}


class Method:
    def __init__(self, service, name):
        descriptor = service.methods_by_name[name]
        self.name = name
        self.input = message_factory.GetMessageClass(descriptor.input_type)
        self.output = message_factory.GetMessageClass(descriptor.output_type)
        self.one_request = not descriptor.client_streaming
        self.one_reply = not descriptor.server_streaming


class Call:
    """A call that is being made, and what it has said so far."""

    def __init__(self, told, method, allowed):
        self.told, self.method, self.allowed = told, method, allowed
        self.messages, self.headers, self.trailers = [], {}, {}
        self.more = asyncio.Condition()

    async def message(self, message):
        async with self.more:
            self.messages.append(json_format.MessageToDict(message))
            self.more.notify_all()

    async def replies(self, count):
        async with self.more:
            await self.more.wait_for(lambda: len(self.messages) >= count)

    def request(self, index=0):
        return json_format.ParseDict(self.told["requests"][index], self.method.input())

    async def requests(self):
        """Each after the reply to the one before, where replies come at all."""
        for index in range(len(self.told["requests"])):
            if self.told["turns"]:
                await self.replies(index)
            yield self.request(index)

    @contextlib.asynccontextmanager
    async def cancelled_by(self, cancel):
        """Cancels when that is to be done."""

        async def wait():
            if "cancelAfter" in self.told:
                await self.replies(self.told["cancelAfter"])
                await self.allowed()
                cancel()

        waiting = asyncio.ensure_future(wait())
        try:
            yield
        finally:
            waiting.cancel()
            await asyncio.wait([waiting])

    def said(self, code, message="", **rest):
        said = {"messages": self.messages, "headers": self.headers, "trailers": self.trailers}
        return said | {"code": code, "message": message} | rest


def plain(metadata):
    return {name: base64.b64encode(value).decode() if isinstance(value, bytes) else value for name, value in metadata}


async def grpcio(channel, call):
    """Makes a call by grpcio."""
    method, told = call.method, call.told
    kind = ("unary" if method.one_request else "stream") + ("_unary" if method.one_reply else "_stream")
    start = getattr(channel, kind)(
        f"/{SERVICE}/{method.name}",
        request_serializer=method.input.SerializeToString,
        response_deserializer=method.output.FromString,
    )
    metadata = [(name, base64.b64decode(value) if name.endswith("-bin") else value)
                for name, value in told["headers"].items()]
    timeout = told["timeoutMs"] / 1000 if "timeoutMs" in told else None
    rpc = start(call.request() if method.one_request else call.requests(), metadata=metadata, timeout=timeout)

    async with call.cancelled_by(rpc.cancel):
        try:
            if method.one_reply:
                await call.message(await rpc)
            else:
                async for reply in rpc:
                    await call.message(reply)
        except (grpc.RpcError, asyncio.CancelledError):
            pass  # its status says the same
        code = await rpc.code()
    call.headers, call.trailers = plain(await rpc.initial_metadata()), plain(await rpc.trailing_metadata())
    return call.said(code.value[0], await rpc.details() or "")


async def connectrpc(client, get, call):
    """Makes a call by connectrpc."""
    method, told = call.method, call.told
    level = IdempotencyLevel.NO_SIDE_EFFECTS if method.name == "Say" else IdempotencyLevel.UNKNOWN
    kind = {(True, True): "UNARY", (True, False): "SERVER_STREAM", (False, True): "CLIENT_STREAM"}
    info = MethodInfo(
        name=method.name,
        service_name=SERVICE,
        input=method.input,
        output=method.output,
        idempotency_level=level,
        stream_type=StreamType[kind.get((method.one_request, method.one_reply), "BIDI_STREAM")],
    )
    options = {"method": info, "headers": told["headers"], "timeout_ms": told.get("timeoutMs")}

    async def replies():
        if method.one_request and method.one_reply:
            yield await client.execute_unary(request=call.request(), use_get=get, **options)
        elif method.one_reply:
            yield await client.execute_client_stream(request=call.requests(), **options)
        else:
            execute = client.execute_server_stream if method.one_request else client.execute_bidi_stream
            stream = execute(request=call.request() if method.one_request else call.requests(), **options)
            async for reply in stream:
                yield reply

    async def make():
        with ResponseMetadata() as metadata:
            try:
                async for reply in replies():
                    await call.message(reply)
                said = call.said(0)
            except ConnectError as error:
                details = [detail.type_name for detail in error.details]
                said = call.said(CODES[error.code.value], error.message, details=details)
            said["headers"], said["trailers"] = dict(metadata.headers), dict(metadata.trailers)
            return said

    task = asyncio.ensure_future(make())
    async with call.cancelled_by(task.cancel):
        return await task


class Clients:
    def __init__(self, https_port, http_port, ca, descriptor_set):
        self.https_port, self.http_port, self.ca = https_port, http_port, open(ca, "rb").read()
        pool = descriptor_pool.DescriptorPool()
        for file in descriptor_pb2.FileDescriptorSet.FromString(open(descriptor_set, "rb").read()).file:
            pool.Add(file)
        self.service = pool.FindServiceByName(SERVICE)

    @functools.cache
    def by_name(self, name):
        """A function that makes calls, by a name as `grpcio tls` or `connectrpc grpc-web 1.1 json`."""
        library, protocol, *rest = name.split()
        if library == "grpcio":
            gzip = grpc.Compression.Gzip if "gzip" in rest else None
            if protocol == "h2c":
                return functools.partial(grpcio, grpc.aio.insecure_channel(f"localhost:{self.http_port}"))
            credentials = grpc.ssl_channel_credentials(self.ca)
            channel = grpc.aio.secure_channel(f"localhost:{self.https_port}", credentials, compression=gzip)
            return functools.partial(grpcio, channel)
        http_version = {"1.1": pyqwest.HTTPVersion.HTTP1, "2": pyqwest.HTTPVersion.HTTP2}[rest[0]]
        options = {} if "gzip" in rest else {"send_compression": None, "accept_compression": ()}
        client = ConnectClient(
            f"https://localhost:{self.https_port}",
            codec=google_protobuf_json_codec() if "json" in rest else google_protobuf_binary_codec(),
            protocol=ProtocolType[protocol.upper().replace("-", "_")],
            http_client=pyqwest.Client(pyqwest.HTTPTransport(tls_ca_cert=self.ca, http_version=http_version)),
            **options,
        )
        return functools.partial(connectrpc, client, "get" in rest)


async def main():
    clients = Clients(*sys.argv[1:])
    lines = asyncio.StreamReader(limit=1 << 24)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        if not line.strip():
            continue  # what would have been cancelled is over
        told = json.loads(line)
        call = Call(told, Method(clients.service, told["method"]), lines.readline)
        said = await clients.by_name(told["client"])(call)
        print(json.dumps({"id": told["id"]} | said, separators=(",", ":")), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
