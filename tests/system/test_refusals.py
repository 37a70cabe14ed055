"""A node that cannot work says why in one line and does not start."""

import shutil
from pathlib import Path

from pipeline.bundle import DEFAULT
from tests.system.running_node import RunningNode


def refusal(node: RunningNode) -> str:
    """The one line `marrow-node serve` ends with."""
    done = node.command("serve")
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert "Traceback" not in done.stderr
    (line,) = lines
    return line


def test_missing_bundle(node: RunningNode, tmp_path: Path) -> None:
    node.configure(sections={"bundle": {"path": str(tmp_path / "absent")}})
    assert "absent/bundle.json" in refusal(node)


def test_altered_bundle(node: RunningNode, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(DEFAULT, bundle)
    with (bundle / "classes.safetensors").open("ab") as file:
        file.write(b"altered")
    node.configure(sections={"bundle": {"path": str(bundle)}})
    assert "classes.safetensors" in refusal(node)


def test_second_node_in_one_home(node: RunningNode) -> None:
    node.configure()
    node.start()
    assert "another node runs in" in refusal(node)
