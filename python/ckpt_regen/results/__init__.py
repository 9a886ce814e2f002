"""The objects that functions return, with the fields that the command prints with --json."""

from .difference import Diff
from .edit import Applied, Change, EditedLayer, Regenerated, RegeneratedLayer, Undone
from .report import Report
from .series import Series

__all__ = [
    "Applied",
    "Change",
    "Diff",
    "EditedLayer",
    "Regenerated",
    "RegeneratedLayer",
    "Report",
    "Series",
    "Undone",
]
