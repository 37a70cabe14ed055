"""The agreement of experts and model, by class and month."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from node.people.accounts import Person, Role
from node.review.marking import Wanted
from node.settings import ReviewSettings, Settings
from tests.browser.axe import serious_faults
from tests.stored_cases import Site, reported_case

EXPERT = Person(name="weber", full_name="Dr. Anna Weber", role=Role.REVIEWER)


@pytest.fixture
def review() -> ReviewSettings:
    return ReviewSettings(blind_share=0.5)


def test_kappa_is_shown_by_class_and_month(
    page: Page, site: Site, review: ReviewSettings, keep_picture: Callable[..., None]
) -> None:
    case_id = reported_case(site)
    reviewing = site.web_sources(site=Settings(home=site.home, review=review)).reviewing
    cells = reviewing.open(case_id).analysis.cells
    chosen = [
        Wanted(cell=cell.id, seen=0, class_name="monocyte" if cell.id % 10 == 0 else cell.class_name) for cell in cells
    ]
    changes = reviewing.change(case_id, 0, chosen, EXPERT)
    page.goto("/agreement")
    expect(page.get_by_role("heading", name="Agreement of experts and model")).to_be_visible()
    whole = page.get_by_role("row", name="All classes")
    expect(whole.get_by_role("cell").first).to_have_text(str(sum(change.blind for change in changes)))
    page.get_by_role("button", name="All choices").click()
    expect(whole.get_by_role("cell").first).to_have_text("240")
    agreed = sum(change.model == change.class_name for change in changes)
    expect(whole).to_contain_text(f"{100 * agreed / 240:.1f}")
    expect(page.get_by_role("columnheader", name=f"{changes[0].at:%Y-%m}")).to_be_visible()
    expect(page.get_by_role("row", name="Lymphocyte", exact=False).first).to_be_visible()
    keep_picture(page, "agreement")
    assert serious_faults(page) == []


def test_nothing_reviewed_says_how_agreement_comes(page: Page) -> None:
    page.goto("/agreement")
    expect(page.get_by_text("Review the cells of a case")).to_be_visible()
