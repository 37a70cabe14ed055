"""The codes of the 22 classes, read from `config/cell_types.csv`."""

import csv
import re
from collections.abc import Mapping
from importlib.resources import files
from types import MappingProxyType

from node.errors import SettingsError
from pipeline.domain import CELL_CLASSES, COUNTED_CLASSES, CellCode

_TIER = re.compile(r"loinc=tier([ABC])")


def load_codes() -> Mapping[str, CellCode]:
    """Class name → its codes, for each of CELL_CLASSES.

    Raises
    ------
    SettingsError
        The table lacks a class, or counts one that the method does not count.

    """
    text = (files("config") / "cell_types.csv").read_text(encoding="utf-8")
    rows = {row["name"]: row for row in csv.DictReader(text.splitlines())}
    if missing := [name for name in CELL_CLASSES if name not in rows]:
        msg = f"config/cell_types.csv has no row for {missing[0]!r}; the node needs all {len(CELL_CLASSES)} classes"
        raise SettingsError(msg)
    codes = {name: _cell_code(rows[name]) for name in CELL_CLASSES}
    if wrong := [name for name, code in codes.items() if code.counted != (name in COUNTED_CLASSES)]:
        msg = f"config/cell_types.csv: counted_16 of {wrong[0]!r} differs from the method's 16 counted classes"
        raise SettingsError(msg)
    return MappingProxyType(codes)


def _cell_code(row: Mapping[str, str]) -> CellCode:
    tier = _TIER.search(row["verified_flags"])
    return CellCode(
        name=row["name"],
        icsh_name=row["icsh_name"],
        lineage=row["lineage"],
        counted=row["counted_16"] == "1",
        local_code=row["local_code"],
        sct_code=row["sct_code"],
        sct_meaning=row["sct_meaning"],
        cl_id=row["cl_id"],
        loinc_code=row["loinc_percent"],
        loinc_name=row["loinc_name"],
        loinc_tier=tier.group(1) if tier and row["loinc_percent"] else "",
    )
