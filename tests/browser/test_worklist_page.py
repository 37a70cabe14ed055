"""The worklist as a person uses it."""

import re
from collections.abc import Callable
from datetime import UTC, datetime

from playwright.sync_api import Page, expect

from node import cases
from node.people.accounts import Role
from node.tables import cases as case_table
from node.tables import orders, slides
from node.views import CaseState
from node.web.identity import COOKIE
from tests.browser.axe import serious_faults
from tests.builders import build_no_result, build_order, build_report
from tests.stored_cases import Site, store_case

NOW = datetime(2026, 10, 5, 9, tzinfo=UTC)
HOSTILE = "<img src=x onerror=alert(1)>^Mallory"


def test_rows_show_state_cause_and_priority(page: Page, site: Site, keep_picture: Callable[..., None]) -> None:
    store_case(site, CaseState.RUNNING, accession_number="S26-00021", priority="S", stage="cells", progress=0.42)
    store_case(site, CaseState.QUEUED, accession_number="S26-00022", priority="A", patient_name="Okafor^Ngozi")
    store_case(site, CaseState.ORDERED, accession_number="S26-00023", patient_name=HOSTILE)
    cause = "PatientID of slide and order differ: correct the order in the LIS, or attach the slide to another order"
    store_case(site, CaseState.HELD, cause=cause, accession_number="S26-00024")
    store_case(site, CaseState.FAILED, cause="the PACS did not answer: requeue the case", accession_number="S26-00025")
    store_case(site, CaseState.CANCELLED, cause="cancelled by the LIS", accession_number="S26-00026")
    alerts = ["blasts 24 %: look at once"]
    store_case(site, CaseState.REPORTED, report=build_report(), urgent=True, alerts=alerts)
    page.goto("/")
    expect(page.get_by_role("row")).to_have_count(8)
    expect(page.get_by_role("row").nth(1)).to_contain_text("Urgent")
    expect(page.get_by_text(cause)).to_be_visible()
    expect(page.get_by_text("<img src=x onerror=alert(1)>, Mallory")).to_be_visible()
    expect(page.get_by_role("progressbar", name="Finding cells")).to_have_attribute("aria-valuenow", "42")
    expect(page.get_by_text("STAT", exact=True)).to_be_visible()
    expect(page.get_by_role("status")).to_have_text("Live")
    assert serious_faults(page) == []
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


def test_a_held_case_is_accepted_from_the_worklist(page: Page, site: Site, keep_picture: Callable[..., None]) -> None:
    cause = "not countable: no countable region; look at the slide"
    case_id = store_case(site, CaseState.HELD, cause=cause, report=build_no_result(), accession_number="S26-00024")
    page.goto("/")
    page.get_by_role("button", name="Decide on S26-00024").click()
    dialog = page.get_by_role("dialog", name="Case S26-00024")
    expect(dialog.get_by_text(cause)).to_be_visible()
    expect(dialog.get_by_role("radio", name="Accept the result")).to_be_checked()
    assert serious_faults(page) == []
    keep_picture(page, "worklist-decide")
    dialog.get_by_label("Reason").fill("a clot, seen by microscope")
    dialog.get_by_role("button", name="Accept the result").click()
    expect(dialog).to_have_count(0)
    row = page.get_by_role("row").filter(has_text="S26-00024")
    expect(row.get_by_text("Reported")).to_be_visible()
    page.goto(f"/cases/{case_id}")
    expect(page.get_by_text("a clot, seen by microscope (reviewer)")).to_be_visible()


def test_somebody_quicker_is_told(page: Page, site: Site) -> None:
    case_id = store_case(site, CaseState.HELD, cause="no countable region", report=build_no_result())
    page.goto(f"/cases/{case_id}")
    page.get_by_role("button", name="Accept the result").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Reason").fill("seen")
    with site.database.write() as connection:
        cases.move(connection, case_id, CaseState.REPORTED, "seen by me", actor="otto")
    dialog.get_by_role("button", name="Accept the result").click()
    expect(dialog.get_by_role("alert")).to_contain_text("it is reported now")
    expect(dialog.get_by_role("button", name="Count again")).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(page.get_by_role("group", name="What can be done").get_by_role("button")).to_have_text(
        ["Count again", "Withdraw the result"]
    )


def test_a_slide_is_attached_by_keyboard_alone(page: Page, site: Site) -> None:
    order = cases.ORDER.dump_python(build_order(accession_number="S26-00031"), mode="json")
    with site.database.write() as connection:
        times = {"received_at": NOW, "updated_at": NOW}
        row = {"id": "O1", "business_key": "O1", "state": "open", "body": order}
        connection.execute(orders.insert().values(**row, **times))
        for number, patient in ((1, "TEST-4711"), (2, "TEST-1")):
            connection.execute(
                slides.insert().values(
                    series_instance_uid=f"2.25.{number}",
                    study_instance_uid="2.25.9",
                    state="complete",
                    container_identifier=f"GLASS-{number}",
                    patient_id=patient,
                    patient_name="Muster^Maria",
                    first_instance_at=NOW,
                    last_instance_at=NOW,
                )
            )
    store_case(site, CaseState.ORDERED, order_id="O1", accession_number="S26-00031")
    page.goto("/")
    page.get_by_role("button", name="Decide on S26-00031").focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("same patient")).to_have_count(1)
    assert serious_faults(page) == []
    search = dialog.get_by_role("searchbox")
    while not search.evaluate("field => field === document.activeElement"):
        page.keyboard.press("Tab")
    page.keyboard.type("glass-1")
    expect(dialog.get_by_role("radio", name="GLASS")).to_have_count(1)
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(dialog.get_by_role("radio", name="GLASS-1")).to_be_checked()
    page.keyboard.press("Enter")
    expect(dialog).to_have_count(0)
    row = page.get_by_role("row").filter(has_text="S26-00031")
    expect(row.get_by_text("Queued")).to_be_visible()


def test_a_viewer_sees_no_button(visitor: Page, site: Site, address: str) -> None:
    cookie = {"name": COOKIE, "value": site.sign_in(Role.VIEWER), "url": address}
    visitor.context.add_cookies([cookie])
    case_id = store_case(site, CaseState.HELD, cause="no countable region", report=build_no_result())
    visitor.goto("/")
    expect(visitor.get_by_text("Test Viewer")).to_be_visible()
    expect(visitor.get_by_text("no countable region")).to_be_visible()
    expect(visitor.get_by_role("button", name="Decide on")).to_have_count(0)
    visitor.goto(f"/cases/{case_id}")
    expect(visitor.get_by_role("alert")).to_have_text("no countable region")
    expect(visitor.get_by_role("group", name="What can be done")).to_have_count(0)


def test_thousands_of_changes_do_not_freeze_the_page(page: Page, site: Site) -> None:
    """Half a thousand cases change at once, ten times over, while somebody types; every frame comes in time."""
    ids = [store_case(site, CaseState.RUNNING, accession_number=f"B-{number:04}") for number in range(500)]
    page.goto("/")
    expect(page.get_by_text("1–50 of 500")).to_be_visible()
    page.evaluate(
        "() => { let last = performance.now(); window.longest = 0;"
        " const frame = now => { longest = Math.max(longest, now - last); last = now; requestAnimationFrame(frame); };"
        " requestAnimationFrame(frame); }"
    )
    for step in range(1, 11):
        with site.database.write() as connection:
            values = {"progress": step / 10, "stage": "cells", "updated_at": datetime.now(UTC)}
            connection.execute(case_table.update().where(case_table.c.id.in_(ids)).values(**values))
        page.get_by_role("searchbox").press("End")
    expect(page.get_by_role("progressbar").first).to_have_attribute("aria-valuenow", "100")
    assert page.evaluate("longest") < 1000
    store_case(site, CaseState.ORDERED, accession_number="A-NEW", priority="S")
    expect(page.get_by_role("link", name="A-NEW")).to_be_visible()
