"""The import contracts of the project hold, and are not vacuous."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGES = ("node", "dicom_io", "hl7", "pdf", "pipeline")


def test_import_contracts_are_kept() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([linter], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_contract_names_existing_modules() -> None:
    configuration = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    contracts = configuration["tool"]["importlinter"]["contracts"]
    named = {
        module
        for contract in contracts
        for module in (*contract.get("source_modules", ()), *contract.get("forbidden_modules", ()))
        if module.split(".")[0] in PACKAGES
    }
    for module in sorted(named):
        path = REPOSITORY / module.replace(".", "/")
        assert path.is_dir() or path.with_suffix(".py").is_file(), module


@pytest.mark.parametrize("package", PACKAGES)
def test_package_heads_are_empty(package: str) -> None:
    heads = list((REPOSITORY / package).rglob("__init__.py"))
    assert heads
    assert [head for head in heads if head.read_bytes()] == []


def test_no_module_is_longer_than_400_lines() -> None:
    modules = [path for package in (*PACKAGES, "tests") for path in (REPOSITORY / package).rglob("*.py")]
    long = {str(path.relative_to(REPOSITORY)): n for path in modules if (n := path.read_text().count("\n")) > 400}
    assert long == {}
