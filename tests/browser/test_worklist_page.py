"""The worklist as a person uses it."""

import re
from collections.abc import Callable

from playwright.sync_api import Page, expect

from node import cases
from node.views import CaseState
from tests.stored_cases import Site, reported_case, store_case

HOSTILE = "<img src=x onerror=alert(1)>^Mallory"


def test_rows_show_state_cause_and_priority(page: Page, site: Site, keep_picture: Callable[..., None]) -> None:
    store_case(site, CaseState.RUNNING, accession_number="S26-00021", priority="S", stage="cells", progress=0.42)
    store_case(site, CaseState.QUEUED, accession_number="S26-00022", priority="A", patient_name="Okafor^Ngozi")
    store_case(site, CaseState.ORDERED, accession_number="S26-00023", patient_name=HOSTILE)
    cause = "PatientID of slide and order differ: correct the order in the LIS, or attach the slide to another order"
    store_case(site, CaseState.HELD, cause=cause, accession_number="S26-00024")
    store_case(site, CaseState.FAILED, cause="the PACS did not answer: requeue the case", accession_number="S26-00025")
    store_case(site, CaseState.CANCELLED, cause="cancelled by the LIS", accession_number="S26-00026")
    reported_case(site)
    page.goto("/")
    expect(page.get_by_role("row")).to_have_count(8)
    expect(page.get_by_text(cause)).to_be_visible()
    expect(page.get_by_text("<img src=x onerror=alert(1)>, Mallory")).to_be_visible()
    expect(page.get_by_role("progressbar", name="Finding cells")).to_have_attribute("aria-valuenow", "42")
    expect(page.get_by_text("STAT", exact=True)).to_be_visible()
    expect(page.get_by_role("status")).to_have_text("Live")
    keep_picture(page, "worklist")


def test_progress_and_new_cases_appear_without_reloading(page: Page, site: Site) -> None:
    case_id = store_case(site, CaseState.RUNNING, stage="tiles", progress=0.1)
    page.goto("/")
    bar = page.get_by_role("progressbar")
    expect(bar).to_have_attribute("aria-valuenow", "10")
    for progress in (0.35, 0.6):
        with site.database.write() as connection:
            cases.note(connection, case_id, "", stage="cells", progress=progress)
        expect(bar).to_have_attribute("aria-valuenow", str(round(progress * 100)))
    store_case(site, CaseState.ORDERED, accession_number="S26-00099")
    expect(page.get_by_role("link", name="S26-00099")).to_be_visible()
    with site.database.write() as connection:
        cases.move(connection, case_id, CaseState.DELIVERING, "")
        cases.move(connection, case_id, CaseState.REPORTED, "")
    expect(bar).to_have_count(0)
    expect(page.get_by_role("button", name="Reported 1")).to_be_visible()


def test_search_filter_sort_and_pages_are_in_the_address(page: Page, site: Site) -> None:
    for number in range(60):
        store_case(site, CaseState.ORDERED, accession_number=f"S26-{number:05}")
    page.goto("/")
    expect(page.get_by_text("1–50 of 60")).to_be_visible()
    page.get_by_role("button", name="Next").click()
    expect(page.get_by_text("51–60 of 60")).to_be_visible()
    expect(page).to_have_url(re.compile(r"page=2"))
    page.go_back()
    expect(page.get_by_text("1–50 of 60")).to_be_visible()
    page.get_by_role("button", name="Accession").click()
    page.get_by_role("button", name="Accession").click()
    expect(page.get_by_role("link", name="S26-00059")).to_be_visible()
    expect(page.get_by_role("columnheader", name="Accession")).to_have_attribute("aria-sort", "descending")
    page.keyboard.press("/")
    page.keyboard.type("00042")
    expect(page.get_by_role("row")).to_have_count(2)
    page.reload()
    expect(page.get_by_role("link", name="S26-00042")).to_be_visible()
    expect(page.get_by_role("searchbox")).to_have_value("00042")


def test_an_empty_worklist_says_how_cases_come(page: Page) -> None:
    page.goto("/")
    expect(page.get_by_text("Send an order by MLLP or a slide by C-STORE")).to_be_visible()
