"""gunicorn's request corpus, sent to a running gateway: what is valid is read, all else refused.

The cases are other people's opinion of HTTP. Where ours differs, the case and the reason are listed
below; a difference that is not listed fails, and so does a listed one that is gone.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress

import pytest

from basic_inference_server.testing import RunningGateway
from tests.judges.answers import split_answers
from tests.judges.archives import GUNICORN, source_distribution
from tests.judges.request_corpus import Case, read_cases
from tests.support.http_harness import Response

pytestmark = [pytest.mark.shares_gateway, pytest.mark.timeout(300)]

SILENCE_S = 1.0  # no answer for so long: the request is not complete, so its end is sent
PATIENCE_S = 20.0  # from then on the gateway has to answer and to close
READ = {200, 204, 404, 405}  # the request was read; what it asked for is another matter

# Valid for gunicorn, refused here: the reason, and the cases.
STRICTER = {
    "only 'chunked' alone is read as Transfer-Encoding (RFC 9112, 6.1: others may be refused)": {
        "025", "025_line", "029", "030", "rfc9112_smuggle_gzip_chunked_01",
        "rfc9112_smuggle_te_identity_chunked_01",
    },
    "llhttp knows the registered methods only; '-BLARGH' is none": {"031"},
    "llhttp refuses blanks around a chunk extension, which RFC 9112 (7.1.1) calls bad": {"013"},
    "the file's body is shorter than its Content-Length; gunicorn's own test reads what there is": {
        "099"
    },
}  # fmt: skip

# Invalid for gunicorn, read here: the reason, and the cases.
MORE_LENIENT = {
    "our limits are larger: a target of 8,190 bytes, a head of 65,536": {
        "006", "007", "008", "009", "017",
    },
    "trailers are thrown away, so they cannot do harm": {"rfc9110_trailer_forbidden_host_01"},
    "llhttp skips any number of empty lines before a request": {"rfc9112_leading_crlf_02"},
    "a target that names nothing here is 404, whatever its form": {
        "016", "rfc9112_target_asterisk_non_options_01",
    },
}  # fmt: skip

# Left out, because they are about an option of gunicorn: the option, and the cases.
NEEDS_OPTIONS = {
    "limit_request_line, limit_request_fields, limit_request_field_size": {
        "invalid/010", "invalid/011", "invalid/012", "invalid/limit_header_default_01",
        "valid/024", "valid/026",
    },
    "permit_obsolete_folding": {
        "invalid/013", "valid/compat_obs_fold", "valid/compat_obs_fold_huge",
    },
    "permit_unconventional_http_method": {"valid/031compat", "valid/031compat2"},
    "strip_header_spaces": {"valid/028"},
    "header_map": {"invalid/040", "invalid/chunked_07", "valid/040_compat"},
    "forwarded_allow_ips": {"invalid/019"},
    "proxy_protocol": {
        "invalid/pp_01", "invalid/pp_02", "invalid/pp_03",
        "valid/pp_01", "valid/pp_02", "valid/pp_03", "valid/pp_04", "valid/pp_05",
    },
}  # fmt: skip


def corpus(kind: str) -> list[Case]:
    """Return the cases of one kind that need none of gunicorn's options."""
    folder = source_distribution(GUNICORN, "gunicorn==27.0.1") / "tests" / "requests" / kind
    cases = read_cases(folder)
    assert len(cases) >= 60, f"there should be more cases in {folder}"
    return [case for case in cases if not case.sets_options]


def answers_to(port: int, data: bytes, wanted: int) -> list[Response]:
    """Send bytes, then, when that many answers are there or nothing more comes, their end.

    Raises:
        TimeoutError: the gateway does not close the connection even then.
    """
    received = b""
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as client:
        try:
            client.sendall(data)
            client.settimeout(SILENCE_S)
            while len(split_answers(received)) < wanted and (chunk := client.recv(65536)):
                received += chunk
        except TimeoutError:
            pass  # it waits for the rest of the request
        except ConnectionError:
            return split_answers(received)
        client.settimeout(PATIENCE_S)
        with suppress(ConnectionError, OSError):
            client.shutdown(socket.SHUT_WR)
        try:
            while chunk := client.recv(65536):
                received += chunk
        except ConnectionError:
            pass
    return split_answers(received)


def check_answers(gateway: RunningGateway, answers: list[Response]) -> None:
    """Every answer is JSON and none says that the gateway failed; it goes on serving."""
    for answer in answers:
        assert answer.status < 500, answer
        if answer.body:
            assert isinstance(answer.json, dict), answer
    assert 200 == gateway.run("echo").status_code


def differences(
    gateway: RunningGateway, kind: str, is_as_expected: Callable[[Case, list[Response]], bool]
) -> dict[str, list[list[int]]]:
    """Replay every case as it is and with its `Host`; return those that were read otherwise.

    Most files have no `Host`, which RFC 9112 (3.2) makes a 400: with one, they are judged for what
    they are about.
    """
    found: dict[str, list[list[int]]] = {}
    for case in corpus(kind):
        for data in {case.data, case.with_hosts}:
            answers = answers_to(gateway.port, data, case.request_count)
            check_answers(gateway, answers)
            lacks_host = data != case.with_hosts
            statuses = [answer.status for answer in answers]
            is_host_wanted = statuses[-1:] == [400] or len(statuses) < case.request_count
            if not is_as_expected(case, answers) and not (lacks_host and is_host_wanted):
                found.setdefault(case.name, []).append(statuses)
    return found


def is_read(case: Case, answers: list[Response]) -> bool:
    """Say whether each request has an answer that is no refusal."""
    return [True] * case.request_count == [answer.status in READ for answer in answers]


def is_refused(case: Case, answers: list[Response]) -> bool:
    """Say whether something was refused, or the connection closed without a word."""
    return not answers or answers[-1].status not in READ | {200}


def test_valid_requests_are_read(gateway: RunningGateway) -> None:
    """Each request of a valid case gets its answer, but for the differences that are listed."""
    listed = set().union(*STRICTER.values())
    found = differences(gateway, "valid", is_read)
    assert listed == found.keys(), found


def test_invalid_requests_are_refused(gateway: RunningGateway) -> None:
    """Each invalid case is refused, but for the differences that are listed."""
    listed = set().union(*MORE_LENIENT.values())
    found = differences(gateway, "invalid", is_refused)
    assert listed == found.keys(), found


def test_options_of_gunicorn_are_left_out() -> None:
    """The cases that only mean something with an option of gunicorn are known."""
    folder = source_distribution(GUNICORN, "gunicorn==27.0.1") / "tests" / "requests"
    left_out = {
        f"{kind}/{case.name}"
        for kind in ("valid", "invalid")
        for case in read_cases(folder / kind)
        if case.sets_options
    }
    assert set().union(*NEEDS_OPTIONS.values()) == left_out
