"""test_promises.py - the tests that the pages name are there: every promise of docs/reliability.md and docs/isolation.md has one."""
import glob
import os
import re
import subprocess
import xml.etree.ElementTree
from server import ROOT

NAMED = re.compile(r"`(tests/[\w/.]+)::(\w+)`")
# The pages whose tables have a column for tests, and how many rows they have at least.
TABLES = {"docs/reliability.md": 40, "docs/isolation.md": 15}


def read(path):
    with open(os.path.join(ROOT, path)) as f:
        return f.read()


def rows(page):
    """The rows of the tables whose head ends with a column for tests."""
    inside, found = False, []
    for line in read(page).splitlines():
        if not line.startswith("|"):
            inside = False
        elif re.search(r"\| test[^|]*\|$", line):
            inside = True
        elif inside and not line.startswith("|---"):
            found.append(line)
    return found


def is_there(path, function):
    """A function of that name that the file's runner runs: pytest by its name, cmocka by a line in a table."""
    if not os.path.exists(os.path.join(ROOT, path)):
        return False
    text = read(path)
    if path.endswith(".py"):
        return function.startswith("test_") and re.search(rf"^def {function}\(", text, re.M)
    return re.search(rf"^static void {function}\(void \*\*", text, re.M) and re.search(rf"\b{function}\b(?!\(void)", text)


def test_every_promise_names_its_tests():
    for page, least in TABLES.items():
        found = rows(page)
        assert len(found) >= least, f"{page}: only {len(found)} rows found"
        without = [row for row in found if not NAMED.search(row.rsplit("|", 2)[1]) and "`make fuzz`" not in row.rsplit("|", 2)[1]]
        assert not without, f"{page}: rows without a test as `FILE::FUNCTION`:\n" + "\n".join(without)


def test_every_test_that_a_page_names_is_there():
    named = [(page, *match) for page in sorted(glob.glob("docs/*.md", root_dir=ROOT)) for match in NAMED.findall(read(page))]
    assert len(named) > 60
    missing = [f"{page}: {path}::{function}" for page, path, function in named if not is_there(path, function)]
    assert not missing, "\n".join(missing)


def test_every_file_and_target_that_a_page_names_is_there():
    targets = set(re.findall(r"^([\w-]+):", read("Makefile"), re.M))
    for page in ["README.md", *sorted(glob.glob("docs/*.md", root_dir=ROOT))]:
        text = read(page)
        for path in re.findall(r"`((?:tests|host|sdk|configs|packaging)/[\w/.*-]+)", text):
            assert glob.glob(os.path.join(ROOT, path)), f"{page} names {path}, which is not there"
        for target in re.findall(r"`make ([a-z][\w-]*)", text):
            assert target in targets or page == "docs/tutorial.md", f"{page} names `make {target}`, which is no target"
        for link in re.findall(r"\]\(([\w/.-]+)(?:#[\w-]+)?\)", text):
            assert os.path.exists(os.path.join(ROOT, os.path.dirname(page), link)), f"{page} links to {link}"


def test_every_link_into_a_page_finds_its_heading():
    def anchors(page):
        heads = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", read(page), flags=re.M | re.S), re.M)
        return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
    for page in ["README.md", *sorted(glob.glob("docs/*.md", root_dir=ROOT))]:
        for link, anchor in re.findall(r"\]\(([\w/.-]*)#([\w-]+)\)", read(page)):
            target = os.path.normpath(os.path.join(os.path.dirname(page), link)) if link else page
            assert anchor in anchors(target), f"{page} links to {link}#{anchor}, which is no heading there"


def test_every_metric_and_setting_that_a_page_names_is_there():
    source = "".join(read(path) for pattern in ("host/*/*.c", "plugins/*/*.c") for path in glob.glob(pattern, root_dir=ROOT))
    settings = set(re.findall(r'"([a-z_]+\.[a-z_.]+)"', read("host/config/settings.c")))
    sections = "|".join(sorted({name.split(".")[0] for name in settings}))
    assert len(settings) > 100
    for page in sorted(glob.glob("docs/*.md", root_dir=ROOT)):
        if page in ("docs/contract.md", "docs/tutorial.md"):  # these have a plugin of the reader's own
            continue
        text = read(page)
        for name in re.findall(r"`([a-z]+(?:_[a-z]+)+_(?:total|seconds|up|dead|calls|status|findings|quarantined))(?:\{[^`]*\})?`", text):
            assert f'"{name}"' in source, f"{page} names the metric {name}, which is nowhere"
        for name in re.findall(rf"`((?:{sections})\.[a-z_]+(?:\.[a-z_]+)*)[:`]", text):
            known = name in settings or any(s.startswith(name + ".") for s in settings)
            assert known or re.search(r"\.(jsonl|md|json|gz)$", name) or f'"{name}"' in source, f"{page} names the setting {name}, which is nowhere"


def test_the_table_of_benchmarks_can_be_drawn(tmp_path):
    """Each ratio with a spread is a bar with its number; what `make graphs` writes is well-formed."""
    subprocess.run([os.path.join(ROOT, "tests/bench/graphs"), os.path.join(ROOT, "docs/benchmarks.md"), str(tmp_path)], check=True, timeout=60)
    ratios = re.findall(r"\*\*([\d.]+)\*\* \([\d.]+-[\d.]+\)", read("docs/benchmarks.md"))
    texts = [e.text for e in xml.etree.ElementTree.parse(tmp_path / "ratios.svg").iter("{http://www.w3.org/2000/svg}text")]
    assert len(ratios) >= 8 and all(texts.count(r) >= 1 for r in ratios)
    bars = xml.etree.ElementTree.parse(tmp_path / "jobs.svg").findall(".//{http://www.w3.org/2000/svg}rect")
    assert len(bars) >= 4
