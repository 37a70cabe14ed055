"""Is the node alive, is it ready, what does it count: for supervisors, load balancers and Prometheus."""

from dataclasses import asdict

from fastapi import APIRouter
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from node.web.sources import Sources

health = APIRouter(tags=["health"])


@health.get("/health/live")
async def live() -> dict[str, str]:
    """The process answers; says nothing of what it needs."""
    return {"status": "live"}


@health.get("/health/ready")
def ready(sources: Sources) -> JSONResponse:
    """200 when database, disk, worker and bundle can do a case now, else 503 with what cannot."""
    checks = sources.checks()
    is_ready = all(check.ok for check in checks)
    body = {"status": "ready" if is_ready else "not ready", "checks": [asdict(check) for check in checks]}
    return JSONResponse(body, 200 if is_ready else 503)


@health.get("/metrics")
def metrics(sources: Sources) -> PlainTextResponse:
    """Prometheus text format; holds no patient data."""
    return PlainTextResponse(generate_latest(sources.registry), media_type=CONTENT_TYPE_LATEST)
