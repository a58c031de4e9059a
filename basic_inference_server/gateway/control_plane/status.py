"""Routes that only read."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import psutil
from flask import Blueprint, Response, current_app, request

from basic_inference_server.core.memory import (
    container_limit_bytes,
    machine_bytes,
    sum_proportional_bytes,
)
from basic_inference_server.gateway.control_plane.fields import request_fields, signature_field
from basic_inference_server.gateway.control_plane.plumbing import (
    administrator_reader,
    control_plane,
    reader,
    respond,
    supervisor,
)

GB = 1024**3
INFO = "Memory Size is in GB. Total and avail mem may be reported inconsistently in containers."
DATA_PATHS = ["/run", "/run/<signature>", "/v1/live", "/v1/ready"]
DIRECT_PATHS = ["/run", "/notifications", "/update_workers", "/get_paths", "/v1/live", "/v1/ready"]
METHODS = ["GET", "POST"]
DEFAULT_LIMIT, MAX_LIMIT = 200, 1000

status = Blueprint("status", __name__)


@status.route("/list_servers", methods=METHODS)
@reader
def list_servers() -> Response:
    """Say which endpoints there are and how each one does."""
    may_see_output = control_plane().rules.may_administer(request.environ)
    return respond(supervisor().ask("list_servers", is_detailed=may_see_output))


@status.route("/system_status", methods=METHODS)
@reader
def system_status() -> Response:
    """Say how much memory and disk there is, who uses it, and what has happened."""
    may_see_errors = control_plane().rules.may_administer(request.environ)
    overview = supervisor().ask("system_overview", is_detailed=may_see_errors)
    return respond(
        {
            "SYSTEM_STATUS": _resources(overview["processes"], overview["app_folder"]),
            "SYSTEM_ALERTS": overview["alerts"],
            "SYSTEM_HISTORY": overview["history"],
        }
    )


def _gigabytes(byte_count: float) -> float:
    return round(byte_count / GB, 3)


def _processor_percent() -> float | None:
    try:
        return psutil.cpu_percent()
    except OSError:  # a /proc with processes only: systemd's ProcSubset=pid
        return None


def _resources(processes: dict[str, Any], app_folder: str) -> dict[str, Any]:
    total, available = machine_bytes()
    container = container_limit_bytes()
    if container is not None and container[0] < total:
        total, used = container
        available = max(0, min(available, total - used))
    disk = shutil.disk_usage(app_folder if Path(app_folder).exists() else ".")
    gateway = sum_proportional_bytes(processes["gateway"])
    servers = {name: sum_proportional_bytes(pids) for name, pids in processes["servers"].items()}
    ours = gateway + sum(servers.values())
    return {
        "info": INFO,
        "mem_total": _gigabytes(total),
        "mem_avail": _gigabytes(available),
        "mem_used": _gigabytes(ours),
        "mem_sys": _gigabytes(max(0, total - available - ours)),
        "mem_gateway": _gigabytes(gateway),
        "mem_servers": {name: _gigabytes(size) for name, size in servers.items()},
        "disk_total": _gigabytes(disk.total),
        "disk_avail": _gigabytes(disk.free),
        "cpu_percent": _processor_percent(),
    }


@status.route("/notifications", methods=METHODS)
@administrator_reader
def notifications() -> Response:
    """Show what endpoints and the engine recorded: in general, and per call."""
    fields = request_fields()
    bound = request.environ.get("bis.bound_signature")
    is_one = bound or fields.get("SIGNATURE") is not None
    signature = signature_field(fields) if is_one else None
    wanted = str(fields.get("LIMIT", DEFAULT_LIMIT))
    limit = min(int(wanted), MAX_LIMIT) if wanted.isdigit() else DEFAULT_LIMIT
    found = supervisor().ask("notifications", signature=signature, limit=limit)
    return respond(
        {
            "GENERAL": [item for item in found if "request_id" not in item],
            "CALLS": [item for item in found if "request_id" in item],
        }
    )


@status.route("/get_paths", methods=METHODS)
@reader
def get_paths() -> Response:
    """List the routes there are."""
    if request.environ.get("bis.bound_signature") is not None:
        return respond({"PATHS": DIRECT_PATHS})
    administration = {rule.rule for rule in current_app.url_map.iter_rules()}
    return respond({"PATHS": sorted({*DATA_PATHS, *administration})})
