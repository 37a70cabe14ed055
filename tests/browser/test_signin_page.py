"""Signing in and out as a person does."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from node.people.accounts import Role, add_account, disable_account
from node.people.passwords import Passwords
from node.settings import WebSettings
from node.web.app import create_web
from node.web.server import WebServer
from tests.browser.axe import serious_faults
from tests.stored_cases import Site, reported_case

PASSWORD = "a quiet sentence"


@pytest.fixture
def anna(site: Site) -> None:
    who = {"name": "anna", "full_name": "Dr. Anna Beispiel", "role": Role.VIEWER, "password": PASSWORD}
    add_account(site.database, Passwords(), **who, actor="root")


def sign_in(page: Page, password: str = PASSWORD) -> None:
    page.get_by_label("Name").fill("anna")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


@pytest.mark.usefixtures("anna")
def test_signing_in_leads_back_to_the_page_one_wanted(
    visitor: Page, site: Site, keep_picture: Callable[..., None]
) -> None:
    case_id = reported_case(site)
    visitor.goto(f"/cases/{case_id}?x=1#overview")
    expect(visitor.get_by_role("heading", name="Sign in")).to_be_visible()
    assert serious_faults(visitor) == []
    keep_picture(visitor, "signin")
    sign_in(visitor, "not this one")
    expect(visitor.get_by_role("alert")).to_contain_text("name or password is wrong")
    expect(visitor.get_by_label("Password")).to_have_value("")
    assert serious_faults(visitor) == []
    sign_in(visitor)
    expect(visitor).to_have_url(re.compile(rf"/cases/{case_id}\?x=1#"))
    expect(visitor.get_by_text("Dr. Anna Beispiel")).to_be_visible()
    visitor.get_by_role("button", name="Sign out").click()
    expect(visitor.get_by_role("heading", name="Sign in")).to_be_visible()
    visitor.goto("/")
    expect(visitor.get_by_role("heading", name="Sign in")).to_be_visible()


@pytest.mark.usefixtures("anna")
def test_the_keyboard_alone_signs_in(visitor: Page) -> None:
    visitor.goto("/")
    expect(visitor.get_by_label("Name")).to_be_focused()
    visitor.keyboard.type("anna")
    visitor.keyboard.press("Tab")
    visitor.keyboard.type(PASSWORD)
    visitor.keyboard.press("Enter")
    expect(visitor.get_by_role("heading", name="Worklist")).to_be_visible()


@pytest.mark.usefixtures("anna")
@pytest.mark.parametrize("elsewhere", ["https://evil.example/", "//evil.example", "javascript:alert(1)", "/signin"])
def test_signing_in_leads_to_no_other_site(visitor: Page, address: str, elsewhere: str) -> None:
    visitor.goto(f"/signin?next={elsewhere}")
    sign_in(visitor)
    expect(visitor).to_have_url(f"{address}/")


@pytest.mark.usefixtures("anna")
def test_a_new_password_is_set(visitor: Page) -> None:
    visitor.goto("/")
    sign_in(visitor)
    visitor.get_by_role("button", name="Password").click()
    visitor.get_by_label("Password now").fill("not this one")
    visitor.get_by_label("New password").fill("another sentence")
    visitor.get_by_role("button", name="Change it").click()
    expect(visitor.get_by_role("alert")).to_contain_text("not your password")
    assert serious_faults(visitor) == []
    visitor.get_by_label("Password now").fill(PASSWORD)
    visitor.get_by_role("button", name="Change it").click()
    expect(visitor.get_by_text("Your password is changed.")).to_be_visible()
    visitor.get_by_role("button", name="Close").click()
    visitor.get_by_role("button", name="Sign out").click()
    sign_in(visitor, "another sentence")
    expect(visitor.get_by_role("heading", name="Worklist")).to_be_visible()


@pytest.mark.usefixtures("anna")
def test_an_open_page_notices_that_its_session_has_ended(visitor: Page, site: Site) -> None:
    visitor.goto("/")
    sign_in(visitor)
    expect(visitor.get_by_role("status")).to_have_text("Live")
    disable_account(site.database, "anna", actor="root")
    expect(visitor.get_by_role("heading", name="Sign in")).to_be_visible()


def test_the_demo_reviewer_is_announced(visitor: Page, site: Site, pages, keep_picture: Callable[..., None]) -> None:
    sources = site.web_sources(static=pages, settings=WebSettings(demo_reviewer=True))
    server = WebServer(create_web(sources), "127.0.0.1", 0)
    server.start()
    context = visitor.context.browser.new_context()
    try:
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{server.port}/")
        expect(page.get_by_text("Demo reviewer")).to_be_visible()
        expect(page.get_by_text("a demonstration: nobody has signed in")).to_be_visible()
        expect(page.get_by_role("status")).to_have_text("Live")
        assert serious_faults(page) == []
        keep_picture(page, "demo")
    finally:
        context.close()
        server.stop()
