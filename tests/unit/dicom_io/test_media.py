"""Accept headers of real clients (PS3.18 8.7)."""

import pytest

from dicom_io.media import choose_for_frames, choose_for_instance, choose_simple, parse_accept

JPEG, JPEG_LS, NATIVE = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.1"
HTJ2K = "1.2.840.10008.1.2.4.203"


@pytest.mark.parametrize(
    ("accept", "stored", "media_type", "multipart", "decoded"),
    [
        (
            'multipart/related; type="application/octet-stream"; transfer-syntax=*',
            JPEG,
            "application/octet-stream",
            1,
            0,
        ),
        (
            'multipart/related; type="application/octet-stream"; transfer-syntax=*',
            NATIVE,
            "application/octet-stream",
            1,
            0,
        ),
        (f'multipart/related; type="image/jpeg"; transfer-syntax={JPEG}', JPEG, "image/jpeg", 1, 0),
        ('multipart/related; type="image/jpeg"', JPEG, "image/jpeg", 1, 0),
        ("image/jpeg", JPEG, "image/jpeg", 0, 0),
        ("multipart/related; type=image/jhc; transfer-syntax=*", HTJ2K, "image/jphc", 1, 0),
        ('multipart/related; type="image/x-jls"', JPEG_LS, "image/jls", 1, 0),
        ("*/*", JPEG, "image/jpeg", 1, 0),
        ("", NATIVE, "application/octet-stream", 1, 0),
        ('multipart/related; type="application/octet-stream"', JPEG, "application/octet-stream", 1, 1),
        ('multipart/related; type="application/octet-stream"', NATIVE, "application/octet-stream", 1, 0),
        ('multipart/related; type="image/jls"; q=0.3, multipart/related; type="image/jpeg"', JPEG, "image/jpeg", 1, 0),
    ],
)
def test_frames_are_answered_as_asked(accept: str, stored: str, media_type: str, multipart: int, decoded: int) -> None:
    chosen = choose_for_frames(parse_accept(accept), stored)
    assert chosen is not None
    assert (chosen.media_type, chosen.multipart, chosen.decoded) == (media_type, bool(multipart), bool(decoded))


@pytest.mark.parametrize(
    ("accept", "stored"),
    [
        (f'multipart/related; type="image/jls"; transfer-syntax={JPEG_LS}', JPEG),
        ('multipart/related; type="image/jpeg"', NATIVE),
        ("image/*", NATIVE),
        ("text/html", JPEG),
        ('multipart/related; type="image/jpeg"; q=0', JPEG),
    ],
)
def test_frames_the_client_cannot_take_are_refused(accept: str, stored: str) -> None:
    assert choose_for_frames(parse_accept(accept), stored) is None


def test_an_instance_is_answered_as_stored_or_not_at_all() -> None:
    chosen = choose_for_instance(parse_accept('multipart/related; type="application/dicom"'), JPEG)
    assert chosen is not None
    assert (chosen.transfer_syntax, chosen.multipart) == (JPEG, True)
    alone = choose_for_instance(parse_accept("application/dicom; transfer-syntax=*"), JPEG)
    assert alone is not None
    assert not alone.multipart
    assert choose_for_instance(parse_accept(f"application/dicom; transfer-syntax={NATIVE}"), JPEG) is None


def test_pictures_are_chosen_by_the_clients_wishes() -> None:
    assert choose_simple(parse_accept("image/png;q=0.5, image/jpeg"), ("image/jpeg", "image/png")) == "image/jpeg"
    assert choose_simple(parse_accept("image/webp,image/*"), ("image/jpeg",)) == "image/jpeg"
    assert choose_simple(parse_accept("text/html"), ("image/jpeg",)) is None
