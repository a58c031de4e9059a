"""Unit tests of reading memory figures, against made-up /proc and control-group trees."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from basic_inference_server.core.memory import (
    available_bytes,
    container_limit_bytes,
    machine_bytes,
    out_of_memory_kills,
    proportional_bytes,
    sum_proportional_bytes,
)

MB = 1024 * 1024


def write_tree(folder: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_shared_pages_count_once(tmp_path: Path) -> None:
    """The proportional size is read, not the resident one."""
    rollup = (
        "55d0-7ffd ---p 00000000 00:00 0  [rollup]\nRss:  9000 kB\nPss:  1234 kB\nPss_Anon: 1\n"
    )
    proc = write_tree(tmp_path, {"42/smaps_rollup": rollup, "42/statm": "1 9 9"})
    assert 1234 * 1024 == proportional_bytes(42, proc)


def test_process_that_has_ended_has_no_memory(tmp_path: Path) -> None:
    """A pid without an entry counts nothing."""
    assert 0 == proportional_bytes(42, tmp_path)


def test_resident_size_stands_in_where_the_proportional_one_is_missing(tmp_path: Path) -> None:
    """A file without the line is no reason to say nothing."""
    proc = write_tree(tmp_path, {"42/smaps_rollup": "Rss: 1 kB\n", "42/statm": "100 25 7 1 0 9 0"})
    assert 25 * 4096 == proportional_bytes(42, proc)


@pytest.mark.parametrize("statm", [None, "", "100"])
def test_unreadable_figures_count_nothing(tmp_path: Path, statm: str | None) -> None:
    """Whatever is missing or cut is 0 and never an error."""
    files = {"42/smaps_rollup": "Rss: 1 kB\n"}
    if statm is not None:
        files["42/statm"] = statm
    assert 0 == proportional_bytes(42, write_tree(tmp_path, files))


def test_sum_over_this_very_process_is_positive() -> None:
    """The real /proc of this machine is understood; a pid that cannot exist adds nothing."""
    assert sum_proportional_bytes([os.getpid(), 2**30]) > MB


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        pytest.param("0::/app\n",
                     {"app/memory.max": f"{512 * MB}\n", "app/memory.current": f"{100 * MB}\n"},
                     (512 * MB, 100 * MB), id="version 2"),
        pytest.param("0::/app/worker\n",
                     {"app/worker/memory.max": "max", "app/worker/memory.current": "5",
                      "app/memory.max": f"{256 * MB}", "app/memory.current": f"{7 * MB}"},
                     (256 * MB, 7 * MB), id="version 2, limit further up"),
        pytest.param("0::/a/b\n",
                     {"a/b/memory.max": f"{512 * MB}", "a/b/memory.current": "1",
                      "a/memory.max": f"{128 * MB}", "a/memory.current": "2"},
                     (128 * MB, 2), id="version 2, tightest of several"),
        pytest.param("0::/host/path/of/the/container\n",
                     {"memory.max": f"{64 * MB}", "memory.current": "3"},
                     (64 * MB, 3), id="version 2, seen from inside a container"),
        pytest.param("0::/\n", {"memory.max": f"{64 * MB}", "memory.current": "3"},
                     (64 * MB, 3), id="version 2, root"),
        pytest.param("0::/app\n", {"app/memory.max": "max", "app/memory.current": "5"},
                     None, id="version 2, no limit"),
        pytest.param("9:cpu,memory:/docker/x\n0::/\n",
                     {"memory/docker/x/memory.limit_in_bytes": f"{300 * MB}",
                      "memory/docker/x/memory.usage_in_bytes": "9"},
                     (300 * MB, 9), id="version 1"),
        pytest.param("9:memory:/\n",
                     {"memory/memory.limit_in_bytes": "9223372036854771712",
                      "memory/memory.usage_in_bytes": "9"}, None, id="version 1, no limit"),
        pytest.param("8:cpu:/x\n", {"memory/x/memory.limit_in_bytes": "5"}, None,
                     id="version 1, other controllers"),
        pytest.param("0::/app\n", {"app/memory.max": f"{MB}"}, None, id="use unknown"),
    ],
)  # fmt: skip
def test_limit_of_the_container_is_the_tightest_of_its_groups(
    tmp_path: Path, membership: str, files: dict[str, str], expected: tuple[int, int] | None
) -> None:
    """Limit and use of the control group that bites first, whichever version it is."""
    proc = write_tree(tmp_path / "proc", {"self/cgroup": membership})
    root = write_tree(tmp_path / "cgroup", files)
    assert expected == container_limit_bytes(proc, root)


def test_machine_without_control_groups_has_no_limit(tmp_path: Path) -> None:
    """A missing membership file is no error."""
    assert None is container_limit_bytes(tmp_path, tmp_path)


def test_kills_for_want_of_memory_are_counted_by_group_and_machine(tmp_path: Path) -> None:
    """cgroup v2 counts in `memory.events`, v1 in `memory.oom_control`, the machine in vmstat.

    The groups above the own one, and those below it, hold other services' kills too.
    """
    proc = write_tree(tmp_path / "p2", {"self/cgroup": "0::/a/b\n", "vmstat": "nr 1\noom_kill 9\n"})
    root = write_tree(
        tmp_path / "g2",
        {"a/b/memory.events": "low 0\noom_kill 2\n", "a/memory.events": "oom 7\noom_kill 5\n"},
    )
    assert (2, 9) == out_of_memory_kills(proc, root)
    write_tree(root, {"a/b/memory.events.local": "low 0\noom_kill 1\n"})
    assert (1, 9) == out_of_memory_kills(proc, root)
    root = write_tree(tmp_path / "g3", {"memory.events": "oom 7\noom_kill 3\n"})
    assert (3, 9) == out_of_memory_kills(proc, root), "seen from inside a container"
    proc = write_tree(tmp_path / "p1", {"self/cgroup": "3:memory:/a\n"})
    root = write_tree(tmp_path / "g1", {"memory/a/memory.oom_control": "under_oom 0\noom_kill 4\n"})
    assert (4, None) == out_of_memory_kills(proc, root)
    assert (None, None) == out_of_memory_kills(tmp_path / "none", tmp_path / "none")


@pytest.mark.parametrize(
    ("files", "expected_mb"),
    [
        pytest.param({}, 300, id="the machine's"),
        pytest.param(
            {"cgroup/memory.max": "200", "cgroup/memory.current": "150"}, 50, id="its group's"
        ),
        pytest.param(
            {"cgroup/memory.max": "900", "cgroup/memory.current": "150"}, 300, id="the smaller one"
        ),
        pytest.param(
            {"cgroup/memory.max": "100", "cgroup/memory.current": "150"}, 0, id="over the limit"
        ),
    ],
)
def test_available_memory_is_what_machine_and_group_leave(
    tmp_path: Path, files: dict[str, str], expected_mb: int
) -> None:
    """Whichever of the two is less; nothing is less than nothing."""
    in_bytes = {name: str(int(text) * MB) for name, text in files.items()}
    machine = {"proc/meminfo": f"MemFree: 1 kB\nMemAvailable: {300 * 1024} kB\n"}
    folder = write_tree(tmp_path, {**machine, "proc/self/cgroup": "0::/\n", **in_bytes})
    assert expected_mb * MB == available_bytes(folder / "proc", folder / "cgroup")


def test_machine_without_meminfo_is_asked_otherwise(tmp_path: Path) -> None:
    """A service manager may show processes only; the kernel has two answers then."""
    total, _ = machine_bytes()
    found, free = machine_bytes(tmp_path)
    assert found == pytest.approx(total, rel=0.2)  # less what the kernel keeps for itself
    assert 0 < free <= found


def test_available_memory_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    """Then nothing is started beside something else."""
    assert 0 == available_bytes(tmp_path, tmp_path)
