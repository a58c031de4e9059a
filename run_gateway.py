"""Starts the gateway of this folder: `python run_gateway.py [--port 5002]`."""

from __future__ import annotations

import argparse
import os
import platform
import sys

from basic_inference_server.startup import prepare_process

prepare_process()  # first of all: the imports below take most of the start

from app_ver import __VER__ as APP_VER  # noqa: E402
from basic_inference_server.cli import add_run_arguments, print_any_text, run  # noqa: E402


def main() -> None:
    """Parse the arguments, say what runs where, run."""
    print_any_text()
    parser = argparse.ArgumentParser(description=__doc__)
    add_run_arguments(parser)
    arguments = parser.parse_args()
    if not arguments.check_config:
        banner = (
            f"{os.environ.get('AID_APP_ID', 'aid_app_bare_metal')} v{APP_VER}, "
            f"TZ: {os.environ.get('TZ')}, py: {sys.version.split()[0]}, OS: {platform.platform()}, "
            f"Docker: {os.environ.get('AID_APP_DOCKER') == 'Yes'}"
        )
        print(banner, flush=True)
    if os.environ.get("SHOW_PACKS", "").lower() == "yes":
        from basic_inference_server import get_packages  # noqa: PLC0415 - slow, and rarely wanted

        print("\n".join(get_packages()), flush=True)
    run(arguments)


if __name__ == "__main__":
    main()
