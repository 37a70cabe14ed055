"""`make bench`: ratios of what is measured in the same run, alternating.

Reception: dcmtk's `dcmsend` brings a synthetic slide to our Storage SCP, which syncs and checks every instance before
it answers, and to dcmtk's `storescp`, which does not.

Frames: the time to the first byte of some frame of a 4 GB instance, over HTTP, against one of a 4 MB instance.
"""

import itertools
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import httpx

from dicom_io.header import InstanceHeader
from dicom_io.listener import DicomListener, ListenerConfig
from dicom_io.store import FileStore
from node.cli.tools import write_slide
from pipeline.phantom.slide import PhantomSlide
from pipeline.phantom.spec import PhantomSpec
from tests.large import write_large_encapsulated, write_large_instance
from tests.serving import serving
from tests.stored_cases import Site
from tests.system.processes import free_port

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
    port = free_port()
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


def seconds(server: Callable[[Path], AbstractContextManager[int]], folder: Path, slide: Path) -> float:
    """How long dcmsend takes to bring the slide to a fresh server."""
    with server(folder) as port:
        start = time.perf_counter()
        subprocess.run(["dcmsend", "127.0.0.1", str(port), "--scan-directories", slide], check=True)
        return time.perf_counter() - start


def reception(home: Path) -> Iterator[float]:
    """Time of our SCP against that of dcmtk's."""
    missing = [name for name in ("dcmsend", "storescp", "echoscu") if shutil.which(name) is None]
    if missing:
        raise SystemExit(f"{missing[0]} is missing: apt-get install dcmtk")
    smear = PhantomSlide(PhantomSpec(seed=1, size=(6000, 4000), mpp=0.25))
    write_slide(smear, home / "slide", container="BENCH-1", synthetic=True)
    numbers = itertools.count()
    for _ in range(ROUNDS):
        ours = seconds(our_listener, home / f"in{next(numbers)}", home / "slide")
        yield ours / seconds(storescp, home / f"in{next(numbers)}", home / "slide")


def frames(home: Path, write: Callable[..., Path]) -> Iterator[tuple[float, float]]:
    """Time to the first byte from a large instance against a small one: of the first frame asked for, and of others."""
    chance = random.Random(1)
    with Site.at(home) as site:
        large, small, other = (
            site.refer(write(home / f"{uid}.dcm", megabytes, uid=uid))
            for megabytes, uid in ((4000, "2.25.1"), (4, "2.25.2"), (4, "2.25.3"))
        )
        for _ in range(ROUNDS):
            with serving(site) as address, httpx.Client(base_url=address) as client:
                first_byte(client, other, chance)  # a new server's first answer takes longer than any other
                pairs = [[first_byte(client, each, chance) for each in (large, small)] for _ in range(10)]
            (first, *others) = pairs
            yield first[0] / first[1], statistics.median(slow / quick for slow, quick in others)


def first_byte(client: httpx.Client, header: InstanceHeader, chance: random.Random) -> float:
    """Seconds until some frame of an instance begins to come."""
    number = chance.randint(1, header.number_of_frames)
    series = f"/dicomweb/studies/{header.study_instance_uid}/series/{header.series_instance_uid}"
    address = f"{series}/instances/{header.sop_instance_uid}/frames/{number}"
    start = time.perf_counter()
    with client.stream("GET", address) as answer:
        next(answer.iter_raw(1))
        return time.perf_counter() - start


def tell(what: str, ratios: Sequence[float]) -> None:
    low, middle, high = min(ratios), statistics.median(ratios), max(ratios)
    print(f"{what}: {middle:.2f} (min {low:.2f}, max {high:.2f}, {len(ratios)} pairs)")  # noqa: T201


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="marrow-node-bench-") as name:
        home = Path(name)
        tell("reception, time against storescp", list(reception(home)))
        for kind, write in (("native", write_large_instance), ("JPEG", write_large_encapsulated)):
            (home / kind).mkdir()
            first, others = zip(*frames(home / kind, write), strict=True)
            tell(f"first frame of a {kind} instance, time to its first byte, 4 GB against 4 MB", first)
            tell(f"further frames of a {kind} instance, 4 GB against 4 MB", others)


if __name__ == "__main__":
    main()
