"""wsidicom opens the slide over DICOMweb and reads from it what it reads from the files."""

from collections.abc import Iterator

import numpy as np
import pytest
from dicomweb_client import DICOMwebClient
from requests import Session
from wsidicom import WsiDicom, WsiDicomWebClient
from wsidicom.config import settings

from tests.peers.conftest import Archive

# wsidicom leaves out what metadata gives an address for; of a slide that is the ICC profile, which it does not apply.
without_profile = pytest.mark.filterwarnings("ignore:No bulk data URI handler:UserWarning")


@pytest.fixture
def slides(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[WsiDicom, WsiDicom]]:
    """The slide over the web, and from the disk."""
    for cache in ("encoded_frame_cache_size", "decoded_frame_cache_size"):  # our own reader does without
        monkeypatch.setattr(settings, cache, 1 << 26)
    base = archive.base
    with Session() as session:
        client = WsiDicomWebClient(DICOMwebClient(archive.url, session=session))
        with (
            WsiDicom.open_web(client, base.StudyInstanceUID, base.SeriesInstanceUID) as web,
            WsiDicom.open(archive.slide) as file,
        ):
            yield web, file


@without_profile
def test_every_level_is_there(slides: tuple[WsiDicom, WsiDicom]) -> None:
    web, file = slides
    assert [level.size for level in web.levels] == [level.size for level in file.levels]
    assert web.mpp == file.mpp


@without_profile
@pytest.mark.parametrize(
    ("level", "corner", "size"), [(0, (3000, 2100), (700, 600)), (1, (0, 0), (512, 512)), (3, (500, 300), (780, 415))]
)
def test_regions_are_equal(
    slides: tuple[WsiDicom, WsiDicom], level: int, corner: tuple[int, int], size: tuple[int, int]
) -> None:
    web, file = slides
    read = np.asarray(web.read_region(corner, level, size))
    assert np.array_equal(read, np.asarray(file.read_region(corner, level, size)))
    assert read.std() > 10


def test_annotations_are_those_of_the_file(archive: Archive) -> None:
    """From a node that keeps nothing out of the metadata."""
    ann = archive.result("ANN")
    with Session() as session:
        client = WsiDicomWebClient(DICOMwebClient(archive.url_inline, session=session))
        series = [archive.base.SeriesInstanceUID, ann.SeriesInstanceUID]
        with WsiDicom.open_web(client, ann.StudyInstanceUID, series) as web:
            (found,) = web.annotations
            counts = {group.label: len(group.annotations) for group in found.groups}
    groups = ann.AnnotationGroupSequence
    assert counts == {group.AnnotationGroupLabel: group.NumberOfAnnotations for group in groups}
