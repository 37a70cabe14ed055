"""`make bench`: ratios against a real peer, measured in the same run, alternating.

Reception: dcmtk's `dcmsend` brings a synthetic slide to our Storage SCP, which syncs and checks every instance before
it answers, and to dcmtk's `storescp`, which does not.
"""

import itertools
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dicom_io.listener import DicomListener, ListenerConfig
from dicom_io.store import FileStore
from node.cli_tools import write_slide
from pipeline.phantom.slide import PhantomSlide
from pipeline.phantom.spec import PhantomSpec

ROUNDS = 7
DEADLINE_S = 30.0


@contextmanager
def our_listener(folder: Path) -> Iterator[int]:
    """Our SCP with an index that costs nothing."""
    config = ListenerConfig(ae_title="BENCH", port=0)
    listener = DicomListener(config, FileStore(folder), lambda *_: None, lambda _: None, lambda _: 0xC000)
    listener.start()
    try:
        yield listener.port
    finally:
        listener.stop()


@contextmanager
def storescp(folder: Path) -> Iterator[int]:
    """dcmtk's SCP."""
    folder.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    process = subprocess.Popen(["storescp", "--output-directory", folder, "+xa", str(port)])
    try:
        deadline = time.monotonic() + DEADLINE_S
        while subprocess.run(["echoscu", "127.0.0.1", str(port)], capture_output=True, check=False).returncode:
            if time.monotonic() > deadline:
                raise TimeoutError("storescp did not come up")
        yield port
    finally:
        process.terminate()
        process.wait()


def seconds(server: Callable[[Path], object], folder: Path, slide: Path) -> float:
    """How long dcmsend takes to bring the slide to a fresh server."""
    with server(folder) as port:  # type: ignore[attr-defined]  # a context manager yielding the port
        start = time.perf_counter()
        subprocess.run(["dcmsend", "127.0.0.1", str(port), "--scan-directories", slide], check=True)
        return time.perf_counter() - start


def main() -> None:
    missing = [name for name in ("dcmsend", "storescp", "echoscu") if shutil.which(name) is None]
    if missing:
        raise SystemExit(f"{missing[0]} is missing: apt-get install dcmtk")
    with tempfile.TemporaryDirectory(prefix="marrow-node-bench-") as name:
        home = Path(name)
        smear = PhantomSlide(PhantomSpec(seed=1, size=(6000, 4000), mpp=0.25))
        write_slide(smear, home / "slide", container="BENCH-1", synthetic=True)
        numbers = itertools.count()
        ratios = [
            seconds(our_listener, home / f"in{next(numbers)}", home / "slide")
            / seconds(storescp, home / f"in{next(numbers)}", home / "slide")
            for _ in range(ROUNDS)
        ]
    low, middle, high = min(ratios), statistics.median(ratios), max(ratios)
    print(f"reception, time against storescp: {middle:.2f} (min {low:.2f}, max {high:.2f}, {ROUNDS} pairs)")  # noqa: T201


if __name__ == "__main__":
    main()
