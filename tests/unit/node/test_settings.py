"""One file and the environment become one Settings; every mistake is named with its key, its file and a remedy."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from node.errors import SettingsError
from node.settings import PacsSettings, default_file, load_settings


def write(folder: Path, text: str) -> Path:
    path = folder / "site.toml"
    path.write_text(text)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(path)
    return str(caught.value)


def test_documented_file_states_the_defaults(tmp_path: Path) -> None:
    documented = load_settings(default_file())
    assert documented == load_settings(write(tmp_path, ""))


def test_every_key_is_documented() -> None:
    text = default_file().read_text()
    for name, section in load_settings().model_dump().items():
        assert name in text, name
        for key in section if isinstance(section, dict) else ():
            assert f"{key} =" in text or f"[{name}.{key}]" in text, f"{name}.{key}"


def test_listeners_stay_on_loopback() -> None:
    settings = load_settings()
    assert {settings.dicom.host, settings.hl7.host, settings.web.host} == {"127.0.0.1"}


def test_environment_overrides_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, '[dicom]\nport = 104\nae_title = "SITE"\n')
    monkeypatch.setenv("NODE_DICOM__PORT", "4242")
    monkeypatch.setenv("NODE_OPTIONS", "--max-old-space-size=1")  # of another program
    settings = load_settings(path)
    assert (settings.dicom.port, settings.dicom.ae_title) == (4242, "SITE")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[dicom]\nprot = 104\n", "dicom.prot"),
        ("[dicom]\nport = 104000\n", "dicom.port"),
        ('[dicom]\nae_title = "MUCH_TOO_LONG_AE_TITLE"\n', "dicom.ae_title"),
        ('[dicom]\nallowed_addresses = ["10.0.0.0/99"]\n', "dicom.allowed_addresses.0"),
        ('[hl7]\ndefault_character_set = "latin1"\n', "hl7.default_character_set"),
        ('[hl7]\nsending_application = "MARROW NODE OF THE LAB"\n', "hl7.sending_application"),
        ("[intake]\nmatch_by = []\n", "intake.match_by"),
        ("[review]\nblind_share = 1.5\n", "review.blind_share"),
        ("[review]\nblast_percent = 0\n", "review.blast_percent"),
        ('[review]\norganization = ""\n', "review.organization"),
        ('[web]\nhost = "0.0.0.0"\ndemo_reviewer = true\n', "loopback"),
        ('[web]\ndicomweb_addresses = ["everyone"]\n', "web.dicomweb_addresses.0"),
        ('[report]\nfont = "/nowhere/font.ttf"\n', "report.font"),
        ('[report]\npaper = "A5"\n', "report.paper"),
        ('[notify]\nurl = "ftp://x/y"\n[web]\npublic_url = "http://n"\n', "notify.url"),
        ('[notify]\nurl = "https://x/y?key=1"\n', "web.public_url"),
        ('[[pacs]]\nname = "a"\nurl = "http://x"\nport = 1\n', "pacs.0"),
        ('[[pacs]]\nname = "a"\nhost = "x"\n', "pacs.0"),
        ('[[lis]]\nname = "a"\nhost = "x"\nport = 1\n[[lis]]\nname = "a"\nhost = "y"\nport = 1\n', "'a'"),
        ("[database]\nurl = 'nonsense'\n", "database.url"),
        ("dicom = [\n", "not TOML"),
    ],
)
def test_mistake_names_key_and_file(tmp_path: Path, text: str, named: str) -> None:
    path = write(tmp_path, text)
    message = refusal(path)
    assert named in message
    assert str(path) in message
    assert "\n" not in message


def test_missing_file_is_an_error(tmp_path: Path) -> None:
    assert "absent.toml does not exist" in refusal(tmp_path / "absent.toml")


def test_password_only_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = "postgresql+psycopg://marrow:sesame@db/marrow"
    path = write(tmp_path, f'[database]\nurl = "{address}"\n')
    message = refusal(path)
    assert "NODE_DATABASE__URL" in message
    assert "sesame" not in message
    monkeypatch.setenv("NODE_DATABASE__URL", address)
    assert load_settings(write(tmp_path, "")).database_url == address


def test_list_in_the_environment_is_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODE_LIS", '[{"name": "lis", "host": "h", "port": 1}]')
    assert load_settings().lis[0].name == "lis"
    monkeypatch.setenv("NODE_LIS", "lis")
    with pytest.raises(SettingsError, match="JSON"):
        load_settings()


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        load_settings().dicom.port = 1  # type: ignore[misc] # the assignment that must fail


def test_archive_by_stow() -> None:
    assert PacsSettings(name="vna", url="https://vna/studies").port is None
