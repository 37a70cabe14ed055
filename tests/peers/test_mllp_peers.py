"""MLLP with the clients and servers of others: python-hl7 (Debian's python3-hl7) and hl7apy."""

import asyncio
import contextlib
import shutil
import subprocess
import threading
from datetime import UTC, datetime

import pytest
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.mllp import AbstractHandler, MLLPServer
from hl7apy.parser import parse_message

from hl7.acks import Outcome, accept, refuse
from hl7.errors import NotAcknowledged, ParseError
from hl7.mllp import MllpServer, send
from hl7.orders import parse_order_message
from hl7.results import ResultsConfig, encode_oru
from tests.builders import build_codes, build_report

SYSTEM_PYTHON = "/usr/bin/python3"  # python-hl7's module has the name of ours, so it runs in an interpreter of its own
ORDERS = [f"MSH|^~\\&|LIS|HOSP|NODE|LAB|20261005090000||OML^O21^OML_O21|MSG-{number}|P|2.5.1\r"
          "PID|1||TEST-4711^^^HOSP^MR||DOE^JANE||19700101|F\r"
          f"ORC|NW|PL-{number}^LIS\r"
          f"OBR|1|PL-{number}^LIS||BMDCC^Marrow differential^L\r" for number in range(3)]  # fmt: skip

PYTHON_HL7_SERVER = """
import asyncio, sys
from hl7.mllp import start_hl7_server

async def serve(reader, writer):
    message = await reader.readmessage()
    obx = message.segments("OBX")
    print(message["OBR.F25"], len(obx), message["PID.F5"], flush=True)
    writer.writemessage(message.create_ack(sys.argv[1]))
    await writer.drain()
    writer.close()

async def main():
    server = await start_hl7_server(serve, "127.0.0.1", 0, encoding="utf-8")
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()

asyncio.run(main())
"""


PYTHON_HL7_CLIENT = """
import asyncio, sys
from hl7 import parse
from hl7.mllp import open_hl7_connection

async def main():
    reader, writer = await open_hl7_connection("127.0.0.1", int(sys.argv[1]), encoding="utf-8")
    for text in sys.argv[2:]:
        writer.writemessage(parse(text))
        await writer.drain()
        for _ in range(2):
            answer = await reader.readmessage()
            print(answer["MSA.F1"], answer["MSA.F2"], answer["MSH.F9.R1.C1"], flush=True)
    writer.close()

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def mllp_send():
    found = shutil.which("mllp_send")
    assert found, "mllp_send is missing: apt-get install python3-hl7"
    return found


@contextlib.contextmanager
def python_hl7_server(ack_code, folder):
    """A server of python-hl7 that answers one message; its port and its output."""
    with subprocess.Popen(
        [SYSTEM_PYTHON, "-I", "-c", PYTHON_HL7_SERVER, ack_code], stdout=subprocess.PIPE, text=True, cwd=folder
    ) as process:
        try:
            yield int(process.stdout.readline()), process.stdout
        finally:
            process.kill()


async def take_order(message, _peer):
    """What the node does with an order, without a database."""
    at = datetime(2026, 10, 5, 9, tzinfo=UTC)
    try:
        order = parse_order_message(message)
    except ParseError as error:
        return (refuse(message, error, at=at, control_id="ACK"),)
    outcomes = [Outcome(granted=True, order_status="SC") for _ in order.requests]
    return accept(order, outcomes, at=at, control_id="ACK")


@pytest.mark.parametrize(
    ("texts", "code"), [(ORDERS, "AA"), ([ORDERS[0].replace("ORC|NW", "ORC|??")], "AE"), (["MSH|^~\\&|LIS\r"], "AR")]
)
def test_mllp_send_is_answered(mllp_send, tmp_path, texts, code):
    file = tmp_path / "orders.mllp"
    file.write_bytes(b"".join(b"\x0b" + text.encode() + b"\x1c\r" for text in texts))

    async def run():
        server = MllpServer("127.0.0.1", 0, take_order)
        await server.start()
        client = await asyncio.create_subprocess_exec(
            mllp_send, "--port", str(server.port), "--file", str(file), "127.0.0.1",
            stdout=asyncio.subprocess.PIPE, cwd=tmp_path,
        )  # fmt: skip
        output, _ = await asyncio.wait_for(client.communicate(), 30)
        await server.stop()
        assert client.returncode == 0
        return output.decode()

    answers = asyncio.run(run())
    assert answers.count(f"MSA|{code}") == len(texts)
    if code == "AA":
        places = [answers.index(f"MSA|AA|MSG-{number}") for number in range(3)]
        assert places == sorted(places)


def test_python_hl7_reads_both_answers_of_enhanced_mode(tmp_path):
    orders = [order.replace("|P|2.5.1", "|P|2.5.1|||AL|AL") for order in ORDERS[:2]]

    async def run():
        server = MllpServer("127.0.0.1", 0, take_order)
        await server.start()
        client = await asyncio.create_subprocess_exec(
            SYSTEM_PYTHON, "-I", "-c", PYTHON_HL7_CLIENT, str(server.port), *orders,
            stdout=asyncio.subprocess.PIPE, cwd=tmp_path,
        )  # fmt: skip
        output, _ = await asyncio.wait_for(client.communicate(), 30)
        await server.stop()
        return output.decode().splitlines()

    assert asyncio.run(run()) == ["CA MSG-0 ACK", "AA MSG-0 ORL", "CA MSG-1 ACK", "AA MSG-1 ORL"]


def test_python_hl7_receives_a_result(tmp_path):
    with python_hl7_server("AA", tmp_path) as (port, output):
        answer = send("127.0.0.1", port, encode_oru(build_report(), build_codes(), ResultsConfig()), timeout_s=20)
        assert b"MSA|AA|" in answer
        assert output.readline() == "P 19 Muster\n"


@pytest.mark.parametrize(("code", "retryable"), [("AR", True), ("AE", False)])
def test_python_hl7_refuses_a_result(tmp_path, code, retryable):
    with python_hl7_server(code, tmp_path) as (port, _), pytest.raises(NotAcknowledged) as caught:
        send("127.0.0.1", port, encode_oru(build_report(), build_codes(), ResultsConfig()), timeout_s=20)
    assert (caught.value.code, caught.value.retryable) == (code, retryable)


class StrictReceiver(AbstractHandler):
    """Answers AA to a strictly valid ORU^R01, AE to anything else."""

    def reply(self):
        message = parse_message(self.incoming_message, validation_level=VALIDATION_LEVEL.STRICT)
        code = "AA" if message.validate() else "AE"
        return f"\x0bMSH|^~\\&|L|L|N|L|2026||ACK|1|P|2.5.1\rMSA|{code}|{message.msh.msh_10.value}\r\x1c\r"


def test_hl7apy_receives_a_strictly_valid_result():
    with MLLPServer("127.0.0.1", 0, {"ORU^R01^ORU_R01": (StrictReceiver,)}) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            answer = send(
                "127.0.0.1",
                server.server_address[1],
                encode_oru(build_report(), build_codes(), ResultsConfig()),
                timeout_s=20,
            )
        finally:
            server.shutdown()
            thread.join()
    assert b"MSA|AA|" in answer
