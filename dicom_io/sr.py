"""Structured reports (TID 1500): the count as Comprehensive SR, the regions as Comprehensive 3D SR.

They are two documents because a viewer that draws regions fails on a group without one, and because a Comprehensive SR
may not hold coordinates of the slide (PS3.3 A.35.3, A.35.13).
"""

from collections.abc import Mapping, Sequence

import numpy as np
from highdicom import sr
from pydicom import Dataset
from pydicom.sr.codedict import codes as concepts

from dicom_io import codes
from dicom_io.provenance import Predecessor, ResultKind, caution, construct, is_verified, person_name, result_uid
from dicom_io.source import Source, is_volume, slide_coordinates
from dicom_io.uids import derive_uid
from pipeline.domain import Analysis, CellCode, Component, DifferentialCount, Region, Report

CONFIDENCE = "Limits are exact 95 % Clopper-Pearson limits of sampling; they do not include errors of the classifier."
NOT_VALIDATED = "The model has not been validated for diagnostic use at this site."


def encode_measurements(
    report: Report,
    source: Source,
    codes_of: Mapping[str, CellCode],
    *,
    predecessors: Sequence[Predecessor] = (),
    organization: str = "",
) -> Dataset:
    """The differential count, or the reason why there is none (Comprehensive SR, TID 1500 with TID 1501).

    Parameters
    ----------
    predecessors : the documents this one replaces
    organization : of the reviewer, when the report is final or corrected

    Raises
    ------
    ValueError
        If a final or corrected report names no reviewer.
    """
    groups = [_summary_group(report)]
    if report.analysis is not None:
        differential = report.analysis.differential
        groups += [_class_group(report, codes_of[row.name], row) for row in differential.components]
        groups += [_excluded_group(report, codes_of[name], count) for name, count in differential.excluded]
    return _document(sr.ComprehensiveSR, report, ResultKind.MEASUREMENTS, source, groups, predecessors, organization)


def encode_regions(
    report: Report,
    analysis: Analysis,
    source: Source,
    *,
    predecessors: Sequence[Predecessor] = (),
    organization: str = "",
) -> Dataset:
    """The countable regions as polygons on the slide, mm (Comprehensive 3D SR, TID 1500 with TID 1410).

    Raises
    ------
    ValueError
        If there is no region, as a document without one stops the viewers that read it, or no reviewer as above.
    """
    if not analysis.regions:
        raise ValueError("no region to report")
    groups = [_region_group(report, source, i + 1, region) for i, region in enumerate(analysis.regions)]
    return _document(sr.Comprehensive3DSR, report, ResultKind.REGIONS_3D, source, groups, predecessors, organization)


def device_observer(report: Report) -> sr.ObserverContext:
    """The node with its model bundle as the author of a document (TID 1004)."""
    return sr.ObserverContext(
        observer_type=concepts.DCM.Device,
        observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
            uid=derive_uid("device", report.bundle.digest),
            name="marrow-node",
            manufacturer_name=codes.MANUFACTURER,
            model_name=f"{report.bundle.name} {report.bundle.version}",
            serial_number=report.bundle.digest[:16],
        ),
    )


def requests_of(report: Report, source: Source) -> list[Dataset] | None:
    """The order that the document answers (PS3.3 C.17.2, Referenced Request Sequence)."""
    order = report.order
    if order is None:
        return None
    item = Dataset()
    item.StudyInstanceUID = source.base.StudyInstanceUID
    item.ReferencedStudySequence = []
    item.AccessionNumber = source.base.AccessionNumber
    item.PlacerOrderNumberImagingServiceRequest = order.placer_order_number.value if order.placer_order_number else ""
    item.FillerOrderNumberImagingServiceRequest = order.filler_order_number.value if order.filler_order_number else ""
    item.RequestedProcedureID = ""
    item.RequestedProcedureDescription = order.test_name[:64]
    item.RequestedProcedureCodeSequence = []
    return [item]


def reference_to(document: Predecessor) -> Dataset:
    """An object as highdicom wants to be given what another one refers to."""
    item = Dataset()
    item.StudyInstanceUID = document.study_instance_uid
    item.SeriesInstanceUID = document.series_instance_uid
    item.SOPClassUID = document.sop_class_uid
    item.SOPInstanceUID = document.sop_instance_uid
    return item


def _document(
    make: type[Dataset],
    report: Report,
    kind: ResultKind,
    source: Source,
    groups: Sequence[sr.MeasurementsAndQualitativeEvaluations],
    predecessors: Sequence[Predecessor],
    organization: str,
) -> Dataset:
    content = sr.MeasurementReport(
        observation_context=_observation_context(report, source),
        procedure_reported=codes.PROCEDURE,
        imaging_measurements=groups,
        referenced_images=[source.base] if is_volume(source.base) and _has_size(source.base) else None,
    )
    verified = is_verified(report)
    if verified and not report.reviewer:
        raise ValueError("a final or corrected report needs its reviewer's name")
    ds = construct(
        make,
        report,
        kind,
        source.base,
        evidence=[source.base],
        content=content,
        is_complete=report.analysis is not None,
        is_final=verified,
        is_verified=verified,
        verifying_observer_name=person_name(report.reviewer) if verified else None,
        verifying_organization=organization if verified else None,
        previous_versions=[reference_to(document) for document in predecessors] or None,
        requested_procedures=requests_of(report, source),
    )
    if report.analysis is None:
        ds.CompletionFlagDescription = _reason(report)[:64]
    return ds


def _has_size(image: Dataset) -> bool:
    return bool(image.get("Rows") and image.get("Columns"))


def _observation_context(report: Report, source: Source) -> sr.ObservationContext:
    """The device, the reviewer if there is one, and the specimen (TID 1001)."""
    person = sr.ObserverContext(
        observer_type=concepts.DCM.Person,
        observer_identifying_attributes=sr.PersonObserverIdentifyingAttributes(name=person_name(report.reviewer)),
    )
    specimen = source.base.SpecimenDescriptionSequence[0]
    return sr.ObservationContext(
        observer_person_context=person if is_verified(report) else None,
        observer_device_context=device_observer(report),
        subject_context=sr.SubjectContext(
            subject_class=concepts.DCM.Specimen,
            subject_class_specific_context=sr.SubjectContextSpecimen(
                uid=specimen.SpecimenUID,
                identifier=specimen.SpecimenIdentifier,
                container_identifier=source.base.ContainerIdentifier,
                specimen_type=codes.BONE_MARROW_SPECIMEN,
            ),
        ),
    )


def _summary_group(report: Report) -> sr.MeasurementsAndQualitativeEvaluations:
    """Total, M:E ratio, quality and everything a reader must know, as text."""
    measurements, quality = [], codes.QUALITY_UNUSABLE
    if report.analysis is not None:
        differential = report.analysis.differential
        measurements = [_number(codes.TOTAL_CELLS, differential.total, codes.COUNTS)]
        if differential.me_ratio is not None:
            measurements.append(_number(codes.ME_RATIO, round(differential.me_ratio, 2), codes.RATIO))
        quality = codes.QUALITY_USABLE if _warnings(report) else codes.QUALITY_MET
    group = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(report, "differential count"),
        finding_type=codes.PROCEDURE,
        finding_sites=[sr.FindingSite(codes.BONE_MARROW)],
        algorithm_id=codes.algorithm_content(report.bundle),
        measurements=measurements,
        qualitative_evaluations=[sr.QualitativeEvaluation(name=codes.QUALITY_ASSESSMENT, value=quality)],
    )
    for text in comments(report):
        group[0].ContentSequence.append(_comment(text))
    return group


def comments(report: Report) -> list[str]:
    """The free text of a report: its standing, definitions, warnings and what the model cannot see."""
    lines = [f"{caution(report)}."]
    if not is_verified(report):
        lines.append(NOT_VALIDATED)
    lines += report.remarks
    if report.analysis is None:
        lines.append(f"No result: {_reason(report)}")
    else:
        lines += _definitions(report.analysis.differential)
    if report.bundle.unrecognised:
        lines.append("Classes this model cannot recognise: " + ", ".join(report.bundle.unrecognised) + ".")
    return lines + [f"Warning: {text}" for text in _warnings(report)]


def _definitions(differential: DifferentialCount) -> list[str]:
    ratio = "" if differential.me_ratio is not None else " It is not defined here: no erythroid cell was counted."
    return [
        f"M:E is {differential.me_definition}.{ratio}",
        f"Percentages are of the {differential.total} counted nucleated cells, in 16 classes. {CONFIDENCE}",
    ]


def _class_group(report: Report, code: CellCode, row: Component) -> sr.MeasurementsAndQualitativeEvaluations:
    low, high = row.ci95
    group = _finding_group(
        report,
        code,
        [
            _number(codes.CELL_COUNT, row.count, codes.COUNTS),
            _number(codes.CELL_PERCENT, row.percent, codes.PERCENT),
            _number(codes.LIMIT_LOW, low, codes.PERCENT),
            _number(codes.LIMIT_HIGH, high, codes.PERCENT),
        ],
    )
    if row.flag:
        group[0].ContentSequence.append(_comment(row.flag))
    return group


def _excluded_group(report: Report, code: CellCode, count: int) -> sr.MeasurementsAndQualitativeEvaluations:
    group = _finding_group(report, code, [_number(codes.CELL_COUNT, count, codes.COUNTS)])
    group[0].ContentSequence.append(_comment("Not part of the total."))
    return group


def _finding_group(
    report: Report, code: CellCode, measurements: Sequence[sr.Measurement]
) -> sr.MeasurementsAndQualitativeEvaluations:
    return sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(report, code.name),
        finding_category=codes.cell_category(code),
        finding_type=codes.cell_concept(code),
        finding_sites=[sr.FindingSite(codes.BONE_MARROW)],
        algorithm_id=codes.algorithm_content(report.bundle),
        measurements=measurements,
    )


def _region_group(
    report: Report, source: Source, number: int, region: Region
) -> sr.PlanarROIMeasurementsAndQualitativeEvaluations:
    closed = np.vstack([region.polygon, region.polygon[:1]])  # SR repeats the first point, ANN does not
    x, y = region.polygon.T
    square_px = abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
    square_mm = square_px * (report.slide.mpp / 1000) ** 2
    return sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(report, f"countable region {number}"),
        referenced_region=sr.ImageRegion3D(
            graphic_type=sr.GraphicTypeValues3D.POLYGON,
            graphic_data=slide_coordinates(closed, source.base),
            frame_of_reference_uid=source.base.FrameOfReferenceUID,
        ),
        finding_category=codes.CATEGORY_REGION,
        finding_type=codes.COUNTABLE_REGION,
        algorithm_id=codes.algorithm_content(report.bundle),
        measurements=[
            _number(codes.AREA, round(float(square_mm), 4), codes.SQUARE_MM),
            _number(codes.PROBABILITY, round(region.probability, 4), codes.NO_UNITS),
        ],
    )


def _number(name: sr.CodedConcept, value: float, unit: sr.CodedConcept) -> sr.Measurement:
    return sr.Measurement(name=name, value=value, unit=unit)


def _comment(text: str) -> sr.TextContentItem:
    return sr.TextContentItem(name=codes.COMMENT, value=text, relationship_type=sr.RelationshipTypeValues.CONTAINS)


def _tracking(report: Report, name: str) -> sr.TrackingIdentifier:
    return sr.TrackingIdentifier(identifier=name, uid=result_uid(report, "tracking", name))


def _warnings(report: Report) -> tuple[str, ...]:
    return report.warnings + (report.analysis.warnings if report.analysis is not None else ())


def _reason(report: Report) -> str:
    return report.reason or "The slide could not be counted."
