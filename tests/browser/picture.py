"""`make picture`: the README's picture, the case page of a synthetic slide that the default bundle counted."""

import io
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from node.cli.demo import run_demo
from node.cli.tools import write_slide
from pipeline.phantom.slide import PhantomSlide
from pipeline.phantom.spec import PhantomSpec

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
    "--no-first-run",
    "--disable-component-update",
    "--disable-sync",
]
SMEAR = PhantomSpec(seed=7, size=(4480, 3840), artefacts=0.0)  # one minute's work for two cores
PLACE = "#slide&x=1850&y=1900&r=1.6"
LARGEST_BYTES = 400_000
DEADLINE_S = 600.0


def take(address: str, out: Path) -> None:
    """Photograph a page in Debian's Chromium once it is painted.

    Raises
    ------
    SystemExit
        It was not painted within ten minutes, or the picture is too large for the repository.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_page(viewport={"width": 1360, "height": 900})
        page.goto(f"{address}{PLACE}")
        picture = painted(page)
        browser.close()
    out.parent.mkdir(parents=True, exist_ok=True)
    # 256 colours; this way of choosing them keeps those of the classes, however few pixels they have
    picture.quantize(256, method=Image.Quantize.FASTOCTREE).save(out, optimize=True)
    if out.stat().st_size > LARGEST_BYTES:
        raise SystemExit(f"{out} has {out.stat().st_size} bytes, more than the {LARGEST_BYTES} a picture may have")


def painted(page: Page) -> Image.Image:
    """The page once the slide is on it and nothing moves any more; tiles come one by one, when the machine has time."""
    deadline = time.monotonic() + DEADLINE_S
    earlier = b""
    while time.monotonic() < deadline:
        shot = page.screenshot()
        picture = Image.open(io.BytesIO(shot)).convert("RGB")
        left = np.asarray(picture)[400:, :600].astype(int)
        stained = (left[..., 2] - left[..., 1] > 25).mean()
        if shot == earlier and stained > 0.02:
            return picture
        earlier = shot
        page.wait_for_timeout(2000)
    raise SystemExit("the page was not painted: look at it with `marrow-node demo`")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="marrow-node-picture-") as folder:
        slide = Path(folder) / "slide"
        write_slide(PhantomSlide(SMEAR), slide, container="PHANTOM-7", synthetic=True)
        run_demo(slide, roi="whole", tiles="auto", port_base=None, visit=lambda page: take(page, Path(sys.argv[1])))
