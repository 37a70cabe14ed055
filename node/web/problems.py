"""Every refusal of the web side is JSON: what is wrong, in which field, and the remedy."""

import traceback
from collections.abc import Mapping

import structlog
from fastapi import FastAPI, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dicom_io.errors import DicomError
from hl7.errors import Hl7Error
from node.errors import NodeError, SlowDown, answer
from pipeline.errors import PipelineError

_REMEDIES = {
    404: "open the worklist and choose a case from there",
    405: "use the method the address answers to",
    408: "send the request again",
    413: "send fewer or smaller objects in one request",
    415: "send the media type the address names",
}
_log = structlog.get_logger(__name__)


class RequestError(Exception):
    """A request that cannot be served as it stands.

    Parameters
    ----------
    status : int
        HTTP status of the answer.
    error : str
        What is wrong, without patient data.
    field : str
        Parameter, header or attribute that is wrong; empty when the request as a whole is meant.
    remedy : str
        What the caller can do.
    headers : mapping, optional
        Headers that belong to the answer.
    details : mapping, optional
        What else the answer says, as values that become JSON.

    """

    def __init__(
        self,
        status: int,
        error: str,
        *,
        field: str = "",
        remedy: str = "",
        headers: Mapping[str, str] | None = None,
        details: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(error)
        self.status = status
        self.field = field
        self.remedy = remedy
        self.headers = headers
        self.details = details


def problem_answer(
    status: int,
    error: str,
    field: str = "",
    remedy: str = "",
    headers: Mapping[str, str] | None = None,
    details: Mapping[str, object] | None = None,
) -> JSONResponse:
    """The one shape of an error answer."""
    content = {"error": error, "field": field, "remedy": remedy, **(details or {})}
    return JSONResponse(jsonable_encoder(content), status, headers)


async def _on_problem(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestError)
    return problem_answer(error.status, str(error), error.field, error.remedy, error.headers, error.details)


async def _on_invalid(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"] if part not in {"query", "body", "path"})
    return problem_answer(422, first["msg"], field, f"correct {field or 'the request'} and send it again")


async def _on_http_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return problem_answer(error.status_code, str(error.detail), "", _REMEDIES.get(error.status_code, ""), error.headers)


async def _on_known(_request: Request, error: Exception) -> JSONResponse:
    told = answer(error)
    headers = {"Retry-After": str(error.wait_s)} if isinstance(error, SlowDown) else None
    return problem_answer(told.http, str(error), "", "try again later" if told.retry else "", headers)


class FaultAnswers:
    """Answers what no handler expected, and logs its kind and place but not its text, which may name a patient."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watch(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except ClientDisconnect:
            return  # nobody is there to be told
        except Exception as error:
            told = answer(error)
            place = traceback.extract_tb(error.__traceback__)[-1]
            _log.error("web request failed", kind=type(error).__name__, at=f"{place.filename}:{place.lineno}")
            if started:
                raise
            reply = problem_answer(
                told.http, "the node could not answer", "", "try again; the node's log has the fault"
            )
            await reply(scope, receive, send)


def install_problem_answers(app: FastAPI) -> None:
    """Turn every error of `app` into the one shape."""
    app.add_exception_handler(RequestError, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http_error)
    for kind in (NodeError, DicomError, Hl7Error, PipelineError):
        app.add_exception_handler(kind, _on_known)
    app.add_middleware(FaultAnswers)
