"""One reviewer of the tests."""

from typing import Any

from fastapi.testclient import TestClient

from pipeline.domain import CELL_CLASSES


class Reviewer:
    """One person's browser on one case."""

    def __init__(self, client: TestClient, case_id: str) -> None:
        self.client = client
        self.root = f"/api/cases/{case_id}"

    def read(self, path: str = "review", **query: Any) -> Any:
        answer = self.client.get(f"{self.root}/{path}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def change(self, *changes: tuple[int, int, str | None], run: int = 0) -> Any:
        asked = [{"cell": cell, "seen": seen, "class_name": name} for cell, seen, name in changes]
        return self.client.post(f"{self.root}/review/changes", json={"run": run, "changes": asked})

    def sign(self, version: int, reason: str = "", run: int = 0) -> Any:
        return self.client.post(f"{self.root}/sign", json={"run": run, "version": version, "reason": reason})

    def finish(self) -> int:
        """Confirm every cell that must be looked at; returns the version of the review."""
        cells = self.read("cells")
        columns = zip(cells["id"], cells["model"], cells["version"], cells["review"], strict=True)
        open_ones = [(cell, seen, CELL_CLASSES[max(place, 0)]) for cell, place, seen, needed in columns if needed]
        return int(self.change(*open_ones).json()["version"])
