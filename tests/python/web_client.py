#!/usr/bin/env python3
"""Ordinary Python web clients (httpx, websockets): every dialect over HTTP/1.1 and HTTP/2.

    web_client.py --base https://localhost:8443 --ca cert.pem

Prints `ok NAME` for each check; the first that fails ends it with a traceback.
"""

import argparse
import asyncio
import gzip
import json
import ssl

import brotli
import httpx
import zstandard
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

TICKS = [{"text": "t"}, {"text": "t", "n": 1}, {"text": "t", "n": 2}]


def json_kinds(http):
    assert http.post("/echo/say", json={"text": "é", "n": 3}).json() == {"text": "é", "n": 3}
    assert http.get("/echo/say/a%2Fb").json() == {"text": "a/b"}
    assert http.get("/echo/down", params={"text": "t"}).json() == TICKS
    two = [{"text": "a"}, {"text": "b"}]
    assert http.post("/echo/up", json=two).json() == {"count": 2, "joined": "a,b"}
    assert http.post("/echo/chat", json=two).json() == two


def json_refusal(http):
    answer = http.get("/echo/fail/5", params={"message": "näh", "details": "true"})
    status = answer.json()
    assert (answer.status_code, status["code"], status["message"]) == (404, 5, "näh"), status
    assert status["details"][0]["reason"] == "ASKED", status
    assert status["details"][1]["fieldViolations"][0]["field"] == "code", status


def ndjson(http):
    accept = {"accept": "application/x-ndjson"}
    with http.stream("GET", "/echo/down", params={"text": "t"}, headers=accept) as answer:
        lines = [json.loads(line) for line in answer.iter_lines()]
    assert lines == [{"result": tick} for tick in TICKS], lines
    body = b'{"text":"a"}\n{"text":"b"}\n'
    headers = accept | {"content-type": "application/x-ndjson"}
    lines = http.post("/echo/chat", content=body, headers=headers).text.splitlines()
    assert [json.loads(line) for line in lines] == [{"result": {"text": "a"}}, {"result": {"text": "b"}}], lines
    params = {"count": 5, "fail_after": 1, "fail_code": 8, "fail_message": "enough"}
    lines = http.get("/echo/down", params=params, headers=accept).text.splitlines()
    assert json.loads(lines[-1])["error"]["code"] == 8, lines


def sse(http):
    with http.stream("GET", "/echo/down", params={"text": "t"}, headers={"accept": "text/event-stream"}) as answer:
        text = answer.read().decode()
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert text.startswith("retry:"), text
    events = [block for block in text.split("\n\n") if "data:" in block]
    assert "event: status" in events[-1] and "id: ~end" in events[-1], events[-1]
    assert [json.loads(event.partition("data:")[2]) for event in events[:-1]] == TICKS, events


def http_body(http):
    answer = http.get("/echo/download", params={"text": "hey"})
    assert (answer.text, answer.headers["content-type"]) == ("hey", "text/plain; charset=utf-8"), answer.headers
    assert http.get("/echo/download-stream").text == "chunk0\nchunk1\nchunk2\n"
    upload = bytes(range(256)) * 10
    answer = http.post("/echo/upload", content=upload, headers={"content-type": "image/png"}).json()
    assert answer == {"count": 1, "bytes": "2560", "joined": "image/png"}, answer


def compression(http):
    text = "ab" * 2000
    assert "content-encoding" not in http.get(f"/echo/say/{text}", headers={"accept-encoding": "identity"}).headers
    zstd = zstandard.ZstdCompressor().compress
    for coding, compress in [("gzip", gzip.compress), ("br", brotli.compress), ("zstd", zstd)]:
        headers = {"accept-encoding": coding, "content-encoding": coding, "content-type": "application/json"}
        answer = http.post("/echo/say", content=compress(json.dumps({"text": text}).encode()), headers=headers)
        assert (answer.json(), answer.headers["content-encoding"]) == ({"text": text}, coding), answer.headers
        headers |= {"accept": "application/x-ndjson", "content-type": "application/x-ndjson"}
        body = compress(b'{"text":"a"}\n{"text":"b"}\n')
        with http.stream("POST", "/echo/chat", content=body, headers=headers) as answer:
            lines = [json.loads(line) for line in answer.iter_lines()]
        assert lines == [{"result": {"text": "a"}}, {"result": {"text": "b"}}], lines
        assert answer.headers["content-encoding"] == coding, answer.headers
        refused = http.post("/echo/say", content=body[:-1], headers=headers | {"content-type": "application/json"})
        assert refused.status_code == 400, refused.text


async def websocket(base, tls, offered):
    # Not the library's threaded client: Python's TLS objects do not bear reading and writing at a time.
    def open_socket(path):
        return connect(base.replace("http", "ws", 1) + path, ssl=tls, compression=offered)

    async with open_socket("/echo/chat") as socket:
        for text in ("one", "two"):
            await socket.send(json.dumps({"text": text}))
            assert json.loads(await socket.recv()) == {"text": text}
        await socket.send("")
        closed = await close_of(socket)
    assert closed.code == 1000, closed
    async with open_socket("/echo/down?text=t") as socket:
        assert [json.loads(message) async for message in socket] == TICKS
    async with open_socket("/echo/say") as socket:
        await socket.send(b"\x0a\x01a")
        assert await socket.recv() == b"\x0a\x01a"
    async with open_socket("/echo/up") as socket:
        await socket.send('{"text":"a"}')
        await socket.send("")
        assert json.loads(await socket.recv()) == {"count": 1, "joined": "a"}
    async with open_socket("/echo/chat") as socket:
        await socket.send('{"text":"fail"}')
        closed = await close_of(socket)
    assert (closed.code, closed.reason) == (4009, "FAILED_PRECONDITION: asked to fail"), closed


async def close_of(socket):
    try:
        message = await socket.recv()
    except ConnectionClosed as closed:
        return closed.rcvd
    raise AssertionError(f"not closed but {message!r}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", required=True)
    parser.add_argument("--ca")
    arguments = parser.parse_args()

    # One for each client: httpx writes its own protocols into the context that it is given.
    def tls():
        return ssl.create_default_context(cafile=arguments.ca) if arguments.ca else None

    for name, options in [("http1", {"http2": False}), ("http2", {"http1": False, "http2": True})]:
        with httpx.Client(base_url=arguments.base, verify=tls() or True, timeout=30, **options) as http:
            for check in (json_kinds, json_refusal, ndjson, sse, http_body, compression):
                check(http)
                print(f"ok {name} {check.__name__}", flush=True)
    for offered in (None, "deflate"):
        asyncio.run(websocket(arguments.base, tls(), offered))
        print(f"ok websocket {offered}", flush=True)


if __name__ == "__main__":
    main()
