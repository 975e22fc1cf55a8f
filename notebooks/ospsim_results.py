"""What the notebooks share: results of record, and figures and tables that say where theirs came from."""

import base64
import io
import json
import os
import pathlib
import struct
from dataclasses import dataclass
from html import escape

import h5py
import matplotlib.pyplot as plt
from IPython.display import HTML, display

RESULTS = pathlib.Path(__file__).resolve().parent.parent / "results"

# At a width of 6.6 inches this is legible on a phone and the size of the text around it on a desktop.
plt.rcParams["font.size"] = 11


@dataclass
class Result:
    """A result file: the document a command produced, and where it came from."""

    document: dict
    provenance: dict

    def origin(self):
        """The command, the commit, the machine and the day, as HTML."""
        p = self.provenance
        command = p["command_line"].replace("ospsim ", "./osp ", 1)
        dirty = " with changes" if p["git_dirty"] else ""
        gpu = f", {p['gpu']}" if p["gpu"] != "none" else ""
        machine = f"{p['cpu']}, {p['cpu_cores']} cores{gpu}"
        return (f"<code>{escape(command)}</code> · commit <code>{p['git_commit'][:12]}</code>{dirty} · "
                f"{escape(machine)} · <time>{p['date'][:10]}</time>")


def load(name):
    """The result of record `results/NAME.h5`."""
    with h5py.File(RESULTS / f"{name}.h5", "r") as file:
        text = file["document"][()]
        provenance = {key: value.decode() if isinstance(value, bytes) else value for key, value in file.attrs.items()}
    return Result(json.loads(text), provenance)


def show_figure(figure, name, *results, alt, caption=""):
    """Shows a figure and, beneath it, the results it is drawn from and the command that draws it alone.

    `alt` says in words what the picture shows, `caption` (HTML) what the axes do not: the case, and how the
    numbers were got. $OSPSIM_FIGURES names a folder that receives it as NAME.png, $OSPSIM_FIGURE the only
    figure wanted there.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=160, bbox_inches="tight")
    plt.close(figure)
    png = buffer.getvalue()
    folder = os.environ.get("OSPSIM_FIGURES")
    if folder and os.environ.get("OSPSIM_FIGURE", name) == name:
        pathlib.Path(folder, f"{name}.png").write_bytes(png)
    width, height = struct.unpack(">II", png[16:24])
    image = (f'<img src="data:image/png;base64,{base64.b64encode(png).decode()}" width="{width}" height="{height}" '
             f'alt="{escape(alt)}">')
    alone = f"This figure alone: <code>./osp report --figure {name}</code>"
    display(HTML(f'<figure id="figure-{name}">{image}{_figcaption(caption, results, alone)}</figure>'))


def show_table(headings, rows, *results, caption="", words=1):
    """Shows a table of HTML cells with its caption; the first `words` columns hold words, the others numbers."""
    kinds = ["word"] * words + ["number"] * (len(headings) - words)
    # A unit stays with its quantity.
    headings = [heading.replace(", ", ",&nbsp;") for heading in headings]
    head = "".join(f'<th scope="col" class="{kind}">{cell}</th>' for kind, cell in zip(kinds, headings))
    body = "".join("<tr>" + "".join(f'<td class="{kind}">{cell}</td>' for kind, cell in zip(kinds, row)) + "</tr>"
                   for row in rows)
    table = f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    display(HTML(f"<figure>{table}{_figcaption(caption, results)}</figure>"))


def _figcaption(caption, results, *lines):
    paragraphs = [caption, *(f"Data: {result.origin()}" for result in results), *lines]
    return "<figcaption>" + "".join(f"<p>{text}</p>" for text in paragraphs if text) + "</figcaption>"
