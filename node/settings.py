"""The site's configuration: one TOML file and the environment become one frozen `Settings`.

Environment variables override the file, with `__` between levels: ``NODE_DICOM__PORT=104``. A secret, such as the
password in `database.url`, may only come from the environment.
"""

import tomllib
from importlib.resources import files
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from hl7.orders import FieldOrder
from hl7.text import codec_name
from node.errors import SettingsError

Port = Annotated[int, Field(ge=0, le=65535, description="0 takes any free port")]
Seconds = Annotated[float, Field(gt=0)]
AeTitle = Annotated[str, Field(min_length=1, max_length=16, pattern=r"^[^\\\x00-\x1f]+$")]
Name = Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[A-Za-z0-9_.-]+$")]
Hl7Name = Annotated[str, Field(max_length=20)]  # HD.1 and EI.2 of HL7 2.5.1
_ORIGIN = r"^https?://[^/?#\s]+$"
_HOOK = r"^(https?://[^/?#\s]+[^#\s]*)?$"
_WEB_ADDRESS = r"^(https?://[^?#\s]*[^?#\s/])?$"
MatchKey = Literal["accession", "container", "specimen"]


def _network(text: str) -> str:
    ip_network(text, strict=False)
    return text


Network = Annotated[str, AfterValidator(_network)]


def _character_set(text: str) -> str:
    if codec_name(text) is None:
        msg = "is none that this node reads: give a value of HL7 table 0211, such as 8859/1 or UNICODE UTF-8"
        raise ValueError(msg)
    return text


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine only."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


class Section(BaseModel):
    """A table of the file: no unknown key, no change after reading."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DatabaseSettings(Section):
    """Where the state is kept; empty means SQLite in `home`."""

    url: str = ""


class CommitmentPeer(Section):
    """A scanner that asks for storage commitment, and where it takes the report (PS3.4 Annex J)."""

    ae_title: AeTitle
    host: str
    port: Annotated[int, Field(ge=1, le=65535)]


class DicomSettings(Section):
    """The Storage SCP (PS3.4 Annex B)."""

    host: str = "127.0.0.1"
    port: Port = 11112
    ae_title: AeTitle = "MARROW"
    allowed_calling_ae: tuple[AeTitle, ...] = ()
    allowed_addresses: tuple[Network, ...] = ()
    check_called_ae: bool = False
    network_timeout_s: Seconds = 600
    maximum_associations: Annotated[int, Field(ge=1)] = 20
    commitment_peers: tuple[CommitmentPeer, ...] = ()


class Hl7Settings(Section):
    """The MLLP listener, and who the node is in the messages it sends."""

    host: str = "127.0.0.1"
    port: Port = 2575
    allowed_addresses: tuple[Network, ...] = ()
    maximum_frame_bytes: Annotated[int, Field(ge=1024)] = 16 * 1024 * 1024
    idle_timeout_s: Annotated[float, Field(ge=0)] = 0  # 0 keeps connections open
    stall_timeout_s: Seconds = 30
    processing_id: Literal["P", "T", "D"] = "P"
    default_character_set: Annotated[str, AfterValidator(_character_set)] = ""
    application_answer_follows: bool = True
    sending_application: Hl7Name = "MARROWNODE"
    sending_facility: Hl7Name = "LAB"
    receiving_application: Hl7Name = "LIS"
    receiving_facility: Hl7Name = "LAB"
    acknowledgement: Literal["original", "accept", "application"] = "original"
    loinc_tiers: tuple[Literal["A", "B", "C"], ...] = ("A",)
    local_first: bool = True
    namespace: Hl7Name = "MARROWNODE"
    fields: FieldOrder = FieldOrder()
    ranges: dict[str, tuple[float, float]] = {}
    pdf_in_oru: bool = False


class WebSettings(Section):
    """The worklist, the viewer, DICOMweb and the metrics, and who may see them."""

    host: str = "127.0.0.1"
    port: Port = 8000
    session_idle_s: Seconds = 3600
    session_longest_s: Seconds = 43_200
    dicomweb_addresses: tuple[Network, ...] = ("127.0.0.0/8", "::1/128")
    demo_reviewer: bool = False
    public_url: Annotated[str, Field(pattern=_WEB_ADDRESS)] = ""
    trusted_proxies: tuple[Network, ...] = ()
    cors_origins: tuple[Annotated[str, Field(pattern=_ORIGIN)], ...] = ()
    inline_bytes: Annotated[int, Field(ge=0)] = 1024

    @model_validator(mode="after")
    def _demo_stays_here(self) -> "WebSettings":
        if self.demo_reviewer and not is_loopback(self.host):
            msg = "demo_reviewer lets anyone in, so web.host must be a loopback address; add an account instead"
            raise ValueError(msg)
        return self


class IntakeSettings(Section):
    """When a slide is complete, and how orders and slides find each other."""

    match_by: tuple[MatchKey, ...] = Field(default=("accession", "container", "specimen"), min_length=1)
    quiet_s: Seconds = 60
    incomplete_s: Seconds = 300
    require_order: bool = True
    order_timeout_s: Seconds = 86_400
    slide_timeout_s: Seconds = 604_800
    check_container: bool = True
    test_codes: tuple[str, ...] = ()
    late_instance: Literal["hold", "rerun"] = "hold"


class BundleSettings(Section):
    """Which locked models count; empty means the bundle that ships with the node."""

    path: str = ""
    device: str = "auto"


class AnalysisSettings(Section):
    """How a slide is counted; the meaning of each key is in `pipeline.run.AnalysisSettings`."""

    roi: Literal["auto", "whole"] = "auto"
    tiles: Literal["auto", "all"] = "auto"
    cells: Literal["prompted", "everything"] = "prompted"
    minimum_cells: Annotated[int, Field(ge=1)] = 200
    review_below: Annotated[float, Field(ge=0, le=1)] = 0.6
    rescreen_above: Annotated[float, Field(ge=0, le=1)] = 0.1
    me_include_monocytic: bool = True
    check_quality: bool = True
    max_tiles: Annotated[int, Field(ge=1)] | None = None


class ReviewSettings(Section):
    """What the expert is asked and told, and who stands for what is signed."""

    blind_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    blast_percent: Annotated[float, Field(gt=0, le=100)] = 20.0
    excluded_lymphoid_percent: Annotated[float, Field(ge=0, le=100)] = 2.0
    organization: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\\\x00-\x1f]+$")] = "Laboratory"


class ReportSettings(Section):
    """The printed report (PDF)."""

    paper: Literal["A4", "Letter"] = "A4"
    laboratory: str = ""
    font: str = ""

    @field_validator("font")
    @classmethod
    def _is_file(cls, font: str) -> str:
        path = str(Path(font).expanduser()) if font else ""
        if path and not Path(path).is_file():
            msg = f"{font} is no file; name a TrueType or OpenType font, or leave it empty"
            raise ValueError(msg)
        return path


class NotifySettings(Section):
    """Who is told of an urgent case; empty: nobody."""

    url: Annotated[str, Field(pattern=_HOOK)] = ""


class RetrySettings(Section):
    """How often, and after how long, a thing that failed is tried again.

    The wait doubles (times `backoff`) from `*_first_s` up to `*_longest_s`; the last failed attempt makes the case
    `failed`, and a person may requeue it.
    """

    analysis_attempts: Annotated[int, Field(ge=1)] = 3
    analysis_first_s: Seconds = 5
    delivery_attempts: Annotated[int, Field(ge=1)] = 100
    delivery_first_s: Seconds = 10
    delivery_longest_s: Seconds = 900
    delivery_timeout_s: Seconds = 30
    backoff: Annotated[float, Field(ge=1)] = 2.0


class PacsSettings(Section):
    """A destination of SEG, ANN and SR: by C-STORE (`ae_title`, `host`, `port`) or by STOW-RS (`url`).

    `PDFDCM`, the printed report as Encapsulated PDF, is made when a destination lists it; `KO`, the note of what was
    withdrawn (IHE IOCM), when a result is.
    """

    name: Name
    ae_title: AeTitle | None = None
    host: str | None = None
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    calling_ae: AeTitle | None = None
    url: str | None = None
    kinds: tuple[Literal["SEG", "SEGROI", "ANN", "SR", "SR3D", "KO", "PDFDCM"], ...] = (
        "SEG",
        "SEGROI",
        "ANN",
        "SR",
        "SR3D",
        "KO",
    )

    @model_validator(mode="after")
    def _one_way(self) -> "PacsSettings":
        dimse = (self.ae_title, self.host, self.port)
        if (self.url is None) == (None in dimse):
            msg = "give either ae_title, host and port (C-STORE) or url (STOW-RS)"
            raise ValueError(msg)
        if self.url is not None and any(value is not None for value in dimse):
            msg = "url (STOW-RS) excludes ae_title, host and port (C-STORE)"
            raise ValueError(msg)
        return self


class LisSettings(Section):
    """A destination of the ORU^R01, by MLLP."""

    name: Name
    host: str
    port: Annotated[int, Field(ge=1, le=65535)]


class LogSettings(Section):
    """What is logged: JSON lines on standard error, without patient data."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(BaseSettings):
    """Everything a site decides. Built once by `load_settings` and passed down."""

    model_config = SettingsConfigDict(env_prefix="NODE_", env_nested_delimiter="__", frozen=True, extra="forbid")

    home: Path = Path("~/marrow-node")
    database: DatabaseSettings = DatabaseSettings()
    dicom: DicomSettings = DicomSettings()
    hl7: Hl7Settings = Hl7Settings()
    web: WebSettings = WebSettings()
    intake: IntakeSettings = IntakeSettings()
    bundle: BundleSettings = BundleSettings()
    analysis: AnalysisSettings = AnalysisSettings()
    review: ReviewSettings = ReviewSettings()
    report: ReportSettings = ReportSettings()
    notify: NotifySettings = NotifySettings()
    retry: RetrySettings = RetrySettings()
    log: LogSettings = LogSettings()
    pacs: tuple[PacsSettings, ...] = ()
    lis: tuple[LisSettings, ...] = ()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings

    @model_validator(mode="after")
    def _distinct_destinations(self) -> "Settings":
        names = [*(pacs.name for pacs in self.pacs), *(lis.name for lis in self.lis)]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            msg = f"two destinations are named {twice[0]!r}; give each [[pacs]] and [[lis]] its own name"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _notice_has_a_page(self) -> "Settings":
        if self.notify.url and not self.web.public_url:
            msg = "notify.url needs web.public_url, the address under which the receiver finds the case's page"
            raise ValueError(msg)
        return self

    @property
    def home_folder(self) -> Path:
        """`home` with `~` expanded, absolute."""
        return self.home.expanduser().absolute()

    @property
    def database_url(self) -> str:
        """The SQLAlchemy URL of the state."""
        return self.database.url or f"sqlite:///{self.home_folder / 'node.sqlite'}"


def default_file() -> Path:
    """The documented `config/node.toml` that ships with the node."""
    return Path(str(files("config") / "node.toml"))


def load_settings(path: Path | None = None) -> Settings:
    """Read the site's file; without one, the file that ships with the node.

    Raises
    ------
    SettingsError
        The file is missing, is no TOML, or a key or variable has no meaning or a wrong value.

    """
    path = default_file() if path is None else path
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as exc:
        msg = f"configuration file {path} does not exist; name an existing one with --config"
        raise SettingsError(msg) from exc
    except (OSError, UnicodeDecodeError) as exc:
        msg = f"configuration file {path} cannot be read ({exc}); check its permissions and that it is UTF-8"
        raise SettingsError(msg) from exc
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        msg = f"configuration file {path} is not TOML: {exc}"
        raise SettingsError(msg) from exc
    _refuse_secrets(table, path)
    return _build(table, path)


def _build(table: dict[str, Any], path: Path) -> Settings:
    try:
        settings = Settings(**table)
    except ValidationError as exc:
        lines = [f"{_key(error['loc'])}: {error['msg']}" for error in exc.errors(include_input=False)]
        msg = f"configuration {path} (and NODE_ variables): " + "; ".join(lines) + f". See {default_file()}"
        raise SettingsError(msg) from exc
    except Exception as exc:  # pydantic-settings raises its own error for a variable that is not JSON
        msg = f"environment variable cannot be used: {exc}. Lists are given as JSON, such as NODE_LIS='[]'"
        raise SettingsError(msg) from exc
    try:
        make_url(settings.database_url)
    except ArgumentError as exc:
        msg = f"database.url in {path} is no database address; write sqlite:///FILE or postgresql+psycopg://HOST/NAME"
        raise SettingsError(msg) from exc
    return settings


def _key(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location) or "settings"


def _refuse_secrets(table: dict[str, Any], path: Path) -> None:
    database = table.get("database")
    url = database.get("url", "") if isinstance(database, dict) else ""
    try:
        password = make_url(url).password if isinstance(url, str) and url else None
    except ArgumentError:
        return  # reported with the other keys
    if password:
        msg = f"database.url in {path} holds a password; give the whole address in NODE_DATABASE__URL instead"
        raise SettingsError(msg)
