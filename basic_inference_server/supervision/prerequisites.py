"""What has to be there before anything is started; what is missing is a refusal in one line."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from basic_inference_server.core.descriptors import descriptor_limit, needed_descriptors
from basic_inference_server.core.settings import GatewaySettings
from basic_inference_server.supervision.sockets import StartError

OLDEST_KERNEL = "Linux 5.3"
OUR_FILES = ("admin_token", "tokens.json", "tokens.lock", "events.sqlite",
             "run/gateway.lock", "run/gateway.json")  # fmt: skip


def require_system() -> None:
    """Check that the kernel has what the supervision of processes needs.

    Raises:
        StartError: it has not, or does not allow it.
    """
    try:
        pidfd = os.pidfd_open(os.getpid())
        try:
            signal.pidfd_send_signal(pidfd, 0)  # 0 asks only
        finally:
            os.close(pidfd)
        os.close(os.memfd_create("probe", os.MFD_CLOEXEC))
    except AttributeError as error:
        raise StartError(f"{OLDEST_KERNEL} or newer is needed: {error}") from error
    except OSError as error:
        raise StartError(
            f"pidfd_open or memfd_create: {error.strerror}; {OLDEST_KERNEL} or newer is needed, "
            "and in a container a seccomp profile that allows them"
        ) from error
    if not Path("/proc/self/fd").is_dir():
        raise StartError("/proc is not mounted")


def require_folders(base_folder: Path, app_folder: Path) -> None:
    """Check that the folders have names that can be passed on, and no folder is where a file goes.

    Raises:
        StartError: one of them is in the way.
    """
    for folder in (base_folder, app_folder):
        try:
            str(folder).encode("utf-8")
        except UnicodeEncodeError as error:
            raise StartError(
                f"the name of the folder {str(folder)!a} is not UTF-8, or the locale is not; "
                "rename the folder, or set LC_ALL=C.UTF-8"
            ) from error
    for name in OUR_FILES:
        if (app_folder / name).is_dir():
            raise StartError(f"{app_folder / name} is a folder, where a file belongs: move it away")


def require_descriptors(settings: GatewaySettings) -> None:
    """Check that the limit of descriptors is enough for a configuration.

    Raises:
        StartError: the endpoints need more than are allowed.
    """
    sections = settings.CONFIG_ENDPOINTS.values()
    programs = sum(section.is_support_process for section in sections)
    needed = needed_descriptors(len(sections) - programs, programs)
    allowed = descriptor_limit()
    if needed > allowed:
        raise StartError(
            f"{len(sections)} endpoints need {needed} file descriptors, and {allowed} are allowed; "
            "raise the limit (ulimit -Hn, LimitNOFILE= of systemd, --ulimit nofile= of Docker)"
        )
