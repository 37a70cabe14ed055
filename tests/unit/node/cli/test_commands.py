"""Each mistake at the command line is one line that says what to do, with an exit code that is not 0."""

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from node import audit
from node.cases import list_cases
from node.cli import commands as cli
from node.settings import default_file
from node.views import CaseState, WorklistQuery
from pipeline.bundle import DEFAULT
from tests.stored_cases import Site, reported_case, store_case

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`run("cases", "--json")` → (exit code, standard output, standard error)."""

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["marrow-node", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        code = ended.value.code
        return (code if isinstance(code, int) else 0), captured.out, captured.err

    return call


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "site.toml"
    path.write_text(f"home = {json.dumps(str(tmp_path))}\n[dicom]\nport = 0\n[hl7]\nport = 0\n[web]\nport = 0\n")
    return path


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site.at(tmp_path) as site:
        yield site


def refused(answer: tuple[int, str, str]) -> str:
    code, _, error = answer
    assert code == 1
    assert error.startswith("marrow-node: ")
    assert error.count("\n") == 1
    assert "Traceback" not in error
    return error


@pytest.mark.parametrize("command", [["serve"], ["cases"], ["check"], ["bundle", "list"], ["worker"]])
def test_missing_config_file(run: Run, tmp_path: Path, command: list[str]) -> None:
    assert "absent.toml does not exist" in refused(run(*command, "--config", tmp_path / "absent.toml"))


def test_unknown_key(run: Run, tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text("[dicom]\nprot = 1\n")
    assert "dicom.prot" in refused(run("serve", "--config", tmp_path / "site.toml"))


def test_busy_port(run: Run, config: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        config.write_text(config.read_text().replace("[hl7]\nport = 0", f"[hl7]\nport = {port}"))
        assert f"hl7.port {port} cannot be opened" in refused(run("serve", "--config", config))


def test_home_in_use(run: Run, config: Path, tmp_path: Path) -> None:
    (tmp_path / "node.sqlite").mkdir()
    assert "database.url" in refused(run("serve", "--config", config))


def test_worker_alone_needs_postgresql(run: Run, config: Path) -> None:
    assert "PostgreSQL" in refused(run("worker", "--config", config))


def test_no_database_yet(run: Run, config: Path) -> None:
    assert "start the node once" in refused(run("cases", "--config", config))


def test_missing_bundle_file(run: Run, tmp_path: Path) -> None:
    assert "bundle.json" in refused(run("bundle", "verify", tmp_path))


def test_altered_bundle_file(run: Run, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(DEFAULT, bundle)
    (bundle / "tiles.safetensors").write_bytes(b"altered")
    error = refused(run("bundle", "verify", bundle))
    assert "tiles.safetensors" in error


def test_default_bundle_is_whole(run: Run) -> None:
    code, out, _ = run("bundle", "verify")
    assert code == 0
    assert "every file" in out
    code, out, _ = run("bundle", "show")
    assert json.loads(out)["classes"]
    code, out, _ = run("bundle", "list")
    assert code == 0


def test_folder_without_slide(run: Run, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("no slide")
    assert "note.txt" in refused(run("analyse", tmp_path, "--out", tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_slide_folder_that_is_missing(run: Run, tmp_path: Path) -> None:
    assert "no such file" in refused(run("analyse", tmp_path / "absent", "--out", tmp_path / "out"))


@pytest.mark.parametrize("command", ["classify", "segment"])
def test_what_is_no_image(run: Run, tmp_path: Path, command: str) -> None:
    (tmp_path / "a.png").write_text("no image")
    options = ["--mpp", "0.1", *(["--out", str(tmp_path)] if command == "segment" else [])]
    assert "a.png is no image" in refused(run(command, tmp_path / "a.png", *options))
    assert "no such file" in refused(run(command, tmp_path / "b.png", *options))
    assert "--mpp" in refused(run(command, tmp_path / "a.png", *options[2:], "--mpp", "-1"))


@pytest.mark.parametrize(("option", "value"), [("--size", "12"), ("--size", "0x5"), ("--mpp", "0"), ("--seed", "-1")])
def test_phantom_that_cannot_be(run: Run, tmp_path: Path, option: str, value: str) -> None:
    arguments = {"--seed": "1", "--size": "300x200", "--mpp": "0.5", option: value}
    flat = [each for pair in arguments.items() for each in pair]
    assert option in refused(run("phantom", "--out", tmp_path / "out", *flat))


def test_phantom(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("phantom", "--out", tmp_path / "out", "--seed", "1", "--size", "400x300", "--mpp", "0.5")
    assert code == 0
    assert "truth.json" in out
    assert json.loads((tmp_path / "out" / "truth.json").read_text())["seed"] == 1


PEAK = """
import sys
from pathlib import Path
from node.cli.commands import app
app(sys.argv[1:], standalone_mode=False)
print(next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")).split()[1])
"""


def test_a_phantom_of_three_times_the_area_takes_no_more_memory(tmp_path: Path) -> None:
    def peak_mib(size: str) -> float:
        arguments = ["phantom", "--out", str(tmp_path / size), "--seed", "7", "--size", size]
        done = subprocess.run([sys.executable, "-c", PEAK, *arguments], check=True, capture_output=True, text=True)
        return int(done.stdout.split()[-1]) / 1024

    small, large = peak_mib("1024x5120"), peak_mib("1024x15360")
    assert large - small < 15  # its pixels alone are 30 MiB more


def test_vendor_slide_that_is_none(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.svs").write_text("no slide")
    assert "a.svs" in refused(run("convert", tmp_path / "a.svs", "--out", tmp_path / "out"))
    assert "b.svs: no such file" in refused(run("convert", tmp_path / "b.svs", "--out", tmp_path / "out"))
    found = pydicom.config.INVALID_KEYWORD_BEHAVIOR, pydicom.config.enforce_valid_values
    assert found == ("WARN", False), "wsidicomizer may not change pydicom for the whole process"


def test_classify_one_line_each(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "cell.png"
    Image.fromarray(np.full((60, 60, 3), 200, np.uint8)).save(path)
    code, out, _ = run("classify", path, "--json")
    assert code == 0
    (line,) = [json.loads(text) for text in out.splitlines()]
    assert line["file"] == str(path)
    assert line["probability"] == max(line["probabilities"].values())
    assert len(line["probabilities"]) == 22


def test_check_names_what_fails(run: Run, config: Path) -> None:
    with config.open("a") as file:
        file.write('[[pacs]]\nname = "far"\nae_title = "FAR"\nhost = "127.0.0.1"\nport = 1\n')
    code, out, _ = run("check", "--config", config)
    assert code == 1
    assert "pacs far" in out
    assert "FAILS" in out


def test_worklist(run: Run, config: Path, site: Site) -> None:
    held = store_case(site, CaseState.HELD, cause="look at it")
    done = reported_case(site)
    code, out, _ = run("cases", "--json", "--config", config)
    assert code == 0
    assert {case["case_id"] for case in json.loads(out)["cases"]} == {held, done}
    _, out, _ = run("cases", "--state", "held", "--config", config)
    assert held in out
    assert done not in out
    _, out, _ = run("cases", "show", held, "--config", config)
    assert "look at it" in out
    assert "there is no case C0" in refused(run("cases", "show", "C0", "--config", config))


def test_requeue_and_accept_only_what_may_be(run: Run, config: Path, site: Site) -> None:
    held, done = store_case(site, CaseState.HELD, cause="x"), reported_case(site)
    assert "no slide yet" in refused(run("requeue", held, "--config", config))
    assert "only failed and held" in refused(run("requeue", done, "--config", config))
    assert "there is no case C0" in refused(run("requeue", "C0", "--config", config))
    assert "no slide yet" in refused(run("cases", "accept", held, "--reason", "ok", "--config", config))
    assert "only held and waiting" in refused(run("cases", "accept", done, "--reason", "ok", "--config", config))
    assert "has sent a result" in refused(run("cases", "cancel", done, "--reason", "ok", "--config", config))
    assert "no result to withdraw" in refused(run("cases", "withdraw", held, "--reason", "ok", "--config", config))
    code, out, _ = run("cases", "cancel", held, "--reason", "not needed", "--config", config)
    assert (code, out) == (0, f"{held}: cancelled\n")
    code, out, _ = run("cases", "withdraw", done, "--reason", "wrong order", "--config", config)
    assert code == 0
    (holder,) = (row.case_id for row in list_cases(site.database, WorklistQuery(states=(CaseState.HELD,))).rows)
    assert out == f"{done}: the result is withdrawn; its slide is held in case {holder}\n"
    _, out, _ = run("cases", "audit", done, "--json", "--config", config)
    assert [(entry["action"], entry["detail"]) for entry in json.loads(out)] == [("result withdrawn", "wrong order")]


def test_the_audit_of_a_case_is_shown(run: Run, config: Path, site: Site) -> None:
    case_id, other = reported_case(site), reported_case(site)
    with site.database.write() as connection:
        audit.record(connection, "anna", "case opened", subject=case_id, detail="session 0f")
        audit.record(connection, "otto", "case opened", subject=other)
    code, out, _ = run("cases", "audit", case_id, "--config", config)
    assert code == 0
    assert "anna" in out
    assert "case opened" in out
    assert "otto" not in out
    (entry,) = json.loads(run("cases", "audit", case_id, "--json", "--config", config)[1])
    assert (entry["actor"], entry["action"], entry["detail"]) == ("anna", "case opened", "session 0f")
    assert "there is no case C0" in refused(run("cases", "audit", "C0", "--config", config))


def test_people_are_added_listed_and_disabled(
    run: Run, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the node's first start too."""
    who = ("anna", "--full-name", "Dr. Anna Beispiel", "--role", "reviewer", "--config", config)
    monkeypatch.setenv("NODE_USER_PASSWORD", "short")
    assert "12 to 256 characters" in refused(run("user", "add", *who))
    monkeypatch.setenv("NODE_USER_PASSWORD", "a quiet sentence")
    assert run("user", "add", *who) == (0, "anna: added as reviewer\n", "")
    assert "an account anna already" in refused(run("user", "add", *who))
    assert run("user", "password", "anna", "--config", config)[0] == 0
    assert run("user", "disable", "anna", "--config", config)[0] == 0
    _, out, _ = run("user", "list", "--config", config)
    assert "Dr. Anna Beispiel" in out
    assert "disabled" in out
    assert "no account otto" in refused(run("user", "disable", "otto", "--config", config))
    assert run("user", "enable", "anna", "--config", config) == (0, "anna: enabled\n", "")
    assert "disabled" not in run("user", "list", "--config", config)[1]
    assert "no account otto" in refused(run("user", "enable", "otto", "--config", config))
    assert b"a quiet sentence" not in (tmp_path / "node.sqlite").read_bytes()


def test_unforeseen_error_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "load_settings", lambda _path: 1 / 0)
    assert "unforeseen ZeroDivisionError" in refused(run("serve", "--config", default_file()))
