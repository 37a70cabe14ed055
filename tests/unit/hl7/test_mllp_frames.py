"""MLLP frames, cut and joined anywhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hl7.mllp import Broken, FrameReader, frame, join, split


@pytest.mark.parametrize("messages", [(), (b"MSH|1\r",), (b"MSH|1\r", b"MSH|2\r")])
def test_messages_that_were_joined_come_apart_again(messages):
    assert split(join(messages)) == messages
    assert list(FrameReader().feed(frame(join(messages)))) == list(messages or [b""])


payloads = st.binary(max_size=60).map(lambda data: bytes(byte for byte in data if byte not in {0x0B, 0x1C}))


@given(st.lists(payloads, max_size=6), st.lists(st.integers(1, 40), min_size=1, max_size=20))
def test_frames_survive_any_cut(messages, cuts):
    data = b"".join(map(frame, messages))
    reader, found, at, turn = FrameReader(), [], 0, 0
    while at < len(data):
        size = cuts[turn % len(cuts)]
        found += list(reader.feed(data[at : at + size]))
        at, turn = at + size, turn + 1
    assert found == messages
    assert reader.unfinished == b""


@given(st.lists(st.binary(max_size=50), max_size=20))
def test_no_bytes_break_the_reader(parts):
    reader = FrameReader(maximum_frame_bytes=64)
    for part in parts:
        for found in reader.feed(part):
            assert isinstance(found, bytes | Broken)
            assert not isinstance(found, bytes) or len(found) <= 64
