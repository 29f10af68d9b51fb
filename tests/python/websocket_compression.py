#!/usr/bin/env python3
"""An ordinary WebSocket client (websockets, over zlib) that offers permessage-deflate in each of its ways.

    websocket_compression.py --base http://localhost:8080 --mode none|message|connection --bytes-max 65536

`--mode` and `--bytes-max` are what the gateway has for `compression.websocket` and `limits.request_message_bytes_max`; its
`compression.min_size` is 1 KiB. Prints `ok NAME` for each check; the first that fails ends it with a traceback.
"""

import argparse
import asyncio
import json
import random
from dataclasses import replace

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, PerMessageDeflate

NEITHER = "; server_no_context_takeover; client_no_context_takeover"
# Offers, and what is answered to them where contexts are taken over; a window is named in both modes.
OFFERS = [
    ({}, "", ""),
    ({"server_no_context_takeover": True}, "; server_no_context_takeover", ""),
    ({"client_no_context_takeover": True}, "; client_no_context_takeover", ""),
    ({"server_max_window_bits": 12, "client_max_window_bits": 12}, "",
     "; server_max_window_bits=12; client_max_window_bits=12"),
    ({"server_max_window_bits": 9, "client_max_window_bits": True}, "", "; server_max_window_bits=9"),
    ({"client_max_window_bits": 9}, "", "; client_max_window_bits=9"),
]


class Offer(ClientPerMessageDeflateFactory):
    """Counts the data frames of its socket that came compressed, and their octets, as the library gets them."""

    compressed, plain, octets = 0, 0, 0

    def process_response_params(self, params, accepted_extensions):
        extension = super().process_response_params(params, accepted_extensions)
        decode = extension.decode

        def count(frame, **options):
            if frame.opcode in (1, 2):
                self.compressed += frame.rsv1
                self.plain += not frame.rsv1
                self.octets += len(frame.data)
            return decode(frame, **options)

        # Before the first frame: some come with the answer.
        extension.decode = count
        return extension

    def counts(self):
        return self.compressed, self.plain, self.octets


def open_socket(base, path, offer):
    return connect(base.replace("http", "ws", 1) + path, compression=None, extensions=[offer])


def messages():
    """Texts of many sizes, of which some resemble each other and some shrink by nothing."""
    random.seed(7692)
    noise = "".join(chr(random.randrange(0x20, 0x2000)) for _ in range(4000))
    return ["", "short", "é" * 2000, "ab" * 10_000, noise, "ab" * 10_000, noise, json.dumps(list(range(900))), "x" * 1100]


def varint(number):
    return bytes([number]) if number < 128 else bytes([number & 127 | 128]) + varint(number >> 7)


async def echoes(base, mode):
    for options, takeover, windows in OFFERS:
        offer = Offer(**options)
        async with open_socket(base, "/echo/chat", offer) as socket:
            answer = socket.response.headers.get("Sec-WebSocket-Extensions")
            params = NEITHER if mode == "message" else takeover
            assert answer == f"permessage-deflate{params}{windows}", (options, answer)
            for text in messages() * 2:
                await socket.send(json.dumps({"text": text}, ensure_ascii=False))
                reply = await socket.recv()
                assert json.loads(reply).get("text", "") == text, (options, text[:50])
            assert offer.compressed >= 10 and offer.plain >= 4, offer.counts()
            if not options:
                print(f"octets {offer.octets}", flush=True)
        offer = Offer(**options)
        async with open_socket(base, "/echo/chat", offer) as socket:
            for text in messages():
                text = text.encode()
                message = b"\x0a" + varint(len(text)) + text if text else b""
                await socket.send([message[:10], message[10:]])
                assert await socket.recv() == message, (options, text[:50])
            assert offer.compressed >= 5, offer.counts()


async def lists_and_files(base):
    """Streams, and frames that are a file's bytes."""
    text = "much-the-same-" * 200
    offer = Offer()
    async with open_socket(base, f"/echo/down?text={text}", offer) as socket:
        got = [json.loads(message)["text"] async for message in socket]
        assert got == [text] * 3 and (offer.compressed, offer.plain) == (3, 0), offer.counts()
    offer = Offer()
    async with open_socket(base, f"/echo/download?text={text}", offer) as socket:
        assert await socket.recv() == text
        assert (offer.compressed, offer.plain) == (1, 0) and offer.octets < len(text) / 10, offer.counts()


async def bombs(base, bytes_max):
    for payload in ["a" * (bytes_max + 1), bytes(50_000_000)]:
        for _ in range(5):
            async with open_socket(base, "/echo/chat", Offer()) as socket:
                await socket.send(payload)
                closed = await close_of(socket)
            assert closed.code == 1009, closed
    # At the limit it is no bomb.
    async with open_socket(base, "/echo/chat", Offer()) as socket:
        text = json.dumps({"text": "a"})
        await socket.send(text + " " * (bytes_max - len(text)))
        assert json.loads(await socket.recv()) == {"text": "a"}


async def faults(base):
    """What is not DEFLATE, what is cut short, and a text that is no text."""
    encode = PerMessageDeflate.encode
    for fault in [lambda data: b"\x06", lambda data: bytes(data)[:-3], lambda data: bytes(data) + b"\xff" * 9]:
        async with open_socket(base, "/echo/chat", Offer()) as socket:
            (extension,) = socket.protocol.extensions
            extension.encode = lambda frame: (whole := encode(extension, frame)) and replace(whole, data=fault(whole.data))
            await socket.send('{"text":"hello, hello, hello"}')
            closed = await close_of(socket)
        assert (closed.code, closed.reason) == (1007, "a compressed message cannot be inflated"), closed
    async with open_socket(base, "/echo/chat", Offer()) as socket:
        await socket.send(b'{"text":"\xff"}', text=True)
        closed = await close_of(socket)
    assert (closed.code, closed.reason) == (1007, "a text message is not UTF-8"), closed


async def refused(base):
    async with open_socket(base, "/echo/chat", Offer()) as socket:
        assert "Sec-WebSocket-Extensions" not in socket.response.headers, socket.response.headers
        await socket.send(json.dumps({"text": "ab" * 10_000}))
        assert json.loads(await socket.recv()) == {"text": "ab" * 10_000}


async def close_of(socket):
    try:
        message = await socket.recv()
    except ConnectionClosed as closed:
        return closed.rcvd
    raise AssertionError(f"not closed but {message!r}")


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", required=True)
    parser.add_argument("--mode", choices=["none", "message", "connection"], required=True)
    parser.add_argument("--bytes-max", type=int, required=True)
    arguments = parser.parse_args()
    base = arguments.base
    if arguments.mode == "none":
        checks = [("refused", refused(base))]
    else:
        checks = [
            ("echoes", echoes(base, arguments.mode)),
            ("lists_and_files", lists_and_files(base)),
            ("bombs", bombs(base, arguments.bytes_max)),
            ("faults", faults(base)),
        ]
    for name, check in checks:
        await check
        print(f"ok {name}", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
