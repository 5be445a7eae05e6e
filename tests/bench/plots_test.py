"""The plots, of recorded lines. Needs python3-matplotlib, so `./test bench` runs it, before it measures anything."""
import sys
from pathlib import Path
from xml.etree import ElementTree

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import page, plots  # noqa: E402
from bench.results import Results, Selection  # noqa: E402

RECORDED = Path(__file__).parent / "recorded.jsonl"
BYTES_MAX = 200_000


def test_the_same_results_give_the_same_bytes(tmp_path):
    selection = Selection(Results(RECORDED).records)
    shown = plots.draw(selection, tmp_path / "a")
    assert set(shown) == {"throughput_plot", "latency_plot", "memory_plot", "growth_plot"}
    plots.draw(selection, tmp_path / "b")
    for name in shown:
        first = (tmp_path / "a" / f"{name}.svg").read_bytes()
        assert first == (tmp_path / "b" / f"{name}.svg").read_bytes()
        assert len(first) < BYTES_MAX
        words = "".join(ElementTree.fromstring(first).itertext())
        assert "Millrace, embedded log" in words, f"{name} has no legend"


def test_each_plot_has_its_place_in_the_page(tmp_path):
    shown = plots.draw(Selection(Results(RECORDED).records), tmp_path)
    page.with_blocks(page.PAGE.read_text(), {name: "" for name in shown})


def test_nothing_measured_draws_nothing(tmp_path):
    assert plots.draw(Selection([]), tmp_path) == {}
