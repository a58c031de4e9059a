"""Bodies that are no JSON."""

from __future__ import annotations

import math
from dataclasses import dataclass

from faults.deployment import deployed
from faults.exchange import Answer, request_bytes
from faults.ledger import OK
from faults.system import System
from faults.verdict import Check, Finding

TITLE = "malformed JSON"
QUESTION = (
    "`{`; `NaN` as the value; 100,000 `[`; a valid body whose `Content-Length` is 50 bytes longer, "
    "then the client's half is closed; bytes that are no UTF-8 in a text. Callers wait 5 s."
)
PATIENCE_S = 5.0
DEPTH = 100_000
MISSING_BYTES = 50
INVALID_UTF8 = b"\xff\xfe"
PLACE = "PLACE"


@dataclass(frozen=True)
class Case:
    """One broken request."""

    name: str
    body: bytes
    missing_bytes: int = 0

    def request(self, path: str) -> bytes:
        """Its bytes."""
        return request_bytes("POST", path, self.body, len(self.body) + self.missing_bytes)


def cases(system: System) -> list[Case]:
    """The five, in the form of this system's requests where that matters."""
    noted = system.body({"VALUE": 5, "NOTE": PLACE})
    return [
        Case("`{`", b"{"),
        Case("NaN", system.body({"VALUE": math.nan})),
        Case("deep", b"[" * DEPTH),
        Case("truncated", system.body({"VALUE": 5}), MISSING_BYTES),
        Case("no UTF-8", noted.replace(PLACE.encode(), INVALID_UTF8)),
    ]


async def run(system: System) -> Finding:
    """Send each, and a good one after all of them."""
    answers = {}
    async with deployed(system) as deployment:
        for case in cases(system):
            answers[case.name] = await deployment.ask(
                case.request(system.path), PATIENCE_S, half_close=case.missing_bytes > 0
            )
        after = await deployment.ask(deployment.request(MS=1), PATIENCE_S)
    return judge(answers, after)


def is_refused(answer: Answer) -> bool:
    """Whether the client was told that the fault is its own."""
    return answer.label.startswith("4")


def judge(answers: dict[str, Answer], after: Answer) -> Finding:
    """Hold it to: each is answered with 4xx, and the next good request is served."""
    said = ", ".join(f"{name} {answer.label}" for name, answer in answers.items())
    right = sum(map(is_refused, answers.values()))
    return Finding(
        brief=said,
        observed=f"{said}; a good request afterwards: {after.label}.",
        checks=(
            *(Check(f"{name} is a 4xx", is_refused(answer)) for name, answer in answers.items()),
            Check("a good request afterwards is served", after.label == str(OK)),
        ),
        figures={
            "answers": {name: answer.label for name, answer in answers.items()},
            "right": right,
            "after": after.label,
        },
    )
