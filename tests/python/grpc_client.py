#!/usr/bin/env python3
"""An ordinary grpcio client: every kind of call, errors, metadata, deadlines and cancellation.

    grpc_client.py --target localhost:8443 --descriptor-set test.binpb [--ca cert.pem]

Prints `ok NAME` for each check; the first that fails ends it with a traceback.
"""

import argparse
import queue
import time

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.rpc import error_details_pb2
from grpc_status import rpc_status

ECHO = "tidegate.test.v1.Echo"


class Client:
    def __init__(self, channel, descriptor_set):
        self.channel = channel
        pool = descriptor_pool.Default()
        for file in descriptor_pb2.FileDescriptorSet.FromString(open(descriptor_set, "rb").read()).file:
            try:
                pool.FindFileByName(file.name)
            except KeyError:
                pool.AddSerializedFile(file.SerializeToString())
        self.service = pool.FindServiceByName(ECHO)
        for name in ("Msg", "StreamReq", "FailReq"):
            setattr(self, name, message_factory.GetMessageClass(pool.FindMessageTypeByName(f"tidegate.test.v1.{name}")))

    def __getattr__(self, name):
        method = self.service.methods_by_name[name]
        kind = ("stream" if method.client_streaming else "unary") + (
            "_stream" if method.server_streaming else "_unary"
        )
        return getattr(self.channel, kind)(
            f"/{ECHO}/{name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
        )


def expect(code, call):
    try:
        call()
    except grpc.RpcError as error:
        assert error.code() == code, error
        return error
    raise AssertionError(f"no {code}")


def unary(client):
    assert client.Say(client.Msg(text="é", n=-1, data=b"\0")) == client.Msg(text="é", n=-1, data=b"\0")


def server_stream(client):
    replies = list(client.Down(client.StreamReq(text="t", count=5)))
    assert [reply.n for reply in replies] == [0, 1, 2, 3, 4], replies


def client_stream(client):
    reply = client.Up(iter([client.Msg(text="a", data=b"123"), client.Msg(text="b")]))
    assert (reply.count, reply.bytes, reply.joined) == (2, 3, "a,b"), reply


def bidi_turn_by_turn(client):
    requests = queue.Queue()
    replies = client.Chat(iter(requests.get, None))
    for text in ("one", "two", "three"):
        requests.put(client.Msg(text=text))
        assert next(replies).text == text
    requests.put(None)
    assert list(replies) == []


def large_message(client):
    text = "x" * 3_000_000
    assert client.Say(client.Msg(text=text)).text == text


def many_messages(client):
    assert sum(1 for _ in client.Down(client.StreamReq(count=20_000, size=20))) == 20_000


def error(client):
    failed = expect(grpc.StatusCode.NOT_FOUND, lambda: client.Fail(client.FailReq(code=5, message="näh")))
    assert failed.details() == "näh", failed
    assert ("x-fail", "yes") in failed.trailing_metadata(), failed


def error_details(client):
    failed = expect(grpc.StatusCode.FAILED_PRECONDITION, lambda: client.Fail(client.FailReq(code=9, details=True)))
    status = rpc_status.from_call(failed)
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info) and info.reason == "ASKED", status
    assert len(status.details) == 2, status


def error_after_messages(client):
    replies = client.Down(client.StreamReq(count=9, fail_after=2, fail_code=8, fail_message="enough"))
    got = []
    failed = expect(grpc.StatusCode.RESOURCE_EXHAUSTED, lambda: [got.append(reply) for reply in replies])
    assert (len(got), failed.details()) == (2, "enough"), failed


def metadata(client):
    sent = (("x-echo", "hello"), ("x-some", "value"), ("x-raw-bin", b"\x00\xff"))
    reply, call = client.Meta.with_call(client.Msg(), metadata=sent)
    assert reply.metadata["x-some"] == "value", reply
    assert reply.metadata["x-raw-bin"] == "AP8=", reply
    initial, trailing = dict(call.initial_metadata()), dict(call.trailing_metadata())
    assert (initial["x-echo"], initial["x-bin-bin"]) == ("hello", b"\x00\x01\xff"), initial
    assert (trailing["x-trailer"], trailing["x-trailer-bin"]) == ("bye", b"\xfe\xff"), trailing


def deadline_is_forwarded(client):
    left = int(client.Meta(client.Msg(), timeout=20).deadline_ms)
    assert 10_000 < left < 21_000, left
    assert client.Meta(client.Msg()).deadline_ms in ("", *map(str, range(1, 61_000))), "a default at most"


def deadline_expires(client):
    began = time.monotonic()
    expect(grpc.StatusCode.DEADLINE_EXCEEDED, lambda: client.Slow(client.FailReq(delay_ms=60_000), timeout=0.3))
    assert time.monotonic() - began < 10


def cancellation(client):
    replies = client.Down(client.StreamReq(count=3, delay_ms=60_000))
    replies.initial_metadata()
    replies.cancel()
    assert replies.code() == grpc.StatusCode.CANCELLED, replies


def unknown_method(client):
    call = client.channel.unary_unary(f"/{ECHO}/Nope")
    expect(grpc.StatusCode.UNIMPLEMENTED, lambda: call(b""))


CHECKS = [
    unary, server_stream, client_stream, bidi_turn_by_turn, large_message, many_messages, error, error_details,
    error_after_messages, metadata, deadline_is_forwarded, deadline_expires, cancellation, unknown_method,
]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--target", required=True)
    parser.add_argument("--descriptor-set", required=True)
    parser.add_argument("--ca")
    arguments = parser.parse_args()
    if arguments.ca:
        credentials = grpc.ssl_channel_credentials(open(arguments.ca, "rb").read())
        channel = grpc.secure_channel(arguments.target, credentials)
    else:
        channel = grpc.insecure_channel(arguments.target)
    client = Client(channel, arguments.descriptor_set)
    for check in CHECKS:
        check(client)
        print(f"ok {check.__name__}", flush=True)


if __name__ == "__main__":
    main()
