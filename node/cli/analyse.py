"""The pipeline alone, on a folder of DICOM instances: what `marrow-node analyse` does."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from dicom_io.slide import DicomSlide
from node.codes import load_codes
from node.results.outputs import Output, write_outputs
from node.settings import Settings
from node.work.inference import Inference
from pipeline.domain import Analysis, Report, ResultStatus
from pipeline.errors import NoCountableRegion, TooFewCells


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Analysed:
    """A report and the files it became."""

    report: Report
    outputs: tuple[Output, ...]


def analyse_folder(slide: Path, out: Path, settings: Settings, progress: Callable[[str, float], None]) -> Analysed:
    """Count the slide in a folder and write every result file to `out`.

    Parameters
    ----------
    slide : Path
        A folder of DICOM instances.
    out : Path
        Made when absent; files of the same names are replaced.
    settings : Settings
        The sections bundle, analysis, hl7 and review are used.
    progress : callable
        Called with the stage and how far it is, 0..1.

    Raises
    ------
    SlideError
        The folder holds no slide that can be read.
    WeightsError
        The bundle cannot be used.

    """
    with DicomSlide.open([slide]) as opened:
        inference = Inference(settings.bundle, settings.analysis)
        analysis: Analysis | None = None
        reason = ""
        try:
            analysis = inference.analyse(opened, progress)
        except (NoCountableRegion, TooFewCells) as exc:
            reason = str(exc)
        report = Report(
            case_id=f"C{opened.info.digest[:10].upper()}",
            order=None,
            slide=opened.info,
            bundle=inference.info,
            analysis=analysis,
            status=ResultStatus.PRELIMINARY if analysis else ResultStatus.NO_RESULT,
            analysed_at=datetime.now(UTC),
            reason=reason,
            warnings=opened.warnings,
        )
        progress("encode", 0.0)
        out.mkdir(parents=True, exist_ok=True)
        outputs = write_outputs(report, opened, opened.paths, load_codes(), settings, out)
        progress("encode", 1.0)
    return Analysed(report=report, outputs=outputs)
