"""docs/performance.md: its words are written by hand, its tables stand between markers and are made of results."""
import re

from support.children import ROOT

from . import plots, tables

PAGE = ROOT / "docs/performance.md"
IMAGES = ROOT / "docs/img"


def markers(name):
    return f"<!-- bench {name}: begin -->", f"<!-- bench {name}: end -->"


def with_blocks(page, blocks):
    """The page with each block between its markers; a block that has no place in it is an error, not lost."""
    for name, body in blocks.items():
        begin, end = markers(name)
        if begin not in page or end not in page:
            raise RuntimeError(f"docs/performance.md has no place for {name}: put {begin} and {end} where it belongs")
        pattern = re.escape(begin) + r".*?" + re.escape(end)
        page = re.sub(pattern, lambda _: f"{begin}\n\n{body}\n\n{end}", page, flags=re.S)
    return page


def write(selection):
    images = plots.draw(selection, IMAGES)
    blocks = tables.blocks(selection)
    for name, alt in images.items():
        blocks[name] = f"![{alt}](img/{name}.svg)"
    PAGE.write_text(with_blocks(PAGE.read_text(), blocks))
    print(f"written: {PAGE.relative_to(ROOT)} ({', '.join(blocks)})")
