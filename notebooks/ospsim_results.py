"""Reads results of record, for the notebooks."""

import json
import os
import pathlib
from dataclasses import dataclass

import h5py

RESULTS = pathlib.Path(__file__).resolve().parent.parent / "results"


@dataclass
class Result:
    """A result file: the document a command produced, and where it came from."""

    document: dict
    provenance: dict

    def origin(self):
        """One line for a caption: the command, the commit and the machine."""
        p = self.provenance
        return f"{p['command_line']} · commit {p['git_commit'][:12]} · {p['cpu']} · {p['date']}"


def load(name):
    """The result of record `results/NAME.h5`."""
    with h5py.File(RESULTS / f"{name}.h5", "r") as file:
        text = file["document"][()]
        provenance = {key: value.decode() if isinstance(value, bytes) else value for key, value in file.attrs.items()}
    return Result(json.loads(text), provenance)


def save_figure(figure, name):
    """Writes a figure as a PNG where $OSPSIM_FIGURES says, if it says."""
    folder = os.environ.get("OSPSIM_FIGURES")
    if folder:
        figure.savefig(pathlib.Path(folder) / f"{name}.png", dpi=160, bbox_inches="tight")
