"""Order → OML^O21 of HL7 2.5.1, as a laboratory system places it (LAB-1): for the demonstration and for tests."""

from datetime import datetime

from hl7.pid import write_patient
from hl7.text import escape, join_components, write_segment, write_time
from pipeline.domain import EntityId, Order


def encode_order(order: Order, *, control: str, control_id: str, at: datetime, processing_id: str = "P") -> bytes:
    r"""Write an order message.

    Parameters
    ----------
    order : Order
        One order of one patient.
    control : str
        ORC-1 (table 0119): NW, CA, XO.
    control_id : str
        MSH-10.
    at : datetime
        MSH-7.
    processing_id : str
        MSH-11.

    Returns
    -------
    bytes
        UTF-8, ``\r`` behind every segment.

    """
    number = _entity(order.placer_order_number)
    test = join_components(order.test_code, order.test_name, "LN")
    segments = [
        write_segment(
            "MSH",
            {
                3: "LIS",
                4: "LAB",
                5: "MARROWNODE",
                6: "LAB",
                7: write_time(at),
                9: "OML^O21^OML_O21",
                10: escape(control_id),
                11: processing_id,
                12: "2.5.1",
                18: "UNICODE UTF-8",
            },
        ),
        write_segment("PID", write_patient(order.patient)),
        write_segment("ORC", {1: control, 2: number, 3: _entity(order.filler_order_number)}),
        write_segment("TQ1", {1: "1", 9: order.priority.value}),
        write_segment(
            "OBR",
            {
                1: "1",
                2: number,
                3: _entity(order.filler_order_number),
                4: test,
                7: write_time(order.collected_at),
                18: escape(order.accession_number),
            },
        ),
    ]
    for position, specimen in enumerate(order.specimen_ids, start=1):
        segments.append(write_segment("SPM", {1: str(position), 2: escape(specimen), 4: _type(order)}))
    if order.container_ids:
        if not order.specimen_ids:
            segments.append(write_segment("SPM", {1: "1", 4: _type(order)}))
        segments += [write_segment("SAC", {3: escape(container)}) for container in order.container_ids]
    return "".join(f"{segment}\r" for segment in segments).encode()


def _entity(number: EntityId | None) -> str:
    if number is None:
        return ""
    return join_components(number.value, number.namespace, number.universal_id, number.universal_id_type)


def _type(order: Order) -> str:
    return join_components(order.specimen_type or "119359002", "Bone marrow specimen", "SCT")
