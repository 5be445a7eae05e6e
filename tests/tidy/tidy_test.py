"""The habits of docs/contributing.md that a program can check: who includes whom, sizes, first comments."""
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILE_LINES_MAX = 450
FUNCTION_LINES_MAX = 75
LINE_COLUMNS_MAX = 100

# Folder: the folders that it may include besides itself. In the order that a change travels.
TABLE = {
    "relay/base": set(),
    "relay/event": {"relay/base"},
    "relay/config": {"relay/base"},
}
for _folder in ["source", "decode", "transform", "wire", "log", "sink", "checkpoint"]:
    TABLE[f"relay/{_folder}"] = {"relay/base", "relay/event"}
TABLE["connectors/postgres"] = {"relay/base", "relay/event", "relay/sink"}
TABLE["relay/chunk"] = {"relay/base", "relay/event", "relay/source", "relay/sink"}
TABLE["relay/pipeline"] = {folder for folder in TABLE if folder.startswith("relay/")}
TABLE["relay/admin"] = TABLE["relay/pipeline"] | {"relay/pipeline"}
TABLE["relay/cli"] = TABLE["relay/admin"] | {"relay/admin", "connectors/postgres"}

# Of a folder that others see only in part: the headers they may name.
ONLY = {("connectors/postgres", "relay/sink"): {"relay/sink/target.h"}}

# Third-party headers, and the only folders whose .cc files may name them.
HOMES = {
    r"libpq-fe\.h|postgres_ext\.h|libpq/": {"relay/source", "connectors/postgres"},
    r"librdkafka/": {"relay/log/kafka"},
    r"rocksdb/": {"relay/checkpoint", "relay/log/embedded"},
    r"google/protobuf|.*\.pb\.h": {"relay/wire", "proto"},
    r"simdjson": {"relay/wire"},
    r"yaml-cpp": {"relay/config"},
    r"CLI/": {"relay/cli"},
    r"httplib": {"relay/admin", "relay/cli"},
    r"prometheus/": {"relay/admin"},
    r"spdlog": {"relay/base"},
    r"nlohmann/": {"relay/base", "relay/admin", "relay/cli", "relay/wire", "relay/checkpoint"},
    r"doctest/": {"tests"},
}
IN_HEADERS_TOO = r"fmt/|tl/"


def ours(*endings):
    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT,
                            capture_output=True, text=True, check=True).stdout.splitlines()
    return [ROOT / name for name in sorted(listed)
            if name.endswith(endings) and (ROOT / name).exists()]


def relative(path):
    return path.relative_to(ROOT).as_posix()


def folder_of(name):
    """The row of TABLE that a path belongs to."""
    parts = name.split("/")
    return "/".join(parts[:2]) if len(parts) > 2 else parts[0]


def includes(path):
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
        match = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
        if match:
            yield number, match.group(1), match.group(2)


def program():
    return [path for path in ours(".cc", ".h") if relative(path).startswith(("relay/", "connectors/"))]


def no(found):
    assert not found, "\n" + "\n".join(found)


def test_who_may_include_whom():
    found = []
    for path in program():
        folder = folder_of(relative(path))
        assert folder in TABLE, f"{folder} has no row in the table of {relative(Path(__file__))}"
        for number, _, name in includes(path):
            if not name.startswith(("relay/", "connectors/")):
                continue
            other = folder_of(name)
            if other != folder and other not in TABLE[folder]:
                found.append(f"{relative(path)}:{number}: {folder} may not include {name}")
            if name not in ONLY.get((folder, other), {name}):
                found.append(f"{relative(path)}:{number}: of {other} only "
                             f"{sorted(ONLY[(folder, other)])}, not {name}")
    no(found)


def test_link_lists_are_the_table():
    """millrace_library(... LINKS ...) names no folder that the table does not allow."""
    found = []
    for path in ours("CMakeLists.txt"):
        text = path.read_text()
        folder = folder_of(relative(path))
        for call in re.findall(r"millrace_library\(([^)]*)\)", text):
            for link in re.findall(r"millrace::(\w+)", call):
                other = "connectors/postgres" if "postgres" in link else f"relay/{link}"
                other = folder_of(next((f for f in TABLE if f.replace("relay/", "") == link), other) + "/x")
                if other in TABLE and other != folder and other not in TABLE.get(folder, set(TABLE)):
                    found.append(f"{relative(path)}: {folder} may not link {link}")
    no(found)


def test_third_party_headers_have_one_home():
    found = []
    for path in program():
        name = relative(path)
        for number, _, header in includes(path):
            if re.match(IN_HEADERS_TOO, header):
                continue
            for pattern, homes in HOMES.items():
                if not re.match(pattern, header):
                    continue
                if not any(name.startswith(home + "/") for home in homes):
                    found.append(f"{name}:{number}: {header} belongs to {', '.join(sorted(homes))}")
                elif path.suffix == ".h" and not name.endswith("_internal.h"):
                    found.append(f"{name}:{number}: {header} shows in a header")
    no(found)


def test_headers_begin_with_their_purpose():
    found = []
    for path in program():
        if path.suffix != ".h":
            continue
        text = path.read_text()
        if not text.startswith("// ") or not re.match(r"// [^\n]{10,}", text):
            found.append(f"{relative(path)}: does not begin with a sentence of purpose")
        if "#pragma once" not in text:
            found.append(f"{relative(path)}: no #pragma once")
    no(found)


def test_files_are_rooms_not_halls():
    no([f"{relative(path)}: {lines} lines, at most {FILE_LINES_MAX}" for path in ours(".cc", ".h", ".py", ".sh")
        if (lines := len(path.read_text(errors="replace").splitlines())) > FILE_LINES_MAX])


def test_lines_fit():
    no([f"{relative(path)}:{number}: {len(line)} columns" for path in ours(".cc", ".h")
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if len(line) > LINE_COLUMNS_MAX and "R\"" not in line])


NOT_A_FUNCTION = r"(namespace|class|struct|enum|union|extern|constexpr|const|static const|inline const|TEST_SUITE)\b"


def functions(text):
    """(first line, lines) of every function at the first column or, in a class, at the third.

    A signature may go over several lines; clang-format puts the closing brace under its beginning."""
    lines = text.splitlines()
    for indent in ("", "  "):
        begun = None  # the first line of what may be a function
        for number, line in enumerate(lines, 1):
            body = line[len(indent):]
            if not line.startswith(indent) or not body:
                continue
            if body[0] == "}":
                if begun:
                    yield begun, number - begun + 1
                begun = None
            elif body[0].isalpha() or body[0] in "~[":
                whole = re.match(NOT_A_FUNCTION, body) or body.rstrip().endswith((";", "= {", ":", "}", ","))
                begun = None if whole and not body.rstrip().endswith((",", "(")) else number


def test_functions_fit_on_a_screen():
    found = []
    for path in program():
        for start, lines in functions(path.read_text(errors="replace")):
            if lines > FUNCTION_LINES_MAX:
                found.append(f"{relative(path)}:{start}: a function of {lines} lines")
    no(found)


def test_functions_finds_them():
    text = "namespace a {\nint f(int x) {\n  return x;\n}\nstruct S {\n  int y;\n};\n}\n"
    assert list(functions(text)) == [(2, 3)]
    text = "class A {\n  int f(int x,\n        int y) {\n    return x;\n  }\n  int z;\n};\nint g(\n    int x) {\n  return x;\n}\n"
    assert sorted(functions(text)) == [(2, 4), (8, 4)]


def test_nothing_is_left_undone_in_silence():
    """What is not built stands in docs/roadmap.md, not in the code; no test is switched off."""
    words = re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX)\b|doctest::sk" r"ip|pytest\.mark\.sk" r"ip")
    no([f"{relative(path)}:{number}: {line.strip()}" for path in ours(".cc", ".h", ".py", ".sh", ".txt", ".cmake")
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1) if words.search(line)])


def test_every_test_is_known_to_cmake():
    """A test file that no list names would never run."""
    found = []
    for path in ours("_test.cc", "_fuzz.cc"):
        lists = path.parent / "CMakeLists.txt"
        if not lists.exists() or path.name not in lists.read_text():
            found.append(f"{relative(path)}: not in {relative(lists)}")
    for path in ours(".cc"):
        name = relative(path)
        if name.startswith(("relay/", "connectors/")):
            near = [folder / "CMakeLists.txt" for folder in path.parents if (folder / "CMakeLists.txt").exists()]
            if near and path.name not in near[0].read_text():
                found.append(f"{name}: not in {relative(near[0])}")
    no(found)


def test_scenarios_are_numbered_and_tell_their_story():
    found, numbers = [], {}
    for path in sorted((ROOT / "tests/scenario").glob("*.py")):
        if path.name == "conftest.py":
            continue
        match = re.match(r"(\d{3})_[a-z0-9_]+\.py$", path.name)
        if not match:
            found.append(f"{path.name}: not NNN_name.py")
            continue
        if match.group(1) in numbers:
            found.append(f"{path.name}: number {match.group(1)} is {numbers[match.group(1)]}'s")
        numbers[match.group(1)] = path.name
        if not path.read_text().startswith(f'"""{match.group(1)} '):
            found.append(f"{path.name}: does not begin with its number and story")
    no(found)


def test_fault_matrix_names_the_tests_that_are_marked():
    done = subprocess.run([ROOT / "tests/support/reliability.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
