"""The cell gallery: real pictures by class and by doubt, filters, choosing, and thousands of cells."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from dicom_io.slide import DicomSlide
from pipeline.crops import FIELD_UM, crop
from tests.browser.axe import serious_faults
from tests.stored_cases import Site, many_cells, unwritten_case

SIZE = (10_240, 5_715)  # of the slide


@pytest.fixture
def case_id(site: Site, shared: Path) -> str:
    return unwritten_case(site, shared / "slides" / "marrow-fields")


@pytest.fixture
def gallery(page: Page, case_id: str) -> Locator:
    page.goto(f"/cases/{case_id}#cells")
    page.locator(".tile-picture").first.wait_for()
    return page.get_by_role("listbox")


def group(page: Page, name: str) -> Locator:
    return page.get_by_role("group", name=name, exact=True)


def chosen(page: Page) -> list[int]:
    """The numbers of the chosen cells that are in view."""
    return page.locator('.tile[aria-selected="true"]').evaluate_all("tiles => tiles.map(each => +each.id.slice(5))")


def shades(picture: bytes | np.ndarray) -> np.ndarray:
    """A picture at 24 by 24 pixels without its rim, which marks lie upon, (H, W, 3)."""
    image = Image.fromarray(picture) if isinstance(picture, np.ndarray) else Image.open(io.BytesIO(picture))
    return np.asarray(image.convert("RGB").resize((24, 24), Image.Resampling.BOX)).astype(float)[6:18, 6:18]


def test_a_tile_shows_its_cell(page: Page, gallery: Locator, site: Site, case_id: str, shared: Path) -> None:
    cells = {cell.id: cell for cell in site.web_sources().cells.analysis(case_id, 0).cells}
    with DicomSlide.open([shared / "slides" / "marrow-fields"]) as slide:
        for number in range(3):
            tile = gallery.get_by_role("option").nth(number)
            tile.locator(".tile-picture").wait_for()
            box = cells[int(tile.get_attribute("id").removeprefix("cell-"))].box
            expected = crop(slide, ((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2), FIELD_UM, 96)
            assert np.abs(shades(tile.screenshot()) - shades(expected)).mean() < 8


def test_cells_are_grouped_by_class_the_most_doubtful_first(
    page: Page, gallery: Locator, keep_picture: Callable[..., None]
) -> None:
    groups = gallery.get_by_role("group").all()
    assert [each.get_attribute("aria-label") for each in groups[:2]] == ["Myeloblast", "Promyelocyte"]
    percents = [int(text) for text in group(page, "Myeloblast").locator(".tile-note").all_inner_texts()]
    assert percents == sorted(percents)
    assert len(percents) == 64
    doubtful = group(page, "Myeloblast").locator(".tile-open")
    expect(group(page, "Myeloblast")).to_contain_text(f"{doubtful.count()} to review")
    assert doubtful.count() == sum(percent < 60 for percent in percents)
    gallery.get_by_role("option").nth(5).click()
    page.locator(".crop img").wait_for()
    keep_picture(page, "gallery")
    page.set_viewport_size({"width": 1280, "height": 800})
    keep_picture(page, "gallery-1280")
    assert serious_faults(page) == []


def test_filters_narrow_what_is_shown_and_survive_a_reload(page: Page, gallery: Locator) -> None:
    page.get_by_role("button", name="Plasma cell", exact=True).click()
    expect(gallery.get_by_role("group")).to_have_count(1)
    shown = page.locator(".gallery-shown .number")
    expect(shown).to_have_text("439 of 3,922")
    page.get_by_role("checkbox", name="Needs review").check()
    doubtful = int(shown.inner_text().split()[0])
    assert 50 < doubtful < 250
    gallery.get_by_role("option").first.click()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Not reviewed").click()
    expect(shown).to_have_text(f"{doubtful - 1} of 3,922")
    page.get_by_role("button", name="Reviewed", exact=True).click()
    expect(shown).to_have_text("1 of 3,922")
    page.reload()
    expect(shown).to_have_text("1 of 3,922")
    page.get_by_role("button", name="Show all").click()
    expect(shown).to_have_text("3,922 cells")


def test_cells_are_chosen_by_click_with_shift_and_with_control(page: Page, gallery: Locator) -> None:
    tiles = gallery.get_by_role("option")
    tiles.nth(1).click()
    assert len(chosen(page)) == 1
    tiles.nth(4).click(modifiers=["Shift"])
    assert len(chosen(page)) == 4
    tiles.nth(2).click(modifiers=["Control"])
    assert len(chosen(page)) == 3
    tiles.nth(9).click(modifiers=["Control"])
    assert len(chosen(page)) == 4
    expect(page.get_by_text("4 chosen", exact=True)).to_be_visible()
    page.keyboard.press("Escape")
    assert chosen(page) == []


def test_a_rectangle_chooses_the_cells_it_touches(page: Page, gallery: Locator) -> None:
    first, last = (gallery.get_by_role("option").nth(place).bounding_box() for place in (0, 1))
    page.mouse.move(first["x"] - 5, first["y"] + 10)
    page.mouse.down()
    page.mouse.move(last["x"] + 10, first["y"] + first["height"] + 30, steps=5)
    expect(page.locator(".marquee")).to_be_visible()
    page.mouse.up()
    assert len(chosen(page)) == 4
    expect(page.locator(".marquee")).to_have_count(0)


def test_the_keyboard_alone_reaches_every_cell(page: Page, gallery: Locator) -> None:
    gallery.focus()
    page.keyboard.press("ArrowRight")
    active = gallery.get_attribute("aria-activedescendant")
    page.keyboard.press("ArrowDown")
    assert gallery.get_attribute("aria-activedescendant") != active
    page.keyboard.press("ArrowUp")
    assert gallery.get_attribute("aria-activedescendant") == active
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    assert len(chosen(page)) == 3
    page.keyboard.press("Control+a")
    expect(page.get_by_text("3,922 chosen", exact=True)).to_be_visible()
    page.keyboard.press("End")
    expect(group(page, "Others")).to_be_visible()
    expect(page.locator(".tile-cursor")).to_be_in_viewport()


def test_thousands_of_cells_scroll_with_a_window_of_them_in_the_document(
    page: Page, site: Site, shared: Path, until: Callable[..., bool]
) -> None:
    case_id = unwritten_case(site, shared / "slides" / "marrow-fields", many_cells(8000, SIZE))
    page.goto(f"/cases/{case_id}#cells")
    page.locator(".tile-picture").first.wait_for()
    tiles = page.locator(".tile")
    for _ in range(12):
        page.get_by_role("listbox").evaluate("gallery => gallery.scrollBy(0, 5000)")
        expect(tiles.first).to_be_visible()
        assert tiles.count() < 400
    assert until(lambda: page.locator(".tile:not(:has(.tile-picture))").count() == 0)
    assert page.get_by_role("listbox").evaluate("gallery => gallery.scrollTop") > 50_000
