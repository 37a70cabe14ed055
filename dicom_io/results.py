"""All result objects of one report, as files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset

from dicom_io.ann import encode_annotations
from dicom_io.document import encode_document
from dicom_io.errors import SlideError
from dicom_io.provenance import Predecessor, ResultKind
from dicom_io.rejection import encode_rejection
from dicom_io.seg import encode_region_segmentation, encode_segmentation
from dicom_io.source import Source, matrix_size, read_source, read_uncounted
from dicom_io.sr import encode_measurements, encode_regions
from pipeline.domain import CellCode, Report


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultObject:
    """One written file. `kind` is a value of `ResultKind`: SEG, SEGROI, ANN, SR, SR3D, PDFDCM or KO."""

    kind: str
    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str

    def as_predecessor(self) -> Predecessor:
        """The object as an earlier version of a later one."""
        return Predecessor(
            study_instance_uid=self.study_instance_uid,
            series_instance_uid=self.series_instance_uid,
            sop_class_uid=self.sop_class_uid,
            sop_instance_uid=self.sop_instance_uid,
        )


def write_results(
    report: Report,
    slide_paths: Sequence[Path],
    codes: Mapping[str, CellCode],
    out: Path,
    *,
    predecessors: Sequence[ResultObject] = (),
    rejected: Sequence[ResultObject] = (),
    organization: str = "",
    pdf: bytes | None = None,
) -> tuple[ResultObject, ...]:
    """Write what the report gives rise to; the same report gives the same bytes, whenever and wherever.

    Without an analysis that is the Comprehensive SR with the reason; without cells there is no SEG and no ANN; without
    regions neither SEGROI nor SR3D.

    Parameters
    ----------
    slide_paths : the files of the slide that was analysed, or their folder
    codes : of every class, by name
    out : an existing folder; each file is named `<kind>.dcm` in lower case, the document report.dcm
    predecessors : the objects of the report that this one replaces; each SR names the one of its kind
    rejected : the objects that no longer hold, as they were made for another order; a KO lists them
    organization : of the reviewer, for a final or corrected report
    pdf : the printed report, for an Encapsulated PDF

    Raises
    ------
    SlideError
        If the slide's files do not hold a whole slide image with its geometry, or another one than the report is
        about. Without an analysis, only if none of them is a DICOM image.
    """
    source = _source_of(report, slide_paths)
    earlier = {kind: [p.as_predecessor() for p in predecessors if p.kind == kind] for kind in ResultKind}
    objects: dict[ResultKind, Dataset] = {}
    if (analysis := report.analysis) is not None:
        if analysis.cells:
            objects[ResultKind.CELLS] = encode_segmentation(report, analysis, source, codes)
            objects[ResultKind.ANNOTATIONS] = encode_annotations(report, analysis, source, codes)
        if analysis.regions:
            objects[ResultKind.REGIONS] = encode_region_segmentation(report, analysis, source)
            objects[ResultKind.REGIONS_3D] = encode_regions(
                report,
                analysis,
                source,
                predecessors=earlier[ResultKind.REGIONS_3D],
                organization=organization,
            )
    objects[ResultKind.MEASUREMENTS] = encode_measurements(
        report, source, codes, predecessors=earlier[ResultKind.MEASUREMENTS], organization=organization
    )
    if pdf is not None:
        objects[ResultKind.DOCUMENT] = encode_document(report, source, pdf)
    if rejected:
        objects[ResultKind.REJECTION] = encode_rejection(report, source, [each.as_predecessor() for each in rejected])
    return tuple(_write(kind, ds, out) for kind, ds in objects.items())


def _source_of(report: Report, slide_paths: Sequence[Path]) -> Source:
    if report.analysis is None:
        return read_uncounted(slide_paths)
    source = read_source(slide_paths)
    found, analysed = matrix_size(source.base), report.slide.size
    if found != analysed:
        raise SlideError(
            f"The slide's files hold an image of {found[0]} x {found[1]} pixels, the report is about one of"
            f" {analysed[0]} x {analysed[1]}; encode it with the files that were analysed."
        )
    return source


def _write(kind: ResultKind, ds: Dataset, out: Path) -> ResultObject:
    path = out / ("report.dcm" if kind is ResultKind.DOCUMENT else f"{kind.lower()}.dcm")
    ds.save_as(path, enforce_file_format=True)
    return ResultObject(
        kind=kind,
        path=path,
        sop_class_uid=ds.SOPClassUID,
        sop_instance_uid=ds.SOPInstanceUID,
        study_instance_uid=ds.StudyInstanceUID,
        series_instance_uid=ds.SeriesInstanceUID,
    )
