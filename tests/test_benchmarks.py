"""That the benchmark works, never that anything is fast."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import php, plots, processes, report
from benchmarks.measures.base import slope
from benchmarks.results import Results, Sample, Spread
from benchmarks.tables import markdown, table, target_table
from benchmarks.targets import verdicts

ROOT = Path(__file__).parent.parent


def _results(*samples: Sample) -> Results:
    measured = {
        s.measure: {"date": "2026-01-01", "rounds": 2, "load": 0.0, "frames": 1.0} for s in samples
    }
    return Results(machine={}, measured=measured, samples=list(samples))


@pytest.mark.skipif(php.find_binary() is None, reason="php-fpm is not installed")
def test_a_tiny_run_measures_wsgate_and_writes_the_whole_report(tmp_path: Path) -> None:
    measures = ["echo", "burst", "idle_children", "fanout", "handshakes", "hub"]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks", "--smoke", "--no-install"),
            *(argument for name in measures for argument in ("--only", name)),
            *(
                a
                for name in ("wsgate", "wsgate_hub", "direct", "ceiling")
                for a in ("--peers", name)
            ),
            *("--output", str(tmp_path)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONWARNINGS": "default"},
    )

    assert done.returncode == 0, done.stdout + done.stderr
    results = Results.load(tmp_path / "results.json")
    assert results.failures == []
    assert {s.measure for s in results.samples if s.peer == "wsgate"} == set(measures)
    assert {s.case for s in results.samples if s.peer == "wsgate_hub"} == {
        *("silent", "publishing", "awaited")
    }
    assert all(s.values.get("lost", 0) == 0 for s in results.samples)
    assert all(s.values.get("errors", 0) == 0 for s in results.samples)
    assert "wsgate" in (tmp_path / "report.md").read_text()
    assert (tmp_path / "cpu-dark.svg").exists()


def test_results_come_back_from_their_file_as_they_were(tmp_path: Path) -> None:
    results = _results(Sample("echo", "wsgate", "64", 1, {"cpu_us": 12.5}))

    results.save(tmp_path / "results.json")

    assert Results.load(tmp_path / "results.json") == results


def test_a_measure_taken_again_replaces_only_itself() -> None:
    results = _results(
        Sample("echo", "wsgate", "64", 1, {"cpu_us": 12.5}),
        Sample("burst", "wsgate", "burst", 1, {"share": 1.0}),
    )

    results.forget("echo")

    assert [sample.measure for sample in results.samples] == ["burst"]
    assert list(results.measured) == ["burst"]


def test_a_ratio_compares_peers_within_each_round() -> None:
    results = _results(
        Sample("echo", "wsgate", "64", 1, {"cpu_us": 10.0}),
        Sample("echo", "node", "64", 1, {"cpu_us": 20.0}),
        Sample("echo", "wsgate", "64", 2, {"cpu_us": 30.0}),
        Sample("echo", "node", "64", 2, {"cpu_us": 60.0}),
    )

    ratio = results.ratio("echo", "64", "cpu_us", of="wsgate", to="node")

    assert ratio == Spread(median=0.5, least=0.5, greatest=0.5, rounds=2)


def test_a_missed_target_is_shown_as_missed() -> None:
    results = _results(Sample("burst", "wsgate", "burst", 1, {"share": 0.9}))

    (verdict,) = verdicts(results)

    assert not verdict.met
    assert "| Burst of 5,000 frames: answered | all | 90.00% | **missed** |" in markdown(
        target_table(results)
    )


def test_the_hub_is_priced_against_the_same_worker_without_it() -> None:
    results = _results(
        Sample("hub", "wsgate", "silent", 1, {"cpu_us": 40.0}),
        Sample("hub", "wsgate_hub", "silent", 1, {"cpu_us": 41.0}),
        Sample("hub", "wsgate", "publishing", 1, {"rate": 5000.0}),
        Sample("hub", "wsgate_hub", "publishing", 1, {"rate": 4000.0}),
    )

    assert [(each.measured, each.met) for each in verdicts(results)] == [
        ("1.02", True),
        ("0.80", False),
    ]


def test_growth_of_less_than_a_byte_a_frame_is_none() -> None:
    results = _results(Sample("growth", "wsgate", "open sockets", 1, {"bytes_per_frame": 0.4}))

    (verdict,) = verdicts(results)

    assert verdict.met
    assert verdict.measured == "0 bytes"


def test_a_spread_is_shown_only_where_it_says_something() -> None:
    assert Spread.of([1.0, 1.0]).text(str) == "1.0"
    assert Spread.of([1.0, 2.0, 4.0]).text(str) == "2.0 (1.0 - 4.0)"


def test_the_table_has_no_column_without_numbers() -> None:
    results = _results(Sample("idle_children", "node", "after 2 s", 1, {"held": 7.0}))

    assert table(results, short=True, spread=False) == [
        ["", "minimal Node gateway"],
        ["php-fpm children held at idle", "7"],
    ]


def test_a_document_gets_the_table_between_its_markers_and_nowhere_else(tmp_path: Path) -> None:
    marked, plain = tmp_path / "marked.md", tmp_path / "plain.md"
    marked.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    plain.write_text("no markers\n")
    results = _results(Sample("idle_children", "node", "after 2 s", 1, {"held": 7.0}))

    report.write(results, tmp_path, [marked, plain])

    text = marked.read_text()
    assert text.startswith(f"before\n{report.BEGIN}\n")
    assert text.endswith(f"{report.END}\nafter\n")
    assert "| php-fpm children held at idle | 7 |" in text
    assert "old" not in text
    assert plain.read_text() == "no markers\n"


def test_plots_are_drawn_for_light_and_dark_pages(tmp_path: Path) -> None:
    results = _results(
        Sample("aging", "wsgate", "0", 1, {"cpu_us": 10.0}),
        Sample("aging", "wsgate", "1000", 1, {"cpu_us": 10.0}),
    )

    drawn = plots.draw(results, tmp_path)

    names = {path.name for path in drawn}
    assert names == {"aging.svg", "aging.png", "aging-dark.svg", "aging-dark.png"}


def test_cpu_and_memory_of_a_process_are_read_from_the_kernel() -> None:
    before = processes.cpu([os.getpid()])
    sum(range(200_000))
    used = processes.cpu([os.getpid()]).since(before)

    assert used.total > 0
    assert processes.memory([os.getpid()]) > 1_000_000


def test_a_server_that_does_not_start_is_explained_by_its_log(tmp_path: Path) -> None:
    server = processes.Server(
        [sys.executable, "-c", "raise SystemExit('no luck')"], tmp_path / "log"
    )

    with pytest.raises(processes.StartError, match="no luck"):
        server.wait_for_port(processes.free_port())


def test_the_slope_is_that_of_the_line_through_the_points() -> None:
    assert slope([(0, 5), (10, 25), (20, 45)]) == pytest.approx(2.0)
