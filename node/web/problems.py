"""Every refusal of the web side is JSON: what is wrong, in which field, and the remedy."""

from collections.abc import Mapping

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

_REMEDIES = {
    404: "open the worklist and choose a case from there",
    405: "use the method the address answers to",
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

    """

    def __init__(self, status: int, error: str, *, field: str = "", remedy: str = "") -> None:
        super().__init__(error)
        self.status = status
        self.field = field
        self.remedy = remedy


def problem_answer(
    status: int, error: str, field: str = "", remedy: str = "", headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """The one shape of an error answer."""
    return JSONResponse({"error": error, "field": field, "remedy": remedy}, status, headers)


async def _on_problem(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestError)
    return problem_answer(error.status, str(error), error.field, error.remedy)


async def _on_invalid(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"] if part not in {"query", "body", "path"})
    return problem_answer(422, first["msg"], field, f"correct {field or 'the request'} and send it again")


async def _on_http_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return problem_answer(error.status_code, str(error.detail), "", _REMEDIES.get(error.status_code, ""), error.headers)


async def _on_fault(request: Request, error: Exception) -> JSONResponse:
    _log.error("web request failed", method=request.method, route=request.scope.get("path"), kind=type(error).__name__)
    return problem_answer(500, "the node could not answer", "", "try again; the node's log names the fault")


def install_problem_answers(app: FastAPI) -> None:
    """Turn every error of `app` into the one shape."""
    app.add_exception_handler(RequestError, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(Exception, _on_fault)
