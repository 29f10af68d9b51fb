#!/usr/bin/env python3
"""An ordinary client of grpc.health.v1.Health: asks once, then watches to the end.

    health_client.py --target localhost:8443 [--service NAME]

Prints `check STATUS`, then `watch STATUS` for each that is told, and `end CODE`.
"""

import argparse

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--target", required=True)
    parser.add_argument("--service", default="")
    arguments = parser.parse_args()
    stub = health_pb2_grpc.HealthStub(grpc.insecure_channel(arguments.target))
    request = health_pb2.HealthCheckRequest(service=arguments.service)
    name = health_pb2.HealthCheckResponse.ServingStatus.Name
    print(f"check {name(stub.Check(request, timeout=10).status)}", flush=True)
    statuses = stub.Watch(request)
    try:
        for told in statuses:
            print(f"watch {name(told.status)}", flush=True)
        code = grpc.StatusCode.OK
    except grpc.RpcError as error:
        code = error.code()
    print(f"end {code.name}", flush=True)


if __name__ == "__main__":
    main()
