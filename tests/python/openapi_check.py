"""Judges OpenAPI documents by validators that others wrote, and by the messages that were really sent.

    openapi_check.py DOCUMENT [MESSAGES]

Each line of MESSAGES is one body in JSON: {"operation": its operationId, "status": a number (none: it is a request),
"type": its media type, "body": its text}. Prints what is wrong, and ends with 1 where anything is.
"""

import copy
import json
import re
import sys

from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import OpenAPIV31SpecValidator

METHODS = ["get", "put", "post", "delete", "options", "head", "patch", "trace"]
RECORD_SEPARATOR = "\x1e"


def operations(item):
    """Every operation of a path item, those in its extensions too."""
    for method in METHODS:
        if method in item:
            yield item[method]
    yield from item.get("x-oai-additionalOperations", {}).values()
    for others in item.get("x-tidegate-overlapping", {}).values():
        yield from others


def unfolded(document):
    """The document with an ordinary place for each operation that OpenAPI 3.1 has none for, and without the query
    parameters that stand in an operation before: the validator takes its time for each."""
    document = copy.deepcopy(document)
    seen = set()
    for operation in (operation for item in document["paths"].values() for operation in operations(item)):
        kept = []
        for parameter in operation.get("parameters", []):
            text = json.dumps(parameter)
            if parameter["in"] != "query" or text not in seen:
                kept.append(parameter)
            seen.add(text)
        operation["parameters"] = kept
    for path, item in list(document["paths"].items()):
        extra = list(item.pop("x-oai-additionalOperations", {}).values())
        for others in item.pop("x-tidegate-overlapping", {}).values():
            extra.extend(others)
        for number, operation in enumerate(extra):
            document["paths"][f"/extra{number}{path}"] = {"post": operation}
    return document


def faults_of_document(document):
    for error in OpenAPIV31SpecValidator(unfolded(document)).iter_errors():
        yield f"{'/'.join(map(str, getattr(error, 'absolute_path', [])))}: {getattr(error, 'message', error)}"
    for name, schema in document["components"]["schemas"].items():
        for error in Draft202012Validator(Draft202012Validator.META_SCHEMA).iter_errors(schema):
            yield f"schema {name}: {error.message}"
    ids, shapes = set(), {}
    for path, item in document["paths"].items():
        shape = re.sub(r"\{[^}]*\}", "{}", path)
        if shape in shapes:
            yield f"{path} cannot be told from {shapes[shape]}"
        shapes[shape] = path
        for operation in operations(item):
            own = operation["operationId"]
            if own in ids:
                yield f"{own} stands twice"
            ids.add(own)
            named = sorted(p["name"] for p in operation.get("parameters", []) if p["in"] == "path")
            if named != sorted(re.findall(r"\{([^}]*)\}", path)):
                yield f"{own}: {path} has other parameters than {named}"


def closed(value):
    """Schemas that allow no property which they do not name: what is not described is a fault too."""
    if isinstance(value, list):
        return [closed(each) for each in value]
    if not isinstance(value, dict):
        return value
    value = {key: closed(each) for key, each in value.items()}
    is_any = list(value.get("properties", {})) == ["@type"]
    if isinstance(value.get("properties"), dict) and value.get("type") == "object" and not is_any:
        value.setdefault("additionalProperties", False)
    return value


class Messages:
    def __init__(self, document):
        self.document = document
        self.components = closed(document["components"])
        self.operations = {op["operationId"]: op for item in document["paths"].values() for op in operations(item)}

    def faults(self, message):
        operation = self.operations.get(message["operation"])
        if operation is None:
            yield "there is no such operation"
            return
        if "status" not in message:
            content = operation["requestBody"]["content"]
        elif message["status"] == 200:
            content = operation["responses"]["200"]["content"]
        else:
            name = operation["responses"]["default"]["$ref"].rsplit("/", 1)[1]
            content = self.components["responses"][name]["content"]
        kind = message["type"].split(";")[0]
        if kind not in content and "*/*" not in content:
            yield f"{kind} is not described"
            return
        schema = content.get(kind, content.get("*/*")).get("schema")
        if schema is None:
            return
        for value, of in parts(kind, message["body"], closed(schema)):
            whole = {"components": self.components, **of}
            for error in Draft202012Validator(whole, format_checker=FormatChecker()).iter_errors(value):
                yield f"{'/'.join(map(str, error.absolute_path))}: {error.message}"


def parts(kind, body, schema):
    """The values of a body, each with its schema."""
    if kind == "application/x-ndjson":
        return [(json.loads(line), schema) for line in body.splitlines()]
    if kind == "application/json-seq":
        return [(json.loads(record), schema) for record in body.split(RECORD_SEPARATOR)[1:]]
    if kind == "text/event-stream":
        values = []
        for event in body.strip().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in event.splitlines() if not line.startswith(":"))
            fields.pop("retry", None)
            if not fields:
                continue
            values.append((fields, schema))
            if "event" not in fields:
                values.append((json.loads(fields["data"]), schema["properties"]["data"]["contentSchema"]))
        return values
    return [(json.loads(body), schema)]


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        document = json.load(file)
    wrong = list(faults_of_document(document))
    messages, judged = Messages(document), 0
    lines = open(sys.argv[2], encoding="utf-8").read().splitlines() if len(sys.argv) > 2 else []
    for message in map(json.loads, lines):
        judged += 1
        for fault in messages.faults(message):
            wrong.append(f"{message['operation']} {message['type']}: {fault}\n  {message['body'][:500]}")
    print("\n".join(wrong + [f"{len(messages.operations)} operations, {judged} messages, {len(wrong)} faults"]))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
