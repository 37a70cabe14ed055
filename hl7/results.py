"""Report → ORU^R01 of HL7 2.5.1: one OBR, the 16 components, total, M:E ratio, study UID.

The same Report gives the same bytes. A receiver replaces a result by one with the same OBR-2 and OBR-3 and a later
OBR-22, so OBR-3 never changes between P, F and C and OBR-22 grows with `Report.revision`.
"""

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.exceptions import HL7apyException
from hl7apy.parser import parse_message

from hl7.acks import LONGEST_CONTROL_ID
from hl7.errors import Hl7Error
from hl7.observations import LOCAL_SYSTEM, ResultsConfig, Row, document_row, local_code, result_rows
from hl7.pid import write_patient
from hl7.text import escape, join_components, write_segment, write_time
from pipeline.domain import CellCode, EntityId, Order, Report, ResultStatus

__all__ = ["ResultsConfig", "control_id", "encode_oru", "filler_order_number"]

_CHECKED_DATA = 128  # characters of base64 that are validated: whole groups of four
_LONGEST_SCANNER = 64  # characters: escaped, still below the 199 of EI.1
_LONGEST_NAME = 20  # IS, the data type of an authority (2.5.1 2.A.33, 2.A.28)
_NAMED_BY_OTHERS = ("PID", "ORC", "OBR", "SPM")
_LONG_LEAF = re.compile(rf"[^|^~&]{{{_LONGEST_NAME + 1},}}")
_REVIEWED = frozenset({ResultStatus.FINAL, ResultStatus.CORRECTED})
_PANEL = ("47286-0", "Differential panel - Bone marrow", "LN")
_ORDER_STATUS = {  # ORC-5, table 0038
    ResultStatus.PRELIMINARY: "A",
    ResultStatus.FINAL: "CM",
    ResultStatus.CORRECTED: "CM",
    ResultStatus.NO_RESULT: "HD",
}


def encode_oru(
    report: Report, codes: Mapping[str, CellCode], config: ResultsConfig, *, pdf: bytes | None = None
) -> bytes:
    r"""Write the result of a case as ORU^R01^ORU_R01.

    Parameters
    ----------
    report : Report
        With `analysis` None, or nothing counted, the message says with OBX-11 and OBR-25 X why there is no result.
    codes : mapping of str to CellCode
        By class name.
    config : ResultsConfig
        The site's names, codes and ranges.
    pdf : bytes, optional
        The report document, sent as ED (base64) up to `config.maximum_pdf_bytes`.

    Returns
    -------
    bytes
        UTF-8, ``\r`` behind every segment, valid at hl7apy's level STRICT but for the length of the document's data
        and of names and numbers that order and slide brought: these go back as they came.

    Raises
    ------
    Hl7Error
        The report cannot be written: percentages that do not add to 100.0, a class without code, a value too long.
    """
    report = _with_honest_status(report)
    rows = list(result_rows(report, codes, config))
    document = document_row(report, pdf, config)
    segments = [
        _msh(report, config),
        *_pid(report),
        _orc(report, config),
        _obr(report, config),
        *_notes(_report_notes(report, config, document_left_out=bool(pdf) and document is None)),
    ]
    trailer = _spm(report)
    _validate([*segments, *_observations(report, [*rows, *_shortened(document)], config), trailer])
    body = _observations(report, [*rows, document] if document else rows, config)
    return "".join(f"{segment}\r" for segment in (*segments, *body, trailer)).encode()


def _shortened(document: Row | None) -> Iterator[Row]:
    """The document's row with the beginning of its data: hl7apy reads OBX-5 as ST, which may be 199 characters long."""
    if document is not None:
        head, data = document.value.rsplit("^", 1)
        yield replace(document, value=f"{head}^{data[:_CHECKED_DATA]}")


def _cut(segment: str) -> str:
    """The segment with values that others chose cut to a length that every data type has room for."""
    if not segment.startswith(_NAMED_BY_OTHERS):
        return segment
    return _LONG_LEAF.sub(lambda found: found.group()[:_LONGEST_NAME].replace("\\", "x"), segment)


def _with_honest_status(report: Report) -> Report:
    """Nothing counted is NO_RESULT, whatever the report says."""
    if report.analysis is not None and report.analysis.differential.total:
        return report
    return replace(report, analysis=None, status=ResultStatus.NO_RESULT, reason=report.reason or "No cell was counted.")


def control_id(report: Report) -> str:
    """MSH-10: the same for the same result, another for every revision."""
    parts = (report.case_id, report.slide.digest, report.bundle.digest, report.status, str(report.revision))
    digest = hashlib.sha256("|".join(parts).encode()).digest()
    return "MN" + base64.b32encode(digest).decode()[: LONGEST_CONTROL_ID - 2]


def filler_order_number(order: Order | None, case_id: str, namespace: str) -> EntityId:
    """ORC-3 and OBR-3 of a case, from its acknowledgement to its last result: the order's, else the case's."""
    stated = order.filler_order_number if order else None
    return stated or EntityId(value=case_id, namespace=namespace)


def _reported_at(report: Report) -> datetime:
    """OBR-22, later for every revision: when it was signed, without a signature when it was analysed."""
    return report.signed_at or report.analysed_at + timedelta(seconds=report.revision)


def _msh(report: Report, config: ResultsConfig) -> str:
    return write_segment(
        "MSH",
        {
            3: escape(config.sending_application),
            4: escape(config.sending_facility),
            5: escape(config.receiving_application),
            6: escape(config.receiving_facility),
            7: write_time(_reported_at(report)),
            9: "ORU^R01^ORU_R01",
            10: control_id(report),
            11: config.processing_id,
            12: "2.5.1",
            15: config.accept_ack,
            16: config.application_ack,
            18: "UNICODE UTF-8",
        },
    )


def _pid(report: Report) -> Iterator[str]:
    """The patient of the order, else of the slide; no PID at all when neither names one."""
    patient = report.order.patient if report.order else report.slide.patient
    if not patient.patient_id:
        return
    yield write_segment("PID", write_patient(patient))


def _orc(report: Report, config: ResultsConfig) -> str:
    return write_segment(
        "ORC",
        {
            1: "RE",
            2: _entity(report.order.placer_order_number if report.order else None),
            3: _entity(filler_order_number(report.order, report.case_id, config.namespace)),
            5: _ORDER_STATUS[report.status],
        },
    )


def _obr(report: Report, config: ResultsConfig) -> str:
    order, slide = report.order, report.slide
    return write_segment(
        "OBR",
        {
            1: "1",
            2: _entity(order.placer_order_number if order else None),
            3: _entity(filler_order_number(report.order, report.case_id, config.namespace)),
            4: _panel(report),
            7: write_time(_specimen_time(report)),
            20: escape((order.accession_number if order else "") or slide.accession_number),
            22: write_time(_reported_at(report)),
            24: "HM",
            25: report.status.value,
            32: _person(report.reviewer).replace("^", "&") if report.status in _REVIEWED else "",
        },
    )


def _panel(report: Report) -> str:
    """OBR-4: the LOINC panel, with the code that was ordered, else the node's own, as alternate."""
    order = report.order
    if order and order.test_code and order.test_code != _PANEL[0]:
        return join_components(*_PANEL, order.test_code, order.test_name, "L")
    return join_components(*_PANEL, "BMDCC", "Marrow differential count", LOCAL_SYSTEM)


def _spm(report: Report) -> str:
    """Behind the observations (ORU has no SAC): placer's specimen and the slide's container."""
    order, slide = report.order, report.slide
    specimen = next(iter(order.specimen_ids if order else ()), "") or slide.specimen_identifier
    container = slide.container_identifier or next(iter(order.container_ids if order else ()), "")
    return write_segment(
        "SPM",
        {
            1: "1",
            2: join_components(specimen, container),
            4: "119359002^Bone marrow specimen^SCT",
            17: write_time(order.collected_at) if order else "",
        },
    )


def _specimen_time(report: Report) -> datetime | None:
    """OBR-7 and OBX-14: when the specimen was taken, else scanned; not when it was analysed."""
    return (report.order.collected_at if report.order else None) or report.slide.acquired_at


def _observations(report: Report, rows: Sequence[Row], config: ResultsConfig) -> list[str]:
    reviewed = report.status in _REVIEWED
    method = ("AIDCCR", "AI image analysis, reviewed") if reviewed else ("AIDCC", "AI image analysis, unverified")
    shared = {
        14: write_time(_specimen_time(report)),
        16: _person(report.reviewer) if reviewed else "",
        17: join_components(*local_code(*method)),
        18: "~".join(part for part in (_model(report, config), _scanner(report)) if part),
        19: write_time(report.analysed_at),
    }
    segments: list[str] = []
    for number, row in enumerate(rows, 1):
        fields = {
            1: str(number),
            2: row.value_type if row.value else "",
            3: row.code,
            5: row.value,
            6: row.units,
            7: row.reference_range,
            8: row.flag,
            11: row.status,
            **shared,
        }
        segments += [write_segment("OBX", fields), *_notes(row.notes)]
    return segments


def _model(report: Report, config: ResultsConfig) -> str:
    """EI: name and version of the model, and its digest as a UUID-derived OID (2.25)."""
    number = int(hashlib.sha256(report.bundle.digest.encode()).hexdigest()[:32], 16)
    name = f"{report.bundle.name} {report.bundle.version}"
    return join_components(name, config.namespace, f"2.25.{number}", "ISO")


def _scanner(report: Report) -> str:
    """EI: model and serial number, and their maker, who stands before them when the name is too long for EI.2."""
    slide = report.slide
    maker = slide.manufacturer if len(escape(slide.manufacturer)) <= _LONGEST_NAME else ""
    parts = ("" if maker else slide.manufacturer, slide.model_name, slide.serial_number)
    name = " ".join(part for part in parts if part)[:_LONGEST_SCANNER]
    return join_components(name, maker) if name or maker else ""


def _report_notes(report: Report, config: ResultsConfig, *, document_left_out: bool) -> Iterator[str]:
    """What stands behind OBR and holds for the whole report."""
    model = f"{report.bundle.name} {report.bundle.version}"
    if report.slide.synthetic:
        yield "SYNTHETIC IMAGE: not a patient's result, not for diagnostic use."
    if report.status in _REVIEWED:
        yield f"Counted by AI image analysis (model {model}), reviewed and released by a person."
    else:
        yield f"AI result, not reviewed by a person. Model {model}. Not for diagnostic use."
    yield from report.remarks
    if report.status is ResultStatus.CORRECTED:
        yield "CORRECTED RESULT: replaces the one sent before. What changed is marked C, with its former value below."
    unknown = report.bundle.unrecognised
    if unknown and report.analysis is not None:
        yield f"This model cannot recognise: {', '.join(unknown)}."
    if report.analysis is not None:
        yield from report.analysis.warnings
    yield from report.warnings
    if document_left_out:
        yield f"The PDF report is larger than {config.maximum_pdf_bytes} bytes and was not sent."


def _notes(texts: Iterator[str] | Sequence[str]) -> Iterator[str]:
    for number, text in enumerate(texts, 1):
        yield write_segment("NTE", {1: str(number), 2: "L", 3: escape(text)})


def _entity(entity: EntityId | None) -> str:
    if entity is None:
        return ""
    return join_components(entity.value, entity.namespace, entity.universal_id, entity.universal_id_type)


def _person(name: str) -> str:
    """XCN: an account name is an identifier, a name of several words a family name."""
    return join_components("", name) if " " in name else escape(name)


def _validate(segments: Sequence[str]) -> None:
    try:
        message = parse_message("\r".join(map(_cut, segments)), validation_level=VALIDATION_LEVEL.STRICT)
        message.validate()
    except (HL7apyException, ValueError) as error:
        raise Hl7Error(f"the ORU^R01 would not be valid HL7 2.5.1: {_where(error)}") from error


def _where(error: Exception) -> str:
    """The kind of an hl7apy error; its text may hold a patient's data."""
    return type(error).__name__
