"""One self-contained HTML page: the claims of the paper, then the notebooks with their pictures.

The claims are computed by ospsim, which takes what would have to be measured from results/. The notebooks
only draw: they read results of record from results/ and compute nothing.
"""

import argparse
import datetime
import json
import os
import pathlib
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass

import jinja2
import nbformat
from markupsafe import Markup, escape
from nbconvert.filters import markdown2html
from nbconvert.preprocessors import CellExecutionError, ExecutePreprocessor

os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")  # a warning of the kernel, not of ours

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parent


class Failure(Exception):
    """Ends the program with one line and an exit status."""

    def __init__(self, status, line):
        super().__init__(line)
        self.status = status


@dataclass
class Section:
    """A notebook as part of the page; `parts` are the ids and titles of its headings."""

    key: str
    title: str
    body: str
    parts: list


def claims_of(ospsim):
    """The document of `ospsim reproduce`, whose claims are grouped by the first part of their ids."""
    command = [str(ospsim), "reproduce", "--quick", "--all", "--json"]
    try:
        found = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False)
        document = json.loads(found.stdout)
    except OSError as error:
        raise Failure(3, f"cannot run {ospsim}: {error.strerror}; ./osp report builds it") from error
    except json.JSONDecodeError as error:
        said = (found.stderr.strip().splitlines() or ["it printed no claims"])[-1]
        raise Failure(3, f"cannot run {' '.join(command)} (status {found.returncode}): {said}") from error
    groups = {}
    for claim in document["claims"]:
        groups.setdefault(claim["id"].split(".")[0], []).append(claim)
    counts = Counter((claim["status"], claim["kind"]) for claim in document["claims"])
    return document | {"groups": groups, "counts": counts}


def figures():
    """Where every figure is drawn: its name and the notebook that holds it."""
    return {name: path for path in sorted(HERE.glob("*.ipynb"))
            for cell in nbformat.read(path, as_version=4).cells
            for name in re.findall(r'show_figure\(\s*\w+,\s*"([^"]+)"', cell.source)}


def execute(path):
    notebook = nbformat.read(path, as_version=4)
    try:
        ExecutePreprocessor(timeout=300, kernel_name="python3").preprocess(
            notebook, {"metadata": {"path": str(HERE)}}
        )
    except CellExecutionError as error:
        raise Failure(1, f"{path.name}: {error.ename}: {error.evalue}") from error
    return notebook


def rendered(path, notebook):
    """The notebook's text and what its cells show, without its code."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            # The page has its own h1.
            yield re.sub(r"(</?h)([1-5])", lambda m: m[1] + str(int(m[2]) + 1), markdown2html(cell.source))
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "text/html" in data:
                yield data["text/html"]
            elif "text/markdown" in data:
                yield markdown2html(data["text/markdown"])
            elif "image/png" in data:
                raise Failure(1, f"{path.name}: a figure without a caption; show it with ospsim_results.show_figure")


def section(path):
    body = "\n".join(rendered(path, execute(path)))
    (title,) = re.findall(r"<h2[^>]*>(.*?)<a ", body)
    return Section(path.stem, Markup(title), Markup(body),
                   [(key, Markup(text)) for key, text in re.findall(r'<h3 id="([^"]+)">(.*?)<a ', body)])


def value(number):
    """A claim's number to seven digits."""
    if number is None:
        return "–"
    if isinstance(number, bool):
        return "yes" if number else "no"
    digits, _, power = f"{number:,.7g}".partition("e")
    text = f"{digits} × 10<sup>{int(power)}</sup>" if power else digits
    return Markup(text.replace("-", "\u2212"))


def of(unit):
    """A unit to write behind its number."""
    return f" {unit}" if unit not in ("", "1") else ""


def powers(text):
    """Plain text whose 2^14 are raised."""
    return Markup(re.sub(r"\^(-?\w+)", r"<sup>\1</sup>", str(escape(text))).replace("<sup>-", "<sup>\u2212"))


def commit():
    command = ["git", "-C", str(TOP), "describe", "--always", "--dirty"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"


def write_page(output, ospsim):
    """Writes the page beside its place and renames it, so that a reader never finds half of one."""
    if output.is_dir() or not output.parent.is_dir():
        raise Failure(2, f"--output {output}: name a file in a folder that is there")
    claims = claims_of(ospsim)
    sections = [section(path) for path in sorted(HERE.glob("*.ipynb"))]
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(HERE), autoescape=True,
                                     trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    environment.filters |= {"value": value, "of": of, "powers": powers}
    page = environment.get_template("report.html.jinja").render(
        claims=claims, sections=sections, commit=commit(), date=datetime.date.today().isoformat())
    part = output.with_name(output.name + f".part-{os.getpid()}")
    try:
        part.write_text(page, encoding="utf-8")
        part.replace(output)
    finally:
        part.unlink(missing_ok=True)
    print(f"report: {output.resolve()}")


def draw(name, folder):
    """Writes one figure as a PNG; executes only the notebook that holds it."""
    known = figures()
    if name not in known:
        raise Failure(2, f"--figure {name}: the figures are {', '.join(known)}")
    os.environ["OSPSIM_FIGURE"] = name
    execute(known[name])
    print(f"figure: {folder / name}.png")


def main():
    parser = argparse.ArgumentParser(prog="osp report", description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=pathlib.Path, default=TOP / "build" / "report.html", metavar="FILE",
                        help="where the page goes (default: build/report.html)")
    parser.add_argument("--figures", type=pathlib.Path, metavar="DIR", help="also write each figure as a PNG there")
    parser.add_argument("--figure", metavar="NAME",
                        help="only this figure, as a PNG in the folder of --figures (default: build/figures)")
    parser.add_argument("--ospsim", type=pathlib.Path, default=TOP / "build" / "release" / "bin" / "ospsim",
                        metavar="PROGRAM", help="which ospsim computes the claims (./osp passes the one it built)")
    options = parser.parse_args()
    folder = options.figures or (TOP / "build" / "figures" if options.figure else None)
    try:
        if folder:
            folder = folder.resolve()
            folder.mkdir(parents=True, exist_ok=True)
            os.environ["OSPSIM_FIGURES"] = str(folder)
        if options.figure:
            draw(options.figure, folder)
        else:
            write_page(options.output, options.ospsim)
    except Failure as failure:
        print(f"osp report: {failure}", file=sys.stderr)
        return failure.status
    except OSError as error:
        print(f"osp report: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
