"""Results as SVG. The same results give the same bytes: no date, no random names, text as text."""
from pathlib import Path

from . import tables

COLORS = {"native": "#555555", "embedded": "#1b6ca8", "kafka": "#c8553d", "split": "#e0a458", "eager": "#999999",
          "lagging": "#bbbbbb", "decode": "#2a9d8f", "capture_embedded": "#7fb3d5", "capture_kafka": "#e29a89",
          "debezium": "#8e6c8a", "debezium_capture": "#b79bb3"}
WIDTH, HEIGHT = 8, 3.6


def pyplot():
    """matplotlib, asked for only where something is drawn: Debian's python3-matplotlib, which ./test bench installs."""
    import matplotlib
    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "millrace", "svg.fonttype": "none", "font.family": "sans-serif",
                                "font.size": 9, "axes.spines.top": False, "axes.spines.right": False,
                                "path.simplify": True})
    from matplotlib import pyplot as plt
    return plt


def save(figure, path):
    figure.tight_layout()
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    pyplot().close(figure)
    # matplotlib leaves spaces at the ends of lines.
    path.write_text("\n".join(line.rstrip() for line in path.read_text().splitlines()) + "\n")


def throughput(selection, path):
    """A group of bars a work, one bar a contender; the whisker is from the slowest to the fastest round."""
    works = tables.works(selection)
    names = [n for n in tables.ENDS if n in selection.contenders("throughput")]
    if not works or not names:
        return None
    figure, axes = pyplot().subplots(figsize=(WIDTH, HEIGHT))
    width = 0.8 / len(names)
    for at, name in enumerate(names):
        points = [(i, selection.median("throughput", work, name, "rate"), selection.spread("throughput", work, name, "rate"))
                  for i, work in enumerate(works) if selection.median("throughput", work, name, "rate")]
        axes.bar([i - 0.4 + (at + 0.5) * width for i, _, _ in points], [m / 1000 for _, m, _ in points], width * 0.92,
                 yerr=[[(m - s[0]) / 1000 for _, m, s in points], [(s[1] - m) / 1000 for _, m, s in points]],
                 error_kw={"lw": 0.7}, color=COLORS.get(name), label=tables.TITLES[name])
    axes.set_xticks(range(len(works)), works)
    axes.set_ylabel("thousand changes a second")
    axes.legend(frameon=False, fontsize=8)
    save(figure, path)
    return "throughput of each work, end to end"


def latency(selection, path):
    """One panel a rate: how many of the rows were visible after so long."""
    works = tables.rated(selection)
    if not works:
        return None
    figure, panels = pyplot().subplots(1, len(works), figsize=(WIDTH, HEIGHT), sharey=True, squeeze=False)
    for axes, work in zip(panels[0], works):
        for name in selection.contenders("latency", work):
            grid = selection.first("latency", work)["percentiles_ms"]
            marks = sorted((float(p) for p in grid if float(p) < 100))
            values = [selection.median("latency", work, name, f"percentiles_ms/{p:g}") for p in marks]
            axes.plot(values, range(len(marks)), marker=".", lw=1.2, color=COLORS.get(name), label=tables.TITLES[name])
        axes.set_yticks(range(len(marks)), [f"{p:g} %" for p in marks])
        axes.set_xscale("log")
        axes.set_xlabel(f"ms at {selection.first('latency', work)['rate_asked']:,} tx/s")
        axes.grid(lw=0.3)
    panels[0][0].legend(frameon=False, fontsize=8)
    save(figure, path)
    return "latency percentiles at each rate"


def memory(selection, path):
    """Memory over the time of a run: many transactions, and one large one."""
    works = [work for work in ("rows100", "large") if work in selection.works("throughput")]
    if not works:
        return None
    figure, panels = pyplot().subplots(1, len(works), figsize=(WIDTH, HEIGHT), sharey=True, squeeze=False)
    for axes, work in zip(panels[0], works):
        for name in [n for n in tables.ENDS if n in selection.contenders("throughput", work)]:
            record = next(r for r in reversed(selection.section("throughput"))
                          if r["work"] == work and r["contender"] == name)
            axes.plot([t for t, _ in record["memory"]], [mb for _, mb in record["memory"]], lw=1.2,
                      color=COLORS.get(name), label=tables.TITLES[name])
        axes.set_xlabel(f"seconds, {tables.WORKS[work].title}")
        axes.set_ylim(bottom=0)
        axes.grid(lw=0.3)
    panels[0][0].set_ylabel("MB")
    panels[0][0].legend(frameon=False, fontsize=8)
    save(figure, path)
    return "memory over the time of a run"


def growth(selection, path):
    """How the rate moves with one thing at a time."""
    kinds = [kind for kind in tables.GROWTH if any(r["growth"] == kind for r in selection.section("growth"))]
    if not kinds:
        return None
    figure, panels = pyplot().subplots(1, len(kinds), figsize=(WIDTH, HEIGHT), squeeze=False)
    for axes, kind in zip(panels[0], kinds):
        records = [r for r in selection.section("growth") if r["growth"] == kind]
        for name in tables.sorted_names({r["contender"] for r in records}, tables.ORDER):
            marks = sorted({r["x"] for r in records if r["contender"] == name})
            axes.plot(marks, [selection.median("growth", f"{kind}{x}", name, "rate") / 1000 for x in marks], marker=".",
                      lw=1.2, color=COLORS.get(name), label=tables.TITLES[name])
        axes.set_xscale("log")
        axes.set_ylim(bottom=0)
        axes.set_xlabel(tables.GROWTH[kind])
        axes.grid(lw=0.3)
    panels[0][0].set_ylabel("thousand changes a second")
    panels[0][0].legend(frameon=False, fontsize=7)
    save(figure, path)
    return "throughput against rows a transaction, row width, tables and partitions"


def draw(selection, folder):
    """{name: what it shows} of the plots that the results are enough for; folder/NAME.svg each."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    shown = {}
    for name, plot in {"throughput_plot": throughput, "latency_plot": latency, "memory_plot": memory,
                       "growth_plot": growth}.items():
        if alt := plot(selection, folder / f"{name}.svg"):
            shown[name] = alt
    return shown
