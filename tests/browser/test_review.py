"""Reviewing a case in the browser: changes, counts, other reviewers, the signature."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from node.codes import load_codes
from node.people.accounts import Person, Role, add_account, full_names
from node.people.passwords import Passwords
from node.results.result_writer import ResultWriter
from node.review.marking import Wanted
from node.settings import ReviewSettings, Settings
from node.web.identity import COOKIE
from node.work.signing_steps import SigningSteps
from tests.browser.axe import serious_faults
from tests.stored_cases import Site, slide_case, unwritten_case

OTHER = Person(name="weber", full_name="Dr. Anna Weber", role=Role.REVIEWER)


@pytest.fixture
def case_id(site: Site, shared: Path) -> str:
    return unwritten_case(site, shared / "slides" / "marrow-fields")


@pytest.fixture
def tiles(page: Page, case_id: str) -> Locator:
    """The pictures of the gallery, the myeloblasts first."""
    open_gallery(page, case_id)
    return page.get_by_role("option")


def open_gallery(page: Page, case_id: str) -> None:
    page.goto(f"/cases/{case_id}#cells")
    page.locator(".tile-picture").first.wait_for()


def expert(page: Page, class_name: str) -> Locator:
    """The expert's count of a class, in the table."""
    return page.locator(f'tr[data-class="{class_name}"] td.expert').first


def number(tile: Locator) -> int:
    return int(tile.get_attribute("id").removeprefix("cell-"))


def stored(site: Site, case_id: str) -> dict[int, str | None]:
    """The newest class of each changed cell, as the node keeps it."""
    return {change.cell: change.class_name for change in site.web_sources().reviewing.changes(case_id, 0)}


def change_elsewhere(site: Site, case_id: str, cell: int, class_name: str) -> None:
    """Another reviewer's change."""
    if OTHER.name not in full_names(site.database):
        who = {"name": OTHER.name, "full_name": OTHER.full_name, "role": OTHER.role, "password": "a quiet sentence"}
        add_account(site.database, Passwords(), **who, actor="test")
    reviewing = site.web_sources().reviewing
    seen = max((change.version for change in reviewing.history(case_id, 0, cell)), default=0)
    reviewing.change(case_id, 0, [Wanted(cell=cell, seen=seen, class_name=class_name)], OTHER)


def test_one_key_changes_the_class_and_the_count_follows(
    page: Page, tiles: Locator, site: Site, case_id: str, keep_picture: Callable[..., None]
) -> None:
    expect(expert(page, "myeloblast")).to_have_text("64")
    cells = [number(tiles.nth(place)) for place in (1, 2, 3)]
    tiles.nth(1).click()
    tiles.nth(3).click(modifiers=["Shift"])
    page.keyboard.press("l")
    expect(expert(page, "myeloblast")).to_have_text("61")
    expect(expert(page, "lymphocyte")).to_have_text("348")
    assert stored(site, case_id) == dict.fromkeys(cells, "lymphocyte")
    expect(page.locator('tr[data-class="myeloblast"] td.model').first).to_have_text("64")
    expect(page.locator(".tile-cursor")).to_have_count(1)  # work goes on with the next cell
    keep_picture(page, "review")
    page.keyboard.press("Control+z")
    expect(expert(page, "myeloblast")).to_have_text("64")
    assert stored(site, case_id) == dict.fromkeys(cells)
    page.keyboard.press("Control+y")
    expect(expert(page, "myeloblast")).to_have_text("61")
    page.reload()
    expect(expert(page, "myeloblast")).to_have_text("61")


def test_every_figure_of_the_count_follows(page: Page, tiles: Locator) -> None:
    """Percentage, limits, bar and M:E ratio; the model's stay beside them."""
    row = page.locator('tr[data-class="segmented neutrophil"]')
    limits = row.locator("td.limits").inner_text()
    ratio = page.locator(".figure", has_text="M:E")
    former = ratio.locator("b").inner_text()
    expect(row.locator(".notch")).to_have_count(0)
    row.get_by_role("button", name="Segmented neutrophil").click()
    tiles.first.click()
    page.keyboard.press("Control+a")
    page.keyboard.press("l")
    expect(expert(page, "segmented neutrophil")).to_have_text("0")
    expect(row.locator("td.expert").last).to_have_text("0.0")
    expect(row.locator("td.limits")).not_to_have_text(limits)
    expect(row.locator(".notch")).to_have_count(1)
    expect(ratio).to_contain_text(f"(model {former})")
    expect(ratio.locator("b")).not_to_have_text(former)


def test_a_cell_is_confirmed_rejected_and_dropped_on_a_class(
    page: Page, tiles: Locator, site: Site, case_id: str
) -> None:
    confirmed, rejected, dropped = (number(tiles.nth(place)) for place in (0, 1, 2))
    progress = page.get_by_role("progressbar", name="Mandatory reviews")
    expect(progress).to_have_attribute("aria-valuenow", "0")
    tiles.nth(0).click()
    page.keyboard.press("Enter")
    expect(progress).to_have_attribute("aria-valuenow", "1")
    page.keyboard.press("Delete")
    expect(expert(page, "others")).to_have_text("79")
    page.locator(f"#cell-{dropped}").drag_to(page.locator('tr[data-class="monocyte"]'))
    expect(expert(page, "monocyte")).to_have_text("47")
    wanted = {confirmed: "myeloblast", rejected: "others", dropped: "monocyte"}
    assert stored(site, case_id) == wanted


def test_the_keys_can_follow_the_rows_of_the_keyboard(page: Page, tiles: Locator) -> None:
    row = page.locator('tr[data-class="lymphocyte"]')
    expect(row.locator("kbd")).to_have_text("L")
    page.get_by_role("combobox", name="Keys").select_option("by row")
    expect(row.locator("kbd")).to_have_text("R")
    page.reload()
    tiles.first.click()
    page.keyboard.press("r")
    expect(expert(page, "lymphocyte")).to_have_text("346")


@pytest.mark.parametrize(("button", "kept"), [("Take theirs", "monocyte"), ("Set mine again", "lymphocyte")])
def test_whoever_comes_second_is_told_who_was_first(
    page: Page,
    tiles: Locator,
    site: Site,
    case_id: str,
    keep_picture: Callable[..., None],
    button: str,
    kept: str,
) -> None:
    cells = [number(tiles.nth(place)) for place in (0, 1)]
    tiles.nth(0).click()
    tiles.nth(1).click(modifiers=["Shift"])
    page.route("**/review/changes?*", lambda route: route.abort())  # the news comes too late
    change_elsewhere(site, case_id, cells[0], "monocyte")
    page.keyboard.press("l")
    dialog = page.get_by_role("dialog", name="Dr. Anna Weber changed this cell first")
    expect(dialog).to_be_visible()
    expect(dialog.get_by_role("row", name=re.compile(f"{cells[0]} monocyte Dr. Anna Weber"))).to_be_visible()
    assert stored(site, case_id) == {cells[0]: "monocyte"}
    keep_picture(page, "conflict")
    assert serious_faults(page) == []
    page.unroute("**/review/changes?*")
    dialog.get_by_role("button", name=button).click()
    expect(expert(page, "lymphocyte")).to_have_text("346" if kept == "monocyte" else "347")
    assert stored(site, case_id) == {cells[0]: kept, cells[1]: "lymphocyte"}


def test_what_another_reviewer_does_appears(page: Page, tiles: Locator, site: Site, case_id: str) -> None:
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    cell = number(tiles.nth(4))
    change_elsewhere(site, case_id, cell, "plasma cell")
    expect(expert(page, "plasma cell")).to_have_text("440")
    expect(page.get_by_text("Dr. Anna Weber changed one cell")).to_be_visible()
    expect(page.get_by_role("group", name="Myeloblast").locator(f"#cell-{cell}")).to_have_count(0)


def test_a_change_that_cannot_be_stored_is_taken_back_and_said(page: Page, tiles: Locator) -> None:
    page.route("**/review/changes", lambda route: route.abort())
    tiles.first.click()
    page.keyboard.press("l")
    expect(page.get_by_role("alert")).to_be_visible()
    expect(expert(page, "lymphocyte")).to_have_text("345")
    expect(page.get_by_role("group", name="Myeloblast").locator(".tile-done")).to_have_count(0)
    expect(page.get_by_role("button", name="Undo")).to_be_disabled()


def test_details_of_a_cell_with_its_explanation(
    page: Page, tiles: Locator, site: Site, case_id: str, keep_picture: Callable[..., None]
) -> None:
    tiles.first.click()
    pane = page.get_by_role("region", name=re.compile(r"^Cell \d+$"))
    expect(pane.get_by_role("heading")).to_contain_text("Myeloblast")
    expect(pane.get_by_role("list", name="Probabilities of the model").get_by_role("listitem").first).to_contain_text(
        "BL"
    )
    expect(pane.get_by_text("µm²")).to_be_visible()
    pane.get_by_role("checkbox", name="Explain").check()
    heat = pane.locator("canvas.heat")
    expect(heat).to_be_visible()
    middle, corner = heat.evaluate(
        "canvas => [7, 0].map(at => canvas.getContext('2d').getImageData(at, at, 1, 1).data[3])"
    )
    assert middle > 200
    assert corner < 20
    keep_picture(page, "cell")
    cell = number(tiles.first)
    page.keyboard.press("m")
    page.goto(f"/cases/{case_id}?cell={cell}")
    expect(pane.get_by_role("heading")).to_contain_text("Monocyte")
    expect(pane.get_by_role("list", name="History of the cell")).to_contain_text("monocyte Test Reviewer")


def test_signing_with_open_reviews_needs_a_reason_and_makes_the_result_final(
    page: Page, tiles: Locator, site: Site, case_id: str, keep_picture: Callable[..., None]
) -> None:
    cell = number(tiles.nth(8))
    tiles.first.click()
    page.keyboard.press("l")
    expect(expert(page, "lymphocyte")).to_have_text("346")
    page.get_by_role("button", name="Sign…").click()
    dialog = page.get_by_role("dialog", name="Sign the count")
    expect(dialog).to_contain_text("You sign as Test Reviewer")
    expect(dialog).to_contain_text("1 reviewed, 1 of them changed")
    sign = dialog.get_by_role("button", name="Sign", exact=True)
    expect(sign).to_be_disabled()
    dialog.get_by_role("textbox").fill("urgent: the open cells do not change the diagnosis")
    keep_picture(page, "sign")
    assert serious_faults(page) == []
    sign.click()
    expect(dialog).to_have_count(0)
    expect(page.get_by_text("Signed by Test Reviewer, the result is on its way")).to_be_visible()
    signed = site.web_sources().reviewing.open(case_id).signed
    assert (signed.full_name, signed.status, signed.reason[:6]) == ("Test Reviewer", "F", "urgent")
    expect(page.locator(".marks").get_by_text("Delivering").first).to_be_visible()
    settings = Settings(home=site.home)
    steps = SigningSteps(settings, site.database, site.work, ResultWriter(settings, load_codes()))
    steps.encode(case_id, signed.revision)
    steps.deliver(case_id, signed.revision)
    expect(page.get_by_text("Final", exact=True)).to_be_visible()
    with page.expect_download() as report:
        page.get_by_role("link", name="Report (PDF)").click()
    assert report.value.suggested_filename.endswith(".pdf")
    keep_picture(page, "signed")
    change_elsewhere(site, case_id, cell, "monocyte")
    expect(page.get_by_text("Changed since signed")).to_be_visible()
    expect(page.get_by_role("button", name="Sign correction…")).to_be_visible()
    assert serious_faults(page) == []


def test_a_viewer_sees_and_changes_nothing(visitor: Page, site: Site, address: str, case_id: str) -> None:
    visitor.context.add_cookies([{"name": COOKIE, "value": site.sign_in(Role.VIEWER), "url": address}])
    open_gallery(visitor, case_id)
    visitor.get_by_role("option").first.click()
    visitor.keyboard.press("l")
    expect(visitor.get_by_role("region", name=re.compile(r"^Cell \d+$"))).to_be_visible()
    expect(visitor.get_by_role("button", name="Sign…")).to_have_count(0)
    expect(visitor.get_by_role("button", name="Confirm")).to_have_count(0)
    assert stored(site, case_id) == {}


class TestBlind:
    """A share of the cells hides what the model thinks until an expert has chosen."""

    @pytest.fixture
    def review(self) -> ReviewSettings:
        return ReviewSettings(blind_share=0.01)

    def test_the_class_is_shown_after_the_choice(
        self, page: Page, tiles: Locator, keep_picture: Callable[..., None]
    ) -> None:
        hidden = page.get_by_role("group", name="Blind review: choose the class first")
        before = hidden.get_by_role("option").count()
        assert 10 < before < 90
        hidden.get_by_role("option").first.click()
        pane = page.get_by_role("region", name=re.compile(r"^Cell \d+$"))
        expect(pane.get_by_text("The model's class is shown once you have chosen one.")).to_be_visible()
        expect(pane.get_by_role("checkbox", name="Explain")).to_be_disabled()
        keep_picture(page, "blind")
        cell = number(hidden.get_by_role("option").first)
        page.keyboard.press("Enter")  # there is nothing to confirm
        expect(hidden.get_by_role("option")).to_have_count(before)
        page.locator(f"#cell-{cell}").click()
        page.keyboard.press("c")
        expect(hidden.get_by_role("option")).to_have_count(before - 1)
        page.evaluate(f"location.hash = 'cells&cell={cell}'")
        expect(pane.get_by_text("Model:")).to_be_visible()

    def test_a_signature_ends_it_also_for_who_comes_later(self, page: Page, tiles: Locator) -> None:
        hidden = page.get_by_role("group", name="Blind review: choose the class first")
        row = page.locator(".counts").get_by_role("row", name="Blind review")
        expect(row).to_have_count(1)
        count = """() => [...document.querySelectorAll('tr[data-class]')]
            .reduce((sum, row) => sum + (parseInt(row.querySelector('td.expert')?.textContent) || 0), 0)"""
        waiting, shown = hidden.get_by_role("option").count(), page.evaluate(count)
        assert waiting > 10
        page.get_by_role("button", name="Sign…").click()
        dialog = page.get_by_role("dialog", name="Sign the count")
        dialog.get_by_role("textbox").fill("nobody is there who could look at them")
        dialog.get_by_role("button", name="Sign", exact=True).click()
        expect(dialog).to_have_count(0)
        for _ in range(2):
            page.wait_for_function(f"({count})() === {shown + waiting}")
            expect(hidden).to_have_count(0)
            expect(row).to_have_count(0)
            page.reload()
            page.locator(".tile-picture").first.wait_for()

    def test_nothing_on_the_page_gives_a_hidden_class_away(
        self, page: Page, site: Site, shared: Path, keep_picture: Callable[..., None]
    ) -> None:
        open_gallery(page, slide_case(site, shared / "slides" / "marrow-fields"))
        row = page.locator(".counts").get_by_role("row", name="Blind review")
        hidden = page.get_by_role("group", name="Blind review: choose the class first").get_by_role("option")
        before = hidden.count()
        expect(row).to_contain_text(str(before))
        expect(page.get_by_role("link", name="Report (PDF)")).to_have_count(0)
        expect(page.get_by_role("link", name="result.json")).to_have_count(0)
        expect(page.get_by_text("result.json (blind review)")).to_be_visible()
        cell = number(hidden.first)
        page.get_by_role("tab", name="Overview").click()
        expect(page.get_by_text("Blind review: shown once an expert has chosen")).to_be_visible()
        page.evaluate(f"location.hash = 'slide&cell={cell}&classes=blind'")
        expect(page.get_by_role("checkbox", name="Cells", exact=True)).to_be_visible()
        expect(page.get_by_role("checkbox", name="Segmentation")).to_have_count(0)
        until_neutral = """() => {
            const canvas = document.querySelector('.viewer-overlay')
            if (!canvas?.width) return false
            const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)
            let neutral = 0
            for (let at = 0; at < data.length; at += 4) {
                const [r, g, b, a] = data.subarray(at, at + 4)
                if (a > 200 && Math.abs(r - 0x6b) + Math.abs(g - 0x76) + Math.abs(b - 0x83) < 30) neutral++
            }
            return neutral > 20
        }"""
        page.wait_for_function(until_neutral)
        keep_picture(page, "blind-slide")
        assert serious_faults(page) == []
