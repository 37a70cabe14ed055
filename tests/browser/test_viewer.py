"""The slide in the browser: what is painted is what the file holds, and overlays lie where the cells are."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from dicom_io.slide import DicomSlide
from node.cases import read_case
from pipeline.domain import Box
from tests.browser.axe import serious_faults
from tests.stored_cases import Site, many_cells, slide_case, unwritten_case

pytestmark = pytest.mark.alone


@pytest.fixture
def case_id(site: Site, shared: Path) -> str:
    return slide_case(site, shared / "slides" / "marrow-fields")


def picture_of(page: Page) -> np.ndarray:
    """What is on the screen where the slide is, (H, W, 3)."""
    box = page.locator(".viewer").bounding_box()
    return np.asarray(Image.open(io.BytesIO(page.screenshot(clip=box))).convert("RGB"))


def settled(page: Page) -> np.ndarray:
    """What is on the screen once nothing more comes: every tile is there."""
    page.wait_for_load_state("networkidle")
    before = picture_of(page)
    while True:
        page.wait_for_timeout(1000)
        if np.array_equal(after := picture_of(page), before):
            return after
        before = after


def fragment(page: Page) -> str:
    return page.evaluate("location.hash")


def hide_overlays(page: Page) -> None:
    page.locator(".viewer-slide").focus()
    page.keyboard.press("Space")


def test_the_slide_is_painted_as_the_file_holds_it(
    page: Page,
    site: Site,
    shared: Path,
    case_id: str,
    until: Callable[..., bool],
    keep_picture: Callable[..., None],
) -> None:
    page.goto(f"/cases/{case_id}#slide&x=5120&y=2850&r=2")
    expect(page.get_by_role("button", name="Zoom in")).to_be_visible()
    until(lambda: picture_of(page).std() > 12)
    settled(page)
    keep_picture(page, "viewer")
    devtools = page.context.new_cdp_session(page)
    devtools.send("Emulation.setEmulatedVisionDeficiency", {"type": "deuteranopia"})
    keep_picture(page, "viewer-deuteranopia")
    devtools.send("Emulation.setEmulatedVisionDeficiency", {"type": "none"})
    hide_overlays(page)
    with DicomSlide.open([shared / "slides" / "marrow-fields"]) as slide:
        height, width, _ = picture_of(page).shape
        box = Box(x0=5120 - width, y0=2850 - height, x1=5120 + width, y1=2850 + height)
        expected = slide.read(box, 2 * slide.mpp).astype(float)

    def difference() -> float:
        shown = picture_of(page).astype(float)
        middle = np.s_[100:-100, 250:-250]
        return float(np.abs(shown[middle] - expected[middle]).mean())

    assert until(lambda: difference() < 2)


def test_overlays_switch_on_and_off(page: Page, case_id: str, until: Callable[..., bool]) -> None:
    page.goto(f"/cases/{case_id}#slide&x=5120&y=2850&r=2")
    until(lambda: painted(page) > 500)
    page.get_by_role("checkbox", name="Cells", exact=True).uncheck()
    page.get_by_role("checkbox", name="Regions", exact=True).uncheck()
    assert until(lambda: painted(page) == 0)
    page.get_by_role("checkbox", name="Cells", exact=True).check()
    classes = page.get_by_role("checkbox", name="Show all classes")
    classes.click()
    assert until(lambda: painted(page) == 0)
    page.get_by_role("checkbox", name="Show plasma cell").check()
    assert until(lambda: painted(page) > 100)
    some = painted(page)
    page.get_by_role("checkbox", name="Tiles").check()
    assert until(lambda: painted(page) > some)


def test_overlays_fade_and_a_bar_gives_the_scale(
    page: Page, site: Site, case_id: str, until: Callable[..., bool]
) -> None:
    page.goto(f"/cases/{case_id}#slide&x=5120&y=2850&r=2")
    until(lambda: painted(page) > 500)
    opacity = page.get_by_role("slider", name="Opacity")
    opacity.fill("100")
    assert until(lambda: strength(page) > 0.7)
    opacity.fill("20")
    assert until(lambda: 0 < strength(page) < 0.4)
    bar = page.locator('.viewer [class="-inner"]')
    length, unit = bar.inner_text().split()
    (slide,) = read_case(site.database, case_id).slides
    shown_um = bar.bounding_box()["width"] * 2 * slide.mpp
    assert shown_um == pytest.approx(float(length) * {"μm": 1, "µm": 1, "mm": 1000}[unit], rel=0.1)


def test_the_segmentation_is_painted_in_the_colours_of_its_classes(
    page: Page, case_id: str, until: Callable[..., bool], keep_picture: Callable[..., None]
) -> None:
    page.goto(f"/cases/{case_id}#slide&x=5120&y=2850&r=2")
    until(lambda: picture_of(page).std() > 12)
    page.get_by_role("checkbox", name="Cells", exact=True).uncheck()
    before = settled(page).astype(int)
    page.get_by_role("checkbox", name="Segmentation").check()

    def changed() -> float:
        return float((np.abs(picture_of(page).astype(int) - before).max(axis=2) > 25)[100:-100, 100:-260].mean())

    assert until(lambda: changed() > 0.02)
    keep_picture(page, "viewer-segmentation")
    page.get_by_role("checkbox", name="Segmentation").uncheck()
    assert until(lambda: changed() < 0.005)


def test_a_click_selects_the_cell_and_the_address_leads_back_to_it(
    page: Page, case_id: str, until: Callable[..., bool]
) -> None:
    page.goto(f"/cases/{case_id}#slide&cell=100")
    until(lambda: "x=" in fragment(page))
    until(lambda: painted(page) > 500)
    viewer = page.locator(".viewer").bounding_box()
    page.mouse.click(viewer["x"] + viewer["width"] / 2, viewer["y"] + viewer["height"] / 2)
    assert until(lambda: fragment(page).endswith("cell=100"))


def test_the_slide_moves_by_keyboard(page: Page, case_id: str, until: Callable[..., bool]) -> None:
    page.goto(f"/cases/{case_id}#slide&x=5120&y=2850&r=2")
    until(lambda: picture_of(page).std() > 12)
    page.locator(".viewer-slide").focus()
    page.keyboard.press("ArrowRight")
    assert until(lambda: "x=5120" not in fragment(page))
    page.keyboard.press("+")
    assert until(lambda: "r=2.000" not in fragment(page))


def test_the_keyboard_alone_goes_from_cell_to_cell_and_judges(
    page: Page, case_id: str, until: Callable[..., bool]
) -> None:
    page.goto(f"/cases/{case_id}#slide&cell=100")
    until(lambda: "x=" in fragment(page))
    until(lambda: painted(page) > 500)
    slide = page.get_by_role("application")
    slide.focus()
    page.keyboard.press("PageDown")
    assert until(lambda: "cell=" in fragment(page) and "cell=100" not in fragment(page))
    page.keyboard.press("PageUp")
    assert until(lambda: fragment(page).endswith("cell=100"))
    page.keyboard.press("Space")
    assert until(lambda: painted(page) == 0)
    page.keyboard.press("Space")
    assert until(lambda: painted(page) > 500)
    page.keyboard.press("m")
    expect(page.locator('tr[data-class="monocyte"] td.expert').first).to_have_text("47")
    assert "cell=100" not in fragment(page)


def test_a_cell_of_the_gallery_is_found_on_the_slide_and_the_other_way(
    page: Page, case_id: str, until: Callable[..., bool], keep_picture: Callable[..., None]
) -> None:
    page.goto(f"/cases/{case_id}#cells&classes=PC")
    page.locator(".tile-picture").first.wait_for()
    tile = page.get_by_role("option").nth(7)
    name = tile.get_attribute("id")
    tile.dblclick()
    until(lambda: painted(page) > 500)
    area = page.locator(".viewer").bounding_box()
    expect(page.get_by_role("tab", name="Slide")).to_have_attribute("aria-selected", "true")
    until(lambda: picture_of(page).std() > 12)
    keep_picture(page, "viewer-cell")
    page.mouse.click(area["x"] + area["width"] / 2, area["y"] + area["height"] / 2)
    page.keyboard.press("Shift+Enter")
    expect(page.get_by_role("tab", name="Cells")).to_have_attribute("aria-selected", "true")
    expect(page.locator(f"#{name}")).to_be_in_viewport()
    expect(page.locator(f"#{name}")).to_have_attribute("aria-selected", "true")
    page.reload()
    expect(page.locator(f"#{name}")).to_have_attribute("aria-selected", "true")


def test_a_hundred_thousand_cells_are_drawn_and_found(
    page: Page, site: Site, shared: Path, until: Callable[..., bool], keep_picture: Callable[..., None]
) -> None:
    cells = many_cells(100_000, (10_240, 5_715))
    crowd = unwritten_case(site, shared / "slides" / "marrow-fields", cells)
    page.goto(f"/cases/{crowd}#slide")
    until(lambda: "x=" in fragment(page))
    assert until(lambda: painted(page) > 100_000)
    keep_picture(page, "viewer-crowd")
    cell = cells[50_000]
    page.goto(f"/cases/{crowd}#slide&x={cell.box.x0 + 8}&y={cell.box.y0 + 8}&r=0.4")
    page.reload()
    until(lambda: painted(page) > 500)
    area = page.locator(".viewer").bounding_box()
    page.mouse.click(area["x"] + area["width"] / 2, area["y"] + area["height"] / 2)
    assert until(lambda: fragment(page).endswith(f"cell={cell.id}"))


def strength(page: Page) -> float:
    """How opaque the overlay is where it is not transparent, 0..1."""
    return page.locator(".viewer-overlay").evaluate(
        """canvas => {
            const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)
            let [sum, seen] = [0, 0]
            for (let at = 3; at < data.length; at += 4) {
                sum += data[at] / 255
                seen += data[at] > 0
            }
            return sum / Math.max(seen, 1)
        }"""
    )


def painted(page: Page) -> int:
    """Pixels of the overlay that are not transparent."""
    return page.locator(".viewer-overlay").evaluate(
        """canvas => {
            const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)
            let seen = 0
            for (let at = 3; at < data.length; at += 4) seen += data[at] > 0
            return seen
        }"""
    )


def test_the_slide_with_overlays_and_a_chosen_cell_is_open_to_everybody(
    page: Page, case_id: str, until: Callable[..., bool]
) -> None:
    page.goto(f"/cases/{case_id}#slide&cell=100")
    until(lambda: "x=" in fragment(page))
    until(lambda: painted(page) > 500)
    page.get_by_role("checkbox", name="Segmentation").check()
    page.get_by_role("checkbox", name="Tiles").check()
    expect(page.get_by_role("region", name="Cell 100")).to_be_visible()
    assert serious_faults(page) == []
