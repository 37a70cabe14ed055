"""UIDs: what passes, and that derived ones are what PS3.5 B.2 says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_io.uids import derive_uid, is_uid


@pytest.mark.parametrize("text", ["1", "1.2.840.10008.1.1", "2.25.0", "1.02.3", "9" * 64])
def test_uids_pass(text):
    assert is_uid(text)


@pytest.mark.parametrize("text", ["", "1.", ".1", "1..2", "1/2", "1.2\n", "1.a", "../1", "1 2", "١.2", "9" * 65])
def test_other_texts_do_not(text):
    assert not is_uid(text)


@given(st.lists(st.text(), max_size=4))
def test_derived_uids_are_legal_and_stable(parts):
    uid = derive_uid(*parts)
    assert is_uid(uid)
    assert uid.startswith("2.25.")
    assert int(uid.removeprefix("2.25.")) < 1 << 128
    assert uid == derive_uid(*parts)


def test_parts_do_not_run_together():
    assert len({derive_uid("ab", "c"), derive_uid("a", "bc"), derive_uid("abc"), derive_uid("abc", "")}) == 4


def test_a_derived_uid_never_changes_between_versions():
    assert derive_uid("case", "1") == "2.25.113609989505938599851577223561093236394"
