"""The web page under load: many visitors at a time, what they get, and the memory of the server.

    python benchmarks/load.py [--visitors 16] [--minutes 10]        # needs pip install '.[web]'

Each visitor has an address of its own (127.0.0.2 and on; Linux) and asks for one thing after the other: samples of
digits, a digit restored, a small photograph restored. One in eight leaves before the end. The exit code is 1 if a
visitor got anything but a result or the sentence that the page is busy, or if work was left when all had gone.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import io
import json
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

DIGIT, PHOTO = (28, 28), (96, 96, 3)
LEAVES = 1 / 8
"""Share of the requests whose visitor leaves after the first event."""


def picture(shape: tuple[int, ...]) -> str:
    """Noise, as the page sends a picture."""
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(256, size=shape, dtype=np.uint8)).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


REQUESTS = (
    {"task": "sample", "model": "mnist", "n": 4, "steps": 10},
    {"task": "restore", "model": "mnist", "picture": picture(DIGIT), "level": 0.5, "steps": 10},
    {"task": "restore", "model": "photo-colour", "picture": picture(PHOTO), "level": 0.1, "steps": 1},
)


@dataclass
class Visitor:
    """One address that asks again and again.

    Attributes:
        number: of the visitor, which gives the address.
        port: of the page.
        until: the time (:func:`time.monotonic`) to stop at.
        found: how often each end came.
        waits: seconds to each result.
    """

    number: int
    port: int
    until: float
    found: Counter[str] = field(default_factory=Counter)
    waits: list[float] = field(default_factory=list)

    def run(self) -> None:
        """Ask until the time is over."""
        draw = random.Random(self.number)
        while time.monotonic() < self.until:
            began = time.monotonic()
            end = self.ask(dict(draw.choice(REQUESTS), seed=draw.randrange(1000)), draw.random() < LEAVES)
            self.found[end] += 1
            if end == "result":
                self.waits.append(time.monotonic() - began)
            time.sleep(draw.random() / 4)

    def ask(self, request: dict[str, object], leave: bool) -> str:
        """One request; how it ended."""
        source = (f"127.0.0.{self.number + 2}", 0)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300, source_address=source)
        try:
            connection.request("POST", "/work", json.dumps(request), {"Content-Type": "application/json"})
            response = connection.getresponse()
            if response.status != 200:
                return "busy" if b"try again" in response.read() else f"status {response.status}"
            last: dict[str, object] = {}
            for line in response:
                if line.startswith(b"data: "):
                    event = json.loads(line[6:])
                    if leave:
                        return "left"
                    last = last if "end" in event else event
            return "result" if "result" in last else f"no result: {last.get('error')}"
        except (OSError, http.client.HTTPException) as error:
            return f"{type(error).__name__}: {error}"
        finally:
            connection.close()


def memory(process: int) -> float:
    """Resident memory of a process, in MB."""
    line = next(x for x in Path(f"/proc/{process}/status").read_text().splitlines() if x.startswith("VmRSS"))
    return int(line.split()[1]) / 1e3


def main() -> int:
    """Serve, visit, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--visitors", type=int, default=16)
    parser.add_argument("--minutes", type=float, default=10)
    arguments = parser.parse_args()
    words = [sys.executable, "-m", "dae_sampler", "web", "--no-open", "--port", "0"]
    server = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout
        port = int(server.stdout.readline().split("127.0.0.1:")[1].split("/")[0])
        until = time.monotonic() + 60 * arguments.minutes
        visitors = [Visitor(i, port, until) for i in range(arguments.visitors)]
        threads = [threading.Thread(target=visitor.run) for visitor in visitors]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            time.sleep(60 * arguments.minutes / 10)
            print(f"{memory(server.pid):.0f} MB, {sum(len(v.waits) for v in visitors)} results", flush=True)
        alone = Visitor(len(visitors), port, 0)
        began = time.monotonic()
        last = alone.ask(dict(REQUESTS[0]), leave=False)
        print(f"when all had gone: {last} in {time.monotonic() - began:.1f} s")
    finally:
        server.terminate()
        server.wait()
    found = sum((visitor.found for visitor in visitors), Counter[str]())
    each = [len(visitor.waits) for visitor in visitors]
    waits = sorted(wait for visitor in visitors for wait in visitor.waits)
    middle, most = waits[len(waits) // 2], waits[-1]
    print(
        f"{dict(found)}; results of each visitor {min(each)} to {max(each)}; waits {middle:.1f} s, at most {most:.1f} s"
    )
    return int(last != "result" or bool(set(found) - {"result", "busy", "left"}))


if __name__ == "__main__":
    sys.exit(main())
