"""The case page as a person uses it."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from node.views import CaseState
from tests.builders import build_no_result, build_slide_info
from tests.stored_cases import Site, reported_case, store_case


def test_result_is_shown_with_its_limits_and_labels(page: Page, site: Site, keep_picture: Callable[..., None]) -> None:
    case_id = reported_case(site, slide=build_slide_info(synthetic=True), warnings=("stain is weak: compare by eye",))
    page.goto(f"/cases/{case_id}")
    expect(page.get_by_role("heading", name="Muster, Maria")).to_be_visible()
    expect(page.get_by_text("Not for diagnostic use.")).to_be_visible()
    expect(page.get_by_text("Preliminary", exact=True)).to_be_visible()
    expect(page.get_by_text("Synthetic", exact=True)).to_be_visible()
    row = page.get_by_role("row", name="Myeloblast")
    expect(row).to_be_visible()
    assert row.locator("svg rect").last.bounding_box()["width"] > 1
    expect(page.get_by_text("stain is weak: compare by eye")).to_be_visible()
    expect(page.get_by_text("association rejected")).to_be_visible()
    page.get_by_role("tab", name="Overview").click()
    picture = page.get_by_role("img", name="The slide with the countable region")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.naturalWidth") > 0
    keep_picture(page, "case")


def test_the_percentages_of_the_table_add_to_100(page: Page, site: Site) -> None:
    page.goto(f"/cases/{reported_case(site)}")
    expect(page.get_by_role("row", name="All counted cells")).to_be_visible()
    for side in ("model", "expert"):
        shown = page.locator(f".counts tr[data-class] td.{side} + td.{side}").all_inner_texts()
        assert sum(float(text) for text in shown if text) == pytest.approx(100, abs=0.01)


def test_an_object_is_saved_to_the_disk(page: Page, site: Site) -> None:
    case_id = reported_case(site)
    page.goto(f"/cases/{case_id}")
    with page.expect_download() as download:
        page.get_by_role("link", name="result.json").click()
    assert download.value.suggested_filename == f"{case_id}-result.json"


def test_a_slide_that_could_not_be_counted_says_why(page: Page, site: Site, keep_picture: Callable[..., None]) -> None:
    report = build_no_result()
    cause = f"{report.reason}: look at the slide, then accept or cancel the case"
    case_id = store_case(site, CaseState.HELD, cause=cause, report=report)
    page.goto(f"/cases/{case_id}")
    expect(page.get_by_role("alert")).to_have_text(cause)
    expect(page.get_by_text(report.reason, exact=True)).to_be_visible()
    keep_picture(page, "case-held")


def test_an_unknown_case_leads_back_to_the_worklist(page: Page, site: Site) -> None:
    page.goto("/cases/C0")
    expect(page.get_by_role("alert")).to_contain_text("no such case")
