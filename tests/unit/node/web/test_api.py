"""What the pages read: worklist, case, files, and refusals of one shape."""

import pytest
from fastapi.testclient import TestClient

from node.views import CaseState
from tests.builders import build_no_result
from tests.stored_cases import Site, reported_case, store_case


def test_worklist_is_searched_filtered_sorted_and_paged(client: TestClient, site: Site) -> None:
    late = store_case(site, CaseState.ORDERED, accession_number="A-2", patient_name="Zeder^Ida")
    stat = store_case(site, CaseState.QUEUED, accession_number="A-1", priority="S")
    held = store_case(site, CaseState.HELD, cause="patient differs: check the order", accession_number="B-1")

    def ids(**query: object) -> list[str]:
        return [row["case_id"] for row in client.get("/api/worklist", params=query).json()["rows"]]

    blasts = store_case(site, CaseState.REPORTED, accession_number="C-1", urgent=True)
    assert ids() == [blasts, stat, late, held]
    assert ids(state=("queued", "ordered", "held")) == [stat, late, held]
    assert ids(search="zed") == [late]
    assert ids(state="held") == [held]
    assert ids(sort="accession", descending=True) == [blasts, held, late, stat]
    assert ids(sort="accession", offset=1, limit=1) == [late]
    answer = client.get("/api/worklist").json()
    assert answer["total"] == 4
    assert [row["urgent"] for row in answer["rows"]] == [True, False, False, False]
    assert answer["counts"]["queued"] == 1
    assert answer["rows"][3]["cause"] == "patient differs: check the order"


def test_case_lists_its_history_deliveries_and_files(client: TestClient, site: Site) -> None:
    case_id = reported_case(site)
    answer = client.get(f"/api/cases/{case_id}").json()
    assert answer["row"]["state"] == "reported"
    assert answer["order"]["accession_number"] == "S26-00017"
    assert [event["state"] for event in answer["events"]][:2] == ["ordered", "waiting"]
    assert answer["deliveries"][0]["last_error"] == "association rejected"
    assert {file["kind"] for file in answer["files"]} == {"RESULT", "OVERVIEW", "ORU"}
    assert "path" not in answer["files"][0]


def test_a_case_without_a_count_says_why(client: TestClient, site: Site) -> None:
    report = build_no_result()
    case_id = store_case(site, CaseState.REPORTED, report=report)
    assert client.get(f"/api/cases/{case_id}").json()["status"] == "X"
    assert client.get(f"/api/cases/{case_id}/files/result.json").json()["reason"] == report.reason


def test_a_file_is_shown_or_saved_under_the_name_of_its_case(client: TestClient, site: Site) -> None:
    case_id = reported_case(site)
    shown = client.get(f"/api/cases/{case_id}/files/overview.png")
    assert shown.headers["content-type"] == "image/png"
    assert "content-disposition" not in shown.headers
    saved = client.get(f"/api/cases/{case_id}/files/overview.png", params={"download": True})
    assert saved.headers["content-disposition"] == f'attachment; filename="{case_id}-overview.png"'


@pytest.mark.parametrize(
    ("path", "status", "field"),
    [
        ("/api/cases/C0", 404, "case_id"),
        ("/api/cases/C0/files/result.json", 404, "case_id"),
        ("/api/worklist?limit=0", 422, "limit"),
        ("/api/worklist?state=lost", 422, "state.0"),
        ("/api/worklist?offset=x", 422, "offset"),
        ("/nowhere", 404, ""),
        ("/", 503, ""),
    ],
)
def test_refusals_name_field_and_remedy(client: TestClient, path: str, status: int, field: str) -> None:
    answer = client.get(path)
    assert answer.status_code == status
    assert set(answer.json()) == {"error", "field", "remedy"}
    assert answer.json()["field"] == field
    assert answer.json()["remedy"]


def test_no_name_leads_out_of_a_case(client: TestClient, site: Site) -> None:
    case_id = reported_case(site)
    for name in ("..%2f..%2fnode.sqlite", "%2fetc%2fpasswd", "other.json"):
        assert client.get(f"/api/cases/{case_id}/files/{name}").status_code == 404


def test_a_fault_answers_without_its_text(client: TestClient, site: Site) -> None:
    with site.database.write() as connection:
        connection.exec_driver_sql("ALTER TABLE cases RENAME TO cases_gone")
    answer = client.get("/api/worklist")
    assert answer.status_code == 503
    assert "cases" not in answer.json()["error"]
    assert answer.headers["content-security-policy"]


def test_classes_carry_their_colours(client: TestClient) -> None:
    assert client.get("/api/classes").json()[0]["color"] == "#0072b2"
