"""Runs the notebooks and stores their outputs in them: `make notebooks`.

A code host shows what is stored, so what is stored must be of the code beside it.  Each notebook
therefore carries a fingerprint of the sources that were run, and the tests compare: who changes a
cell has to run this.  Times of day are left out, so that a diff shows what has changed.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parent
PATIENCE = 300
"""Seconds until a cell that hangs is ended; none should come near it."""


def fingerprint(notebook: nbformat.NotebookNode) -> str:
    """Of the sources of all code cells."""
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256("\0".join(sources).encode()).hexdigest()


def run(notebook: nbformat.NotebookNode, folder: Path) -> None:
    """Fill in the outputs of all cells, run in order by a new kernel in `folder`."""
    where = {"metadata": {"path": str(folder)}}
    options = {"timeout": PATIENCE, "record_timing": False, "coalesce_streams": True}
    NotebookClient(notebook, resources=where, **options).execute()
    notebook.metadata.language_info = {"name": "python"}  # not this machine's version
    notebook.metadata["mhc_demo"] = {"executed": fingerprint(notebook)}


def main(names: list[str]) -> None:
    """Run and store the named notebooks, by default all."""
    for path in [Path(name) for name in names] or sorted(FOLDER.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        run(notebook, path.parent)
        nbformat.write(notebook, path)
        print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main(sys.argv[1:])
