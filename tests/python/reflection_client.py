#!/usr/bin/env python3
"""What a generic client does: finds everything by server reflection, and calls what it found.

    reflection_client.py --target localhost:8443 [--ca cert.pem]

Prints the services that are listed as `service NAME`, and `ok NAME` for each check.
"""

import argparse

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

ECHO = "tidegate.test.v1.Echo"


def find(pool, find, name):
    try:
        return getattr(pool, find)(name)
    except KeyError:
        return None


def everything_that_is_listed_links(channel, database, pool):
    for name in database.get_services():
        service = pool.FindServiceByName(name)
        assert service.methods, name
        for method in service.methods:
            message_factory.GetMessageClass(method.input_type)()
            message_factory.GetMessageClass(method.output_type)()
        print(f"service {name}", flush=True)


def a_method_that_was_found_can_be_called(channel, database, pool):
    method = pool.FindMethodByName(f"{ECHO}.Say")
    message = message_factory.GetMessageClass(method.input_type)
    call = channel.unary_unary(
        f"/{ECHO}/Say",
        request_serializer=lambda request: request.SerializeToString(),
        response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
    )
    assert call(message(text="found")).text == "found"


def symbols_lead_to_their_files(channel, database, pool):
    file = "tidegate/test/v1/echo.proto"
    for symbol in (ECHO, f"{ECHO}.Down", "tidegate.test.v1.Msg", "tidegate.test.v1.Msg.text"):
        assert database.FindFileContainingSymbol(symbol).name == file, symbol
    assert database.FindFileByName(file).name == file
    assert find(pool, "FindMessageTypeByName", "tidegate.test.v1.Nothing") is None
    assert find(pool, "FindFileByName", "nothing.proto") is None


def extensions_are_found(channel, database, pool):
    numbers = database.FindAllExtensionNumbers("google.protobuf.MethodOptions")
    assert 72295728 in numbers, numbers
    # The database asks its base class alone, which knows nothing.
    asked = reflection_pb2.ExtensionRequest(containing_type="google.protobuf.MethodOptions", extension_number=72295728)
    request = reflection_pb2.ServerReflectionRequest(file_containing_extension=asked)
    answer = next(reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([request])))
    file = descriptor_pb2.FileDescriptorProto.FromString(answer.file_descriptor_response.file_descriptor_proto[0])
    assert file.name == "google/api/annotations.proto", file.name


def questions_and_answers_of_one_stream(channel, database, pool):
    request = reflection_pb2.ServerReflectionRequest
    questions = [
        request(host="h", file_by_filename="nothing.proto"),
        request(),
        request(file_containing_symbol=ECHO),
        request(file_by_filename="google/api/annotations.proto"),
        request(file_containing_symbol=f"{ECHO}.Say"),
    ]
    answers = list(reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter(questions)))
    assert [answer.original_request for answer in answers] == questions
    assert answers[0].valid_host == "h" and answers[0].error_response.error_code == 5, answers[0]
    assert answers[1].error_response.error_code == 3, answers[1]
    sizes = [len(answer.file_descriptor_response.file_descriptor_proto) for answer in answers[2:]]
    # Each import once; what is asked for by itself, again.
    assert sizes[0] > 1 and sizes[1:] == [1, 1], sizes


CHECKS = [
    everything_that_is_listed_links, a_method_that_was_found_can_be_called, symbols_lead_to_their_files,
    extensions_are_found, questions_and_answers_of_one_stream,
]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--target", required=True)
    parser.add_argument("--ca")
    arguments = parser.parse_args()
    if arguments.ca:
        credentials = grpc.ssl_channel_credentials(open(arguments.ca, "rb").read())
        channel = grpc.secure_channel(arguments.target, credentials)
    else:
        channel = grpc.insecure_channel(arguments.target)
    for check in CHECKS:
        database = ProtoReflectionDescriptorDatabase(channel)
        check(channel, database, descriptor_pool.DescriptorPool(database))
        print(f"ok {check.__name__}", flush=True)


if __name__ == "__main__":
    main()
