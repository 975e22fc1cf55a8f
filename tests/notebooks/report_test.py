"""Runs report.py into a folder and reads what it writes and says.

Usage: report_test.py REPORT.PY OSPSIM FOLDER; leaves the page in FOLDER/report.html.
"""

import json
import pathlib
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

report, ospsim, folder = pathlib.Path(sys.argv[1]), sys.argv[2], pathlib.Path(sys.argv[3])
notebooks = sorted(report.parent.glob("*.ipynb"))


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.sections, self.images, self.links, self.ids, self.outside, self.text = [], {}, [], [], [], []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if "id" in attributes:
            self.ids.append(attributes["id"])
        if tag == "section":
            self.sections.append(attributes["id"])
            self.images[attributes["id"]] = 0
        if tag == "img":
            assert attributes["src"].startswith("data:image/"), "a figure is not inside the page"
            assert len(attributes["alt"]) > 40, "a figure without words for who cannot see it"
            self.images[self.sections[-1]] += 1
        if tag == "a" and attributes.get("href", "").startswith("#"):
            self.links.append(attributes["href"][1:])
        if tag in ("script", "link", "iframe"):
            self.outside.append(attributes)

    def handle_data(self, data):
        self.text.append(data)


def run(*options):
    command = [sys.executable, str(report), "--ospsim", ospsim, *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def figures_of(notebook):
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [name for cell in cells for name in re.findall(r'show_figure\(\s*\w+,\s*"([^"]+)"', "".join(cell["source"]))]


shutil.rmtree(folder, ignore_errors=True)
folder.mkdir(parents=True)
output, drawn = folder / "report.html", folder / "figures"
made = run("--output", str(output), "--figures", str(drawn))
assert made.returncode == 0, made.stderr
assert sorted(p.name for p in folder.iterdir()) == ["figures", "report.html"]

page = Page()
source = output.read_text(encoding="utf-8")
page.feed(source)
text = re.sub(r"\s+", " ", " ".join(page.text))
assert len(notebooks) > 0 and page.sections == ["claims"] + [n.stem for n in notebooks]
for notebook in notebooks:
    assert figures_of(notebook) and page.images[notebook.stem] == len(figures_of(notebook)), notebook.name
    for name in figures_of(notebook):
        assert (drawn / f"{name}.png").stat().st_size > 0
        assert f"figure-{name}" in page.ids and f"./osp report --figure {name}" in text
assert set(page.sections) <= set(page.links) <= set(page.ids), set(page.links) - set(page.ids)
assert len(page.ids) == len(set(page.ids)), "two elements share an id"
assert not page.outside, "the page loads something from elsewhere"
assert "url(" not in source and "Traceback" not in text
assert len(source) < 6_000_000

claims = json.loads(subprocess.run([ospsim, "reproduce", "--quick", "--all", "--json"], stdout=subprocess.PIPE,
                                   cwd=report.parent.parent, check=False).stdout)["claims"]
assert sum(key.startswith("claim-") for key in page.ids) == len(claims)
assert all(f"claim-{claim['id']}" in page.ids for claim in claims)
at_the_top = text[text.index("What does not hold"):].partition("Every claim")[0]
for claim in claims:
    stands_out = claim["status"] in ("contradicted", "outside-tolerance")
    assert (f"--claim {claim['id']} " in at_the_top) == stands_out, claim["id"]

(alone, *_) = figures_of(notebooks[0])
assert run("--figure", alone, "--figures", str(folder / "alone")).returncode == 0
assert [p.name for p in (folder / "alone").iterdir()] == [f"{alone}.png"]
assert (folder / "alone" / f"{alone}.png").read_bytes() == (drawn / f"{alone}.png").read_bytes()

unknown = run("--figure", "nosuch", "--figures", str(folder / "nosuch"))
assert unknown.returncode == 2 and unknown.stdout == "" and unknown.stderr.count("\n") == 1
assert "nosuch" in unknown.stderr and all(name in unknown.stderr for n in notebooks for name in figures_of(n))

ospsim = str(folder / "nowhere")
missing = run("--output", str(folder / "none.html"))
assert missing.returncode == 3 and missing.stderr.count("\n") == 1 and ospsim in missing.stderr
assert not (folder / "none.html").exists()

print(f"{len(claims)} claims, {len(notebooks)} notebooks, {sum(page.images.values())} figures")
