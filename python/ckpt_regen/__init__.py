"""Brings dead BatchNorm channels back: in a checkpoint file, or in the training loop.

In a trained CNN many BatchNorm scales γ fall to zero; their channels get no gradient and stay dead.
Channel regeneration (Sharma and Foroosh, AAAI 2023) lifts every γ at or below the network's median back
to the median, every few epochs.

`apply`, `inspect`, `diff`, `track` and `undo` are the commands of `ckpt-regen` as functions. In memory,
`ckpt_regen.torch` regenerates a module; `ckpt_regen.lightning` and `ckpt_regen.transformers` have the
callbacks for those trainers. They are imported by name, since they need PyTorch.
"""

from ._errors import Error, NotFoundError, UsageError
from ._files import apply, diff, inspect, track, undo
from ._native import Schedule, __version__
from .results import Applied, Diff, Regenerated, Report, Series, Undone

__all__ = [
    "Applied",
    "Diff",
    "Error",
    "NotFoundError",
    "Regenerated",
    "Report",
    "Schedule",
    "Series",
    "Undone",
    "UsageError",
    "__version__",
    "apply",
    "diff",
    "inspect",
    "track",
    "undo",
]
