#!/usr/bin/env python3
"""Compiles proto files into a descriptor set by protoc, with their imports.

    descriptor_set.py OUT                    all of googleapis-common-protos
    descriptor_set.py OUT INCLUDE FILE...    FILEs below INCLUDE

Prints the folder of the files, and then each file on a line.
"""

import sys
from pathlib import Path

import grpc_tools
from google.api import annotations_pb2
from grpc_tools import protoc

COMMON = Path(annotations_pb2.__file__).parents[2]
WELL_KNOWN = Path(grpc_tools.__file__).parent / "_proto"


def main():
    out, *rest = sys.argv[1:]
    folder = Path(rest[0]) if rest else COMMON
    found = (path.relative_to(folder).as_posix() for path in (folder / "google").rglob("*.proto"))
    files = rest[1:] or sorted(name for name in found if not name.startswith("google/protobuf/"))
    includes = [f"-I{path}" for path in dict.fromkeys([folder, COMMON, WELL_KNOWN])]
    if protoc.main(["protoc", *includes, "--include_imports", f"--descriptor_set_out={out}", *files]) != 0:
        sys.exit(1)
    print(folder, *files, sep="\n")


if __name__ == "__main__":
    main()
