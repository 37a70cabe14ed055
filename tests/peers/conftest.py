"""One finished case of a real slide, for every client that only reads."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import FileDataset

from tests.serving import serving
from tests.stored_cases import Site, slide_case


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """Where a node's DICOMweb answers, and the files that it serves, as they are on the disk."""

    url: str
    url_inline: str  # with every binary value in the metadata
    slide: tuple[Path, ...]  # largest level first
    results: dict[str, Path]  # by kind: SEG, SEGROI, ANN, SR, SR3D

    @property
    def base(self) -> FileDataset:
        """The largest level."""
        return dcmread(self.slide[0])

    def result(self, kind: str) -> FileDataset:
        return dcmread(self.results[kind])


@pytest.fixture(scope="session")
def archive(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """A node's web side with the real slide, and SEG, ANN and SR of its case."""
    with Site.at(tmp_path_factory.mktemp("archive")) as site:
        slide_case(site, shared / "slides" / "marrow-fields")
        slide = sorted(site.store.root.glob("*/*/*.dcm"), key=lambda path: -path.stat().st_size)
        results = {path.stem.upper(): path for path in site.folder.rglob("*.dcm")}
        with serving(site) as address, serving(site, inline_bytes=1 << 30) as inline:
            urls = {"url": f"{address}/dicomweb", "url_inline": f"{inline}/dicomweb"}
            yield Archive(**urls, slide=tuple(slide), results=results)
