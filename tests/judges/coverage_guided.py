#!/usr/bin/env python3
"""The fuzz tests under atheris, which looks for bytes that reach new branches of our code.

python tests/judges/coverage_guided.py [--seconds 60] [NAME ...]

Each test gets a process of its own, because atheris ends its process. The exit code is that of the
first one that failed. C code, such as orjson's, is not seen: hypothesis's own search covers it.
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(__file__).with_name(".cache")
TARGETS = {
    "request_frames": "test_fuzz_frames:test_request_bytes_are_a_frame_or_a_frame_error",
    "reply_frames": "test_fuzz_frames:test_reply_bytes_are_a_header_or_a_frame_error",
    "json": "test_fuzz_json:test_codec_reads_what_python_reads",
    "signatures": "test_fuzz_json:test_gateway_and_worker_read_the_same_signature",
    "settings": "test_fuzz_settings:test_any_override_gives_settings_or_problems",
    "configuration": "test_fuzz_settings:test_any_text_gives_an_object_or_problems",
}


def main() -> int:
    """Run the targets one after another."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := set(options.names) - TARGETS.keys():
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    if options.here:
        fuzz(options.names[0], options.seconds)
    for name in options.names or TARGETS:
        print(f"== {name}", flush=True)
        command = [sys.executable, __file__, "--here", "--seconds", str(options.seconds), name]
        ended = subprocess.run(command, check=False)
        if ended.returncode != 0:
            return ended.returncode
    return 0


def fuzz(name: str, seconds: int) -> None:
    """Fuzz one target until the time is up or something is found; ends the process."""
    # Nothing else has it, so it is imported here.
    import atheris  # type: ignore[import-untyped]  # noqa: PLC0415

    sys.path.insert(0, str(ROOT))
    module_name, _, test_name = TARGETS[name].partition(":")
    with atheris.instrument_imports(include=["basic_inference_server"]):
        module = importlib.import_module(f"tests.judges.{module_name}")
    test = getattr(module, test_name)
    CACHE.mkdir(exist_ok=True)
    arguments = [sys.argv[0], f"-max_total_time={seconds}", f"-artifact_prefix={CACHE}/"]
    arguments += ["-verbosity=0", "-print_final_stats=1"]
    atheris.Setup(arguments, test.hypothesis.fuzz_one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
