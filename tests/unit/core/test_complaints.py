"""Unit tests of how often a complaint is made."""

from __future__ import annotations

from basic_inference_server.core.complaints import AGAIN_AFTER_S, Complaints


def test_complaint_is_made_once_a_minute() -> None:
    """However often there is reason to."""
    complaints = Complaints()
    asked_at_s = [100.0, 100.0, 100.0 + AGAIN_AFTER_S - 1, 100.0 + AGAIN_AFTER_S, 161.0]
    assert [True, False, False, True, False] == [
        complaints.is_due("no disk", now_s) for now_s in asked_at_s
    ]


def test_complaints_do_not_hide_each_other() -> None:
    """Two that take turns are made once each, the second one at once."""
    complaints = Complaints()
    made = [what for what in ("first", "second") * 3 if complaints.is_due(what, 100.0)]
    assert ["first", "second"] == made
