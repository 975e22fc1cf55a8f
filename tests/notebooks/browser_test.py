"""Shows the report in a headless Chromium: on a desktop, on a phone 360 pixels wide, and printed.

Usage: browser_test.py REPORT.HTML. Exits with 77, which CTest reports as skipped, where no browser is found.
"""

import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
from html import unescape

NAMES = ("chromium-headless-shell", "chromium", "chromium-shell", "chromium-browser", "google-chrome", "chrome")
browser = next(filter(None, map(shutil.which, NAMES)), None)
if browser is None:
    print(f"skipped: none of {', '.join(NAMES)} is installed")
    sys.exit(77)

# Stands first in the page, so that it hears of every error, and reports to the page that frames it.
PROBE = """<script>
const errors = [];
addEventListener("error", e => errors.push(e.message || "cannot load " + e.target.outerHTML.slice(0, 80)), true);
addEventListener("unhandledrejection", e => errors.push(String(e.reason)));
console.error = (...words) => errors.push(words.join(" "));
addEventListener("load", () => {
  const root = document.documentElement, claims = document.querySelector("#claims table");
  const images = [...document.images], first = document.querySelector("section:not(#claims)");
  parent.postMessage({
    errors, innerWidth, scrollWidth: root.scrollWidth, images: images.length,
    missing: images.filter(i => !(i.naturalWidth > 0 && i.clientWidth > 0)).map(i => i.alt),
    claimsFirst: !!(claims.compareDocumentPosition(first) & Node.DOCUMENT_POSITION_FOLLOWING)
      && claims.getBoundingClientRect().bottom < first.getBoundingClientRect().top,
    overflowing: [...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > innerWidth
      && !e.closest(".wide")).map(e => e.tagName + " " + e.textContent.slice(0, 40)).slice(0, 5),
  }, "*");
});
</script>"""

# A window cannot be narrower than 500 pixels, a frame can.
FRAME = """<!doctype html><body><iframe src="page.html" style="border: 0; width: WIDTHpx; height: 800px"></iframe>
<script>addEventListener("message", e => { document.body.dataset.found = JSON.stringify(e.data); });</script>"""


def chromium(folder, page, *options):
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
               "--enable-logging=stderr", "--virtual-time-budget=5000", f"--user-data-dir={folder}/profile",
               *options, page.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120, check=False)
    assert shown.returncode == 0, shown.stderr
    return shown


def measured(text, width):
    """What the probe finds in a page shown at a width, and what the browser's console says of errors."""
    with tempfile.TemporaryDirectory() as folder:
        page, frame = pathlib.Path(folder, "page.html"), pathlib.Path(folder, "frame.html")
        page.write_text(text.replace('<meta charset="utf-8">', '<meta charset="utf-8">' + PROBE, 1), encoding="utf-8")
        frame.write_text(FRAME.replace("WIDTH", str(width)), encoding="utf-8")
        shown = chromium(folder, frame, "--dump-dom", "--window-size=1600,900")
    found = re.search(r'data-found="([^"]*)"', shown.stdout)
    assert found, f"the page did not load: {shown.stderr}"
    console = [line for line in shown.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(unescape(found[1])) | {"console": console}


def faults(found, width, images):
    """What is wrong with a page, in words."""
    assert found["innerWidth"] == width
    if found["errors"] or found["console"]:
        yield f"errors: {found['errors'] + found['console']}"
    if found["missing"]:
        yield f"missing images: {found['missing']}"
    if found["images"] != images:
        yield f"{found['images']} images, not {images}"
    if found["scrollWidth"] > width:
        yield f"{found['scrollWidth']} pixels wide at {width}: {found['overflowing']}"
    if not found["claimsFirst"]:
        yield "the claims do not come first"


def pages_printed(text):
    with tempfile.TemporaryDirectory() as folder:
        page, pdf = pathlib.Path(folder, "page.html"), pathlib.Path(folder, "page.pdf")
        page.write_text(text, encoding="utf-8")
        chromium(folder, page, f"--print-to-pdf={pdf}", "--no-pdf-header-footer")
        return len(re.findall(rb"/Type\s*/Page\b", pdf.read_bytes()))


report = pathlib.Path(sys.argv[1]).read_text(encoding="utf-8")
images = report.count('<figure id="figure-')
assert images > 0

for width in (1280, 360):
    assert not (wrong := list(faults(measured(report, width), width, images))), wrong
# On a phone also with every group of claims open.
assert not (wrong := list(faults(measured(report.replace("<details", "<details open"), 360), 360, images))), wrong

# Paper shows what a reader would have to open.
printed = pages_printed(report)
assert printed == pages_printed(report.replace("<details", "<details open")) > images
assert printed > pages_printed(re.sub(r"<details.*?</details>", "", report, flags=re.DOTALL))

# Each of these checks can fail.
section = report.rindex("</section>")
image = report.index("data:image/png;base64,") + len("data:image/png;base64,")
for broken, fault in {
    report[:image] + "AAAA" + report[image + 4:]: "missing images",
    report[:section] + "<script>nosuch();</script>" + report[section:]: "errors",
    report[:section] + '<script>console.error("x");</script>' + report[section:]: "errors",
    report[:section] + '<p style="width: 400px">wide</p>' + report[section:]: "pixels wide",
    report[:section] + "<img alt='one more' src='data:image/gif;base64,R0lGODlhAQABAAAAACw='>" + report[section:]: "images, not",
    re.sub(r'(<section id="claims">.*?</section>)(.*)</main>', r"\2\1</main>", report, flags=re.DOTALL): "claims do not",
}.items():
    caught = list(faults(measured(broken, 360), 360, images))
    assert any(fault in line for line in caught), (fault, caught)

print(f"{images} figures, {printed} pages on paper, shown by {browser}")
