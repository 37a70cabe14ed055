"""The cells of a case: what the model saw, kept in memory for the cases looked at last, and their pictures."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import sqlalchemy as sa

from dicom_io.slide import DicomSlide
from node import cases
from node.database import Database
from node.errors import NoAnalysis
from node.recent import Recent
from node.results.archive import analysis_file, load_analysis
from node.tables import instances, runs
from pipeline.crops import FIELD_UM, crop, crop_sheet
from pipeline.domain import Analysis, RgbImage
from pipeline.geometry import centroid

_KEPT_ANALYSES = 8
_KEPT_SLIDES = 6


class CellBook:
    """Analyses and slides of the cases people look at; safe to use from several threads.

    Parameters
    ----------
    database : Database
    folder : Path
        Where the runs keep their analyses (`node.archive.analysis_file`).
    """

    def __init__(self, database: Database, folder: Path) -> None:
        self._database = database
        self._folder = folder
        self._analyses: Recent[Path, Analysis] = Recent(_KEPT_ANALYSES, load_analysis)
        self._slides: Recent[tuple[Path, ...], DicomSlide] = Recent(_KEPT_SLIDES, DicomSlide.open, DicomSlide.close)

    def run_of(self, case_id: str) -> int:
        """Which run of the case counts.

        Raises
        ------
        UnknownCase
            There is no such case.
        """
        with self._database.read() as connection:
            return int(cases.current(connection, case_id).run)

    def analysis(self, case_id: str, run: int) -> Analysis:
        """What one run of a case saw.

        Raises
        ------
        NoAnalysis
            The slide has not been counted, or could not be.
        """
        path = analysis_file(self._folder, case_id, run)
        try:
            return self._analyses.get(path)
        except FileNotFoundError as exc:
            msg = "the case has no counted cells: wait until it is analysed, or read its cause"
            raise NoAnalysis(msg) from exc

    def sheet(self, case_id: str, run: int, cell_ids: Sequence[int], side: int, columns: int) -> RgbImage:
        """Pictures of some cells, `side` pixels each, row by row.

        Raises
        ------
        NoAnalysis
            As above.
        SlideError
            The slide's files cannot be read.
        KeyError
            The case has no such cell.
        """
        known = {cell.id: cell for cell in self.analysis(case_id, run).cells}
        boxes = [known[cell_id].box for cell_id in cell_ids]
        centres = [((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2) for box in boxes]
        return crop_sheet(self._slide(case_id, run), centres, FIELD_UM, side, columns)

    def crops(self, case_id: str, run: int, cell_ids: Sequence[int], mpp: float, side: int) -> Iterator[RgbImage]:
        """One picture of each cell around its centre of area, `side` pixels of `mpp` µm; errors as in `sheet`."""
        known = {cell.id: cell for cell in self.analysis(case_id, run).cells}
        slide = self._slide(case_id, run)
        for cell_id in cell_ids:
            yield crop(slide, centroid(known[cell_id].polygon), side * mpp, side)

    def close(self) -> None:
        """Close the slides."""
        self._slides.clear()

    def _slide(self, case_id: str, run: int) -> DicomSlide:
        """The slide as the run counted it; the case may have another by now."""
        with self._database.read() as connection:
            paths = connection.execute(
                sa.select(runs.c.files).where(runs.c.case_id == case_id, runs.c.run == run)
            ).scalar_one_or_none()
            if paths is None:  # counted before runs were kept
                series = cases.current(connection, case_id).series_instance_uid
                of_series = sa.select(instances.c.path).where(instances.c.series_instance_uid == series)
                paths = connection.execute(of_series.order_by(instances.c.path)).scalars()
            return self._slides.get(tuple(Path(path) for path in paths))
