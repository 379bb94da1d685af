"""Asks a server over and over with batches and pictures of varying size, and watches its memory.

    python scripts/soak.py target/release/seaworthy [--requests 10000]

Two servers, one after the other: the house prices with 1 to 1,000 rows a request, and the digits with pictures of 8 to 1,600 pixels a side,
as multipart, as a raw body and as base64. Resident memory is printed ten times. Exits 1 when, at the end and two seconds of rest later, it
is more than a tenth above what it was at most during the first half of the requests.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import random
import struct
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

from bench import ROOT, show
from chaos import serving

MOST_ROWS = 1000
MOST_PIXELS = 1600
Request = tuple[bytes, str]


def houses() -> Callable[[random.Random], Request]:
    """Good rows of the model itself."""
    lines = (ROOT / "models/house-prices/3.2.0/golden.jsonl").read_text().splitlines()
    rows = [json.dumps(line["input"]) for line in map(json.loads, lines) if "output" in line]

    def body(chance: random.Random) -> Request:
        chosen = ",".join(chance.choices(rows, k=chance.randint(1, MOST_ROWS)))
        return f'{{"inputs":[{chosen}]}}'.encode(), "application/json"

    return body


def png(width: int, height: int, chance: random.Random) -> bytes:
    """A grey picture: bands, so that it is small whatever its size."""
    shades = [chance.randrange(256) for _ in range(8)]
    line = b"\0" + bytes(shades[x * 8 // width] for x in range(width))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(line * height, 1)) + chunk(b"IEND", b"")


def pictures() -> Callable[[random.Random], Request]:
    """Pictures in each of the three forms."""
    manifest = json.loads((ROOT / "examples/models/digits/1.0.0/manifest.json").read_text())
    (field,) = (field["name"] for field in manifest["inputs"])

    def body(chance: random.Random) -> Request:
        picture = png(chance.randint(8, MOST_PIXELS), chance.randint(8, MOST_PIXELS), chance)
        form = chance.randrange(3)
        if form == 0:
            return picture, "image/png"
        if form == 1:
            head = f'--x\r\nContent-Disposition: form-data; name="{field}"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
            return head.encode() + picture + b"\r\n--x--\r\n", "multipart/form-data; boundary=x"
        rows = [{field: base64.b64encode(picture).decode()} for _ in range(chance.randint(1, 3))]
        return json.dumps({"inputs": rows}).encode(), "application/json"

    return body


def soak(program: str, model: str, body: Callable[[random.Random], Request], n_requests: int) -> bool:
    """Asks one model; the answer is whether memory stayed."""
    with serving(program, model=model) as server:
        show(f"{model}: {server.rss_mb():.1f} MB at first")
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        chance = random.Random(0)
        levels = []
        for request in range(1, n_requests + 1):
            content, media_type = body(chance)
            connection.request("POST", "/v1/predict", content, {"content-type": media_type})
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 200:
                sys.exit(f"{model}: request {request} was answered with {answer.status}: {text[:300]!r}")
            if request % max(n_requests // 10, 1) == 0:
                levels.append(server.rss_mb())
                show(f"{model}: {levels[-1]:.1f} MB after {request:,} requests")
        time.sleep(2)
        last = server.rss_mb()
        first = max(levels[: len(levels) // 2])
        good = last <= 1.1 * first
        show(f"{model}: {last:.1f} MB two seconds later: {'ok' if good else 'FAILED: it grew'}")
        return good


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program")
    parser.add_argument("--requests", type=int, default=10_000, help="of each kind (default: 10000)")
    options = parser.parse_args()
    program = str(Path(options.program).resolve())
    good = soak(program, "house-prices@3.2.0", houses(), options.requests)
    good &= soak(program, "examples/models/digits/1.0.0", pictures(), options.requests)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
