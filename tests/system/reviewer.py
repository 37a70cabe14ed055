"""A reviewer who works by HTTP, as the pages do."""

from contextlib import closing
from typing import Any

import httpx

from pipeline.domain import CELL_CLASSES
from tests.system.running_node import RunningNode


class Reviewer:
    """One person's review of the current run of one case."""

    def __init__(self, node: RunningNode, case_id: str) -> None:
        self._node = node
        self._case_id = case_id

    def read(self, path: str = "review") -> Any:
        with closing(self._node.client()) as client:
            return client.get(f"/api/cases/{self._case_id}/{path}").raise_for_status().json()

    def give(self, cell: int, class_name: str) -> dict[str, Any]:
        """Choose a class for one cell; returns the review after it."""
        seen = self.read(f"cells/{cell}")["version"]
        wanted = {"run": self.read()["run"], "changes": [{"cell": cell, "seen": seen, "class_name": class_name}]}
        return dict(self._post("review/changes", wanted).raise_for_status().json()["review"])

    def confirm(self) -> dict[str, Any]:
        """Confirm every cell that must be looked at; returns the review after it."""
        cells = self.read("cells")
        columns = zip(cells["id"], cells["model"], cells["expert"], cells["version"], cells["review"], strict=True)
        wanted = [
            {"cell": cell, "seen": version, "class_name": CELL_CLASSES[model]}
            for cell, model, expert, version, needed in columns
            if needed and expert < 0
        ]
        if wanted:
            self._post("review/changes", {"run": cells["run"], "changes": wanted}).raise_for_status()
        return dict(self.read())

    def sign(self, reason: str = "") -> httpx.Response:
        """Sign what stands."""
        review = self.read()
        return self._post("sign", {"run": review["run"], "version": review["version"], "reason": reason})

    def _post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        with closing(self._node.client()) as client:
            return client.post(f"/api/cases/{self._case_id}/{path}", json=body)
