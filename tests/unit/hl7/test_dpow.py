"""OML^O21 that is no order (IHE DPOW): told by MSH-21, read by its own rules."""

import pytest

from hl7.dpow import Kind
from hl7.errors import ParseError
from hl7.orders import parse_order_message

NOTICE = [
    "MSH|^~\\&|PACS|LAB|NODE|LAB|20261005||OML^O21^OML_O21|N1|P|2.5.1|||||||||DPOW-IMAGE-NOTIF^IHE",
    "PID|1||TEST-4711^^^HOSP^MR",
    "ORC|SC|PL-1^LIS|B26-1^LIS",
    "OBR|1|PL-1^LIS||687891.024^Digital AP Study^L",
    "SPM|1|^B26-1-A1||TISS" + "|" * 14 + "20261005083000||Y",
    "OBX|1|RP|StudyInstanceUID^^DCM||1.2.3||||||F",
    "OBX|2|RP|112002^Series Instance UID^DCM||1.2.3.4||||||F",
    "OBX|3|CWE|397165007^Stain^SCT||255803004^Giemsa^SCT||||||F",
]


def read(*lines, profile="DPOW-IMAGE-NOTIF"):
    return parse_order_message("".join(f"{line}\r" for line in lines).replace("DPOW-IMAGE-NOTIF", profile).encode())


@pytest.mark.parametrize(
    ("profile", "kind"),
    [
        ("DPOW-SLIDE", Kind.REGISTRATION),
        ("dpow-block", Kind.REGISTRATION),
        ("DPOW-IMAGE-NOTIF", Kind.IMAGE),
        ("LAB-29^IHE~DPOW-SPECIMEN", Kind.REGISTRATION),
        ("DPOW-CASE-UPDATE", Kind.ORDER),
        ("LAB-29", Kind.ORDER),
    ],
)
def test_the_profile_says_what_a_message_is_for(profile, kind):
    message = read(*NOTICE, profile=profile)
    assert message.kind is kind
    assert (message.requests[0].image is not None) == (kind is Kind.IMAGE)


def test_a_notice_names_its_images():
    (request,) = read(*NOTICE).requests
    assert request.image.available
    assert (request.image.study_instance_uids, request.image.series_instance_uids) == (("1.2.3",), ("1.2.3.4",))
    assert (request.order.container_ids, request.order.accession_number) == (("B26-1-A1",), "")
    withdrawn = [line.replace("||Y", "||N") for line in NOTICE[:5]]
    assert not read(*withdrawn).requests[0].image.available


def test_a_notice_without_a_state_is_refused():
    for line, code in ((NOTICE[4].removesuffix("||Y"), 101), (NOTICE[4].replace("||Y", "||?"), 103)):
        with pytest.raises(ParseError, match="SPM-20") as caught:
            read(*NOTICE[:4], line)
        assert (caught.value.code, caught.value.location) == (code, "SPM^1^20")


def test_what_is_no_order_needs_neither_number_nor_test():
    bare = read(NOTICE[0], NOTICE[1], "ORC|NW", "SPM|1|^B26-1-A1", profile="DPOW-SLIDE")
    assert bare.requests[0].order.container_ids == ("B26-1-A1",)
    with pytest.raises(ParseError, match="OBR is required"):
        read(NOTICE[0], NOTICE[1], "ORC|NW", "SPM|1|^B26-1-A1", profile="LAB-1")
    with pytest.raises(ParseError, match="SPM-2"):
        read(NOTICE[0], NOTICE[1], "ORC|NW", "OBR|1", profile="DPOW-SLIDE")
