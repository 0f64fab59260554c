"""docs/robustness.md shows what was recorded, and no figure is older than the experiment that made it."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "robustness"))
import figures  # noqa: E402


def test_the_figures_are_of_the_experiments_as_they_stand():
    assert not list(figures.faults())
