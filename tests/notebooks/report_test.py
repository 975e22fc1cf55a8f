"""Runs report.py into a temporary folder and reads the page as a browser would."""

import pathlib
import subprocess
import sys
import tempfile
from html.parser import HTMLParser

report = pathlib.Path(sys.argv[1])
notebooks = sorted(report.parent.glob("*.ipynb"))


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.sections, self.images_of, self.links, self.outside = [], {}, [], []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "section":
            self.sections.append(attributes["id"])
            self.images_of[attributes["id"]] = 0
        if tag == "img":
            assert attributes["src"].startswith("data:image/"), "a figure is not inside the page"
            self.images_of[self.sections[-1]] += 1
        if tag == "a" and attributes.get("href", "").startswith("#"):
            self.links.append(attributes["href"][1:])
        if tag in ("script", "link"):
            self.outside.append(attributes)


with tempfile.TemporaryDirectory() as folder:
    output, figures = pathlib.Path(folder, "report.html"), pathlib.Path(folder, "figures")
    command = [sys.executable, str(report), "--output", str(output), "--figures", str(figures)]
    subprocess.run(command, check=True)
    assert sorted(p.name for p in pathlib.Path(folder).iterdir()) == ["figures", "report.html"]
    text = output.read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert len(notebooks) > 0 and page.sections == [n.stem for n in notebooks]
    assert all(count > 0 for count in page.images_of.values()), page.images_of
    assert set(page.sections) <= set(page.links)
    assert not page.outside, "the page loads something from elsewhere"
    assert "Traceback" not in text
    assert any(figures.glob("*.png"))
print(f"{len(notebooks)} notebooks, {sum(page.images_of.values())} figures")
