"""Write the reference pages that are made from code: settings and errors.

python scripts/build_reference.py            write docs/reference/settings.md and errors.md
python scripts/build_reference.py --check    write nothing; exit 1 when a page is not up to date
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # a script's own folder is on the path, the checkout is not
    sys.path.insert(0, str(ROOT))

from basic_inference_server.core import errors  # noqa: E402 - after the path is set
from basic_inference_server.core.errors import ServiceError  # noqa: E402
from basic_inference_server.core.settings import (  # noqa: E402
    ENVIRONMENT_PREFIX,
    SECRET_WORDS,
    EndpointSettings,
    GatewaySettings,
)

REFERENCE = ROOT / "docs" / "reference"
MADE = "<!-- Made by scripts/build_reference.py; change that or the code, then run it. -->"

# What a key means. What it allows and its default come from the code.
GATEWAY_MEANINGS = {
    "SERVER_NAME": "Name of this gateway; `ps` shows it beside the gateway's processes.",
    "HOST": "Address that the gateway's port is opened on; `--host` is stronger. "
    "In force from the next start.",
    "PORT": "The gateway's port; 0 takes a free one; `--port` is stronger. "
    "In force from the next start.",
    "DEFAULT_SERVER": "Checked and kept; no route of this release uses it.",
    "NO_STARTUP_WAIT": "`true`: the port answers at once, and a request waits for its endpoint. "
    "`false`: the port opens when every enabled endpoint is ready, in backoff or has failed.",
    "CONFIG_ENDPOINTS": "The endpoints: signature to section, in the order in which they are shown "
    "and get their ports.",
    "GATEWAY_WORKERS": "Gateway processes; more than one helps where one is busy all the time.",
    "MAX_BODY_BYTES": "Largest request body; a larger one is answered with 413.",
    "GRACEFUL_TIMEOUT": "Seconds that requests in flight get to finish when something stops.",
    "CORS_ORIGINS": "Origins whose pages may read answers of the data path; "
    "`*` is all of them, `[]` none.",
    "ADMIN_OPEN": "`true`: anyone who reaches the port may administer, but for tokens. "
    "Warned of at the start.",
    "ADMIN_TRUST_LOOPBACK": "`true`: programs of the gateway's own user on this machine may "
    "administer without a token, under [conditions](http.md#who-may-administer). "
    "Set `false` behind a [proxy](../howto/access.md#behind-a-proxy) of the same user.",
    "STATUS_OPEN": "`false`: `/list_servers`, `/system_status` and `/get_paths` are for "
    "administrators only.",
    "LOG_FORMAT": "`console` is for people, `json` is one object a line; "
    "`auto` is `console` on a terminal and `json` elsewhere.",
    "LOG_LEVEL": "The least severe level that is written.",
    "ERROR_DETAIL": "How much callers who may not administer are told of an endpoint's exceptions: "
    "everything, the class, or nothing. [Errors](errors.md#how-much-is-told) has examples.",
    "RELOAD_ON_CHANGE": "`true`: an endpoint whose file changes is replaced by itself, and a "
    "changed configuration file is reloaded; looked at once a second. "
    "Otherwise `/reload`, SIGHUP or `/restart_server` does it.",
    "MAX_CONNECTIONS": "Connections that one gateway process keeps open; one more is answered "
    "with 503 `overloaded` and closed.",
    "HEAD_TIMEOUT": "Seconds for a request's head, and for the first byte of a connection.",
    "BODY_TIMEOUT": "Seconds for a request's body, and 1 more for each 64 KiB of it.",
    "IDLE_TIMEOUT": "Seconds that a connection is kept for its next request. Behind a proxy or a "
    "load balancer it has to be longer than what that one keeps connections; see "
    "[proxies](../howto/reverse_proxy.md#kept-connections).",
    "MAX_BUFFERED_MB": "Memory that one gateway process gives to answers which their clients have "
    "not read yet. Above it the connection with the least progress is cut; see "
    "[slow readers](behaviour.md#slow-readers).",
}
ENDPOINT_MEANINGS = {
    "SERVER_CLASS": "File in the endpoints folder; the signature when not set. "
    "Upper and lower case and underscores do not matter.",
    "NR_WORKERS": "Worker processes; each one holds a loaded endpoint and runs one request at a "
    "time, or `THREADS` of them. `/update_workers` changes it until the next start.",
    "HOST": "Address of the server's own port. "
    '`"NO_HOST"` makes the section a support process, which has no port.',
    "PORT": "The server's own port, which neither the gateway nor another section may have. When "
    "not set, the first free one from 5003, or any free one when the gateway itself was started "
    "with port 0.",
    "DISABLED": "`true`: not started with the gateway; `/start_server` starts it.",
    "DESCRIPTION": "Shown by `/list_servers`; the first line of the class's docstring when empty.",
    "PING_INTERVAL": "Support processes only: seconds between two rounds.",
    "TIMEOUT": "Seconds for one request. Its caller gets 504 then, and a worker that still "
    "executes is ended and replaced.",
    "LOAD_TIMEOUT": "Seconds for loading; a worker that takes longer is ended.",
    "QUEUE_SIZE": "Requests that wait beyond those that execute; one more is answered with 503 "
    "`overloaded`.",
    "IDEMPOTENT": "`true`: a request whose worker died is sent once more. "
    "When not set, the endpoint's own `_CONFIG` decides.",
    "BATCH_SIZE": "How many requests a worker executes together, where the endpoint has "
    "`_predict_batch`.",
    "BATCH_WAIT_MS": "How long a worker waits for a batch to fill after its first request; "
    "0 takes what is there.",
    "THREADS": "How many requests a worker executes at the same time: in threads, or as tasks of "
    "one event loop where `_predict` is an `async def`; see "
    "[concurrency](../howto/concurrency.md).",
    "MAX_REQUESTS": "A worker leaves after that many requests (up to 10 % fewer, so that not all "
    "leave together) and is replaced.",
    "MAX_MEMORY_MB": "A worker whose resident memory is above it (up to 10 % below, for the same "
    "reason) leaves after its request and is replaced; looked at once a second.",
    "MAX_MEMORY_HARD_MB": "A worker whose resident memory is above it is ended at once, in the "
    "middle of its request, which is answered 502; looked at twice a second.",
    "QUARANTINE_WINDOW": "A request that kills its worker twice within so many seconds is refused "
    "from then on with 422 `quarantined`; 0 turns this off.",
    "QUARANTINE_KEEP_BODY": "`true`: `/quarantine` shows the body of such a request (up to 1 MiB); "
    "else only its fingerprint is kept.",
    "WARMUP": "Inputs that each worker runs before it takes its first request; it counts as ready "
    'when all of them have succeeded. `{"$file": "a/path"}` is a '
    "[file](../howto/change.md#ready-means-warm).",
    "OPEN_TO_PUBLIC": "`false`: a request needs a [token](../howto/access.md) that may run this "
    "endpoint, from this machine too.",
    "ENV": "Environment variables of the server's processes, or of the support process.",
}

SECRETS = ", ".join(f"`{word}`" for word in SECRET_WORDS)

SETTINGS_INTRODUCTION = (
    "# Settings",
    "",
    "`config_gateway.txt` is one JSON object; its keys are upper case.",
    "The file is read when the gateway starts, and again by "
    "[`/reload` or SIGHUP](../howto/change.md).",
    "Everything that is wrong in it is printed, each with its path, the value and what is "
    "allowed, and the process ends with exit code 78 before it starts anything.",
    "`python run_gateway.py --check-config` does only that, and looks whether each endpoint's "
    "file is there.",
    "",
    "A value comes from, the later the stronger: the default, the file, "
    f"the environment variable `{ENVIRONMENT_PREFIX}<KEY>` (top level only, but not "
    "`CONFIG_ENDPOINTS`; JSON or plain text), `--set KEY=VALUE` on the command line, "
    "`--host` and `--port`.",
    "The first log event, `settings`, shows each top-level value, where it came from, and what "
    "the file has instead.",
    f"A key of your own whose name contains {SECRETS} is shown as `***` there.",
)

KEYS_THAT_NOTHING_READS = (
    "## Keys that nothing reads",
    "",
    "A key or variable that looks like a misspelt setting is refused: `did you mean …?`",
    "Counting words do not matter: `WORKERS` is taken for `NR_WORKERS`, `MAX_BATCH_SIZE` for "
    "`BATCH_SIZE`; a key of your own that is so near to a setting needs another name.",
    "A key of a section at the top level is refused, too.",
    "Everything else that nothing reads is warned of, at the start, at a reload and by "
    "`--check-config`: other top-level keys, other variables that begin with "
    f"`{ENVIRONMENT_PREFIX}`, settings of the top level in a section, settings of a section in "
    "an endpoint's `_CONFIG` when it loads (only `IDEMPOTENT` is read there).",
    "`BIS_ADDRESS` and `BIS_TOKEN` belong to the client, and the gateway passes them over.",
)

KEYS_OF_THE_ENDPOINT = (
    "Any other key is the endpoint's own configuration.",
    "It is laid over the `_CONFIG` of the endpoint's file and read as "
    "`self.config_data[KEY]` or `self.cfg_<key in lower case>`.",
    "",
    "A signature is 1 to 128 letters, digits, `_`, `-` and `.`.",
    "One that cannot be the name of a Python file, such as `demo-bis`, needs `SERVER_CLASS`.",
)

OTHER_VARIABLES = (
    "## Other environment variables",
    "",
    "| variable | meaning |",
    "| --- | --- |",
    "| `TZ` | time zone of `time` in answers and notifications; log lines are in UTC |",
    "| `AID_APP_ID`, `AID_APP_DOCKER` | shown in the first line that `run_gateway.py` prints |",
    "| `SHOW_PACKS` | `yes`: `run_gateway.py` prints what is installed |",
    "| `NO_COLOR` | set to anything: no colours on a terminal |",
    "",
    "Unless they are set already, server and support processes get `OMP_NUM_THREADS`, "
    "`OPENBLAS_NUM_THREADS`, `MKL_NUM_THREADS` and `NUMEXPR_NUM_THREADS` as 1, "
    "`TOKENIZERS_PARALLELISM` as `false` and `ORT_DISABLE_TELEMETRY` as 1.",
)

ERRORS_INTRODUCTION = (
    "# Errors",
    "",
    "Every error is one JSON object, on every route and for every input.",
    "",
    "```json",
    '{"ERROR": "There is no endpoint \'nope\'.", "code": "unknown_signature", '
    '"request_id": "e05f72da9c2e-21",',
    ' "retryable": false, "executed": "no", "time": "2026-11-21 05:34:14", "ver": "0.1.0",',
    ' "available": ["dummy_model_demo1", "dummy_model_demo2", "sentiment"]}',
    "```",
    "",
    "| field | meaning |",
    "| --- | --- |",
    "| `ERROR` | one sentence for a person |",
    "| `code` | for a program; stable |",
    "| `request_id` | the value of `X-Request-Id`; it is on the log lines of the request |",
    "| `retryable` | whether sending the same request again can help |",
    "| `executed` | whether endpoint code ran for it: `no`, `yes` or `unknown` |",
    "| `time`, `ver` | local time, version of the application (`app_ver.py`) |",
    "",
    "Some errors add fields: `available` (names), `state` (of the server), `cause` (of a "
    "worker's death), `retry_after_s`, `max_body_bytes`, `allowed` (methods), `reason` (why a "
    "token does not do: `missing`, `invalid`, `expired`, or `unreadable` when the gateway "
    "cannot read its tokens), `scope` (that the token would need).",
)

ERRORS_TO_TRY_AGAIN = (
    "An error whose body has `retry_after_s` has the header `Retry-After` with that number "
    "of seconds.",
    "503 from an endpoint route means that the request was not executed: "
    "it is safe to send it again.",
)

HOW_MUCH_IS_TOLD = (
    "## How much is told",
    "",
    "What an exception says may hold what nobody outside shall read, such as the address of a "
    "database with its password.",
    "So `ERROR_DETAIL` says what callers are told of an `endpoint_error`, of why an endpoint "
    "is not ready (503), and in `last_error` and the alerts and history of `/system_status`:",
    "",
    "| `ERROR_DETAIL` | callers who may not administer are told |",
    "| --- | --- |",
    "| `class` (default) | the class: `ValueError in shout; the log has the details (request "
    "id e05f72da9c2e-21).` |",
    "| `none` | `shout failed; the log has the details (request id e05f72da9c2e-21).` |",
    "| `full` | everything, as in `shout failed: ValueError: no such word`; warned of at "
    "the start |",
    "",
    "Callers who [may administer](http.md#who-may-administer) are always told everything: "
    "your own programs on the gateway's machine, and everyone who sends a token of the scope "
    "`admin`.",
    "The log has everything, with the traceback, which no caller is told.",
    "It does not govern 422, with which an endpoint tells its caller what is wrong with the "
    "inputs.",
)


def default_of(field: FieldInfo) -> str:
    """Return a field's default as a reader of JSON writes it."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return "not set" if value is None else f"`{json.dumps(value)}`"


def settings_table(model: type[BaseModel], meanings: dict[str, str]) -> Iterator[str]:
    """Yield one table row for each key of `model`.

    Raises:
        ValueError: a key has no meaning here, or a meaning has no key.
    """
    fields = model.model_fields
    odd = sorted(fields.keys() ^ meanings.keys())
    if odd:
        raise ValueError(f"scripts/build_reference.py: {', '.join(odd)}: key or meaning missing")
    yield "| key | default | allowed | meaning |"
    yield "| --- | --- | --- | --- |"
    for name, field in fields.items():
        yield f"| `{name}` | {default_of(field)} | {field.description} | {meanings[name]} |"


def page(*sections: Iterable[str]) -> str:
    """Return a page of sections, each given by its lines, with an empty line before each."""
    lines = [MADE]
    for section in sections:
        lines += ["", *section]
    return "\n".join(lines) + "\n"


def settings_page() -> str:
    """Return docs/reference/settings.md."""
    return page(
        SETTINGS_INTRODUCTION,
        KEYS_THAT_NOTHING_READS,
        ["## Top level", "", *settings_table(GatewaySettings, GATEWAY_MEANINGS)],
        ["## Endpoint section", "", *settings_table(EndpointSettings, ENDPOINT_MEANINGS)],
        KEYS_OF_THE_ENDPOINT,
        OTHER_VARIABLES,
    )


def error_classes() -> list[type[ServiceError]]:
    """Return the errors that clients see, ordered by status and then as the code has them."""
    found = [
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, ServiceError) and value is not ServiceError
    ]
    return sorted(found, key=lambda error: error.status)


def errors_table() -> Iterator[str]:
    """Yield one table row for each error that clients see."""
    yield "| status | `code` | when | `retryable` | `executed` |"
    yield "| --- | --- | --- | --- | --- |"
    for error in error_classes():
        when = (error.__doc__ or "").splitlines()[0]
        retryable = "yes" if error.retryable else "no"
        yield f"| {error.status} | `{error.code}` | {when} | {retryable} | {error.executed} |"


def errors_page() -> str:
    """Return docs/reference/errors.md."""
    return page(ERRORS_INTRODUCTION, errors_table(), ERRORS_TO_TRY_AGAIN, HOW_MUCH_IS_TOLD)


def pages() -> dict[Path, str]:
    """Return every page that this program makes, by its path."""
    return {
        REFERENCE / "settings.md": settings_page(),
        REFERENCE / "errors.md": errors_page(),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Write the pages, or check them; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing, only compare")
    arguments = parser.parse_args(argv)
    stale = [
        path
        for path, text in pages().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    for path in stale:
        if not arguments.check:
            path.write_text(pages()[path], encoding="utf-8")
        print(f"{path.relative_to(ROOT)}: {'not up to date' if arguments.check else 'written'}")
    return 1 if stale and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())
