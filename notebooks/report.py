"""Executes the notebooks and joins them into one self-contained HTML page.

Usage: ./osp report [--output FILE] [--figures DIR]

The notebooks only draw: they read results of record from results/ and compute nothing.
"""

import argparse
import html
import os
import pathlib
import subprocess
import sys

import nbformat
from nbconvert import HTMLExporter
from nbconvert.preprocessors import CellExecutionError, ExecutePreprocessor

os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")  # a warning of the kernel, not of ours

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parent

STYLE = """
body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem; font: 16px/1.55 system-ui, sans-serif; color: #1b1f24; }
h1, h2, h3 { line-height: 1.25; } h2 { margin-top: 2.5rem; border-top: 1px solid #d0d7de; padding-top: 1.5rem; }
img { max-width: 100%; height: auto; } a { color: #0550ae; } .anchor-link { display: none; }
.output_prompt, .prompt { display: none; } pre { overflow-x: auto; background: #f6f8fa; padding: .6rem; font-size: .85rem; }
code { background: #f6f8fa; padding: 0 .2rem; font-size: .9em; }
table { border-collapse: collapse; font-size: .9rem; } th, td { padding: .2rem .7rem; border-bottom: 1px solid #d0d7de; text-align: right; }
th:first-child, td:first-child { text-align: left; } .output_html { overflow-x: auto; } footer { color: #57606a; margin-top: 3rem; font-size: .85rem; }
@media print { h2 { break-before: page; } }
"""


def commit():
    command = ["git", "-C", str(TOP), "describe", "--always", "--dirty"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"


def execute(path):
    notebook = nbformat.read(path, as_version=4)
    ExecutePreprocessor(timeout=300, kernel_name="python3").preprocess(
        notebook, {"metadata": {"path": str(HERE)}}
    )
    return notebook


def title_of(notebook):
    first = notebook.cells[0].source.splitlines()[0]
    return first.lstrip("# ")


def page(sections):
    contents = "".join(f'<li><a href="#{key}">{html.escape(title)}</a></li>' for key, title, _ in sections)
    bodies = "".join(f'<section id="{key}">{body}</section>' for key, _, body in sections)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>ospsim report</title><style>{STYLE}</style></head><body>"
        "<h1>ospsim report</h1><p>Drawn from the results of record; every figure names the command that "
        f"made its data.</p><ul>{contents}</ul>{bodies}"
        f"<footer>ospsim {html.escape(commit())}</footer></body></html>\n"
    )


def main():
    parser = argparse.ArgumentParser(prog="osp report", description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=pathlib.Path, default=TOP / "build" / "report.html",
                        help="where the page goes (default: build/report.html)")
    parser.add_argument("--figures", type=pathlib.Path, help="also write each figure as a PNG into this folder")
    options = parser.parse_args()
    if options.figures:
        options.figures.mkdir(parents=True, exist_ok=True)
        os.environ["OSPSIM_FIGURES"] = str(options.figures.resolve())

    exporter = HTMLExporter(template_name="basic", exclude_input=True, exclude_output_prompt=True)
    sections = []
    for path in sorted(HERE.glob("*.ipynb")):
        try:
            notebook = execute(path)
        except CellExecutionError as error:
            print(f"osp report: {path.name}: {error.ename}: {error.evalue}", file=sys.stderr)
            return 1
        body, _ = exporter.from_notebook_node(notebook)
        sections.append((path.stem, title_of(notebook), body))

    options.output.parent.mkdir(parents=True, exist_ok=True)
    part = options.output.with_name(options.output.name + f".part-{os.getpid()}")
    part.write_text(page(sections), encoding="utf-8")
    part.replace(options.output)
    print(f"report: {options.output.resolve()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
