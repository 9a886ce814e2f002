"""What optimizers keep for γ, found by the parameter object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch

from . import _native
from ._errors import Error, UsageError
from ._module import DTYPES, Gamma, buffer, values
from .results import Change


class Edit(NamedTuple):
    """New values of one tensor."""

    tensor: torch.Tensor
    channels: list[int]
    new: list[float]


def optimizers(given: Any) -> list[Any]:
    """The optimizers: none, one or several.

    Raises UsageError for what is none.
    """
    several = list(given) if isinstance(given, (list, tuple)) else [given]
    chosen = [optimizer for optimizer in several if optimizer is not None]
    for optimizer in chosen:
        if not (hasattr(optimizer, "param_groups") and hasattr(optimizer, "state")):
            found = type(optimizer).__name__
            message = f"optimizer: expected a torch.optim.Optimizer, found {found}"
            raise UsageError(message, place="optimizer", found=found)
    return chosen


def check(owner: str, gammas: Sequence[Gamma], optimizers: Sequence[Any]) -> None:
    """Raises if the optimizers step copies of γ, or other parameters."""
    for optimizer in optimizers:
        inner = getattr(optimizer, "optimizer", optimizer)
        for part in (optimizer, inner):
            if any(cls.__module__.startswith("deepspeed.") for cls in type(part).__mro__):
                reason = "optimizer is DeepSpeed's, which overwrites γ with its copy in float32"
                raise Error(f"{owner}: {reason}", kind="optimizer", file=owner, place="optimizer")
            if hasattr(part, "_amp_stash"):
                reason = "optimizer is Apex's, which overwrites γ with its copy in float32"
                raise Error(f"{owner}: {reason}", kind="optimizer", file=owner, place="optimizer")
    trained = [gamma for gamma in gammas if gamma.tensor.requires_grad]
    known = {
        id(parameter)
        for optimizer in optimizers
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    if optimizers and trained and not any(id(gamma.tensor) in known for gamma in trained):
        expected = f"the γ of {owner}, such as {trained[0].name}"
        found = f"{len(known)} other parameters"
        message = (
            f"optimizer: expected one of {expected}, found {found}: that of another module, or of copies "
            "in float32 that overwrite γ"
        )
        raise UsageError(message, place="optimizer", found=found)


def resets(
    optimizers: Sequence[Any], gammas: Sequence[Gamma], changes: Mapping[str, list[Change]]
) -> list[Edit]:
    """The edits that reset what is kept for the regenerated channels.

    Raises Error where something is kept that is not known: nothing is guessed.
    """
    kept: dict[str, list[tuple[Gamma, torch.Tensor]]] = {}
    for optimizer in optimizers:
        for gamma in gammas:
            # Not indexed at once: that would make an entry.
            state = optimizer.state[gamma.tensor] if gamma.tensor in optimizer.state else {}
            for key, tensor in state.items():
                if isinstance(tensor, torch.Tensor) and tensor.dim() > 0:
                    _refuse_odd(key, tensor, gamma)
                    kept.setdefault(key, []).append((gamma, tensor))
    edits = []
    for key, slots in kept.items():
        described = [
            (
                DTYPES[tensor.dtype],
                tensor.numel(),
                [change.channel for change in changes.get(gamma.layer, [])],
            )
            for gamma, tensor in slots
        ]
        old = values([tensor for _, tensor in slots])
        new = iter(_native.Live.reset(key, buffer(old), described))
        before = iter(old.tolist())
        for _, tensor in slots:
            pairs = [(next(before), next(new)) for _ in range(tensor.numel())]
            differing = [place for place, (a, b) in enumerate(pairs) if _differ(a, b)]
            if differing:
                edits.append(Edit(tensor, differing, [pairs[place][1] for place in differing]))
    return edits


def _differ(a: float, b: float) -> bool:
    """Whether bits differ: 0.0 and -0.0 do, a NaN that stayed does not."""
    return a.hex() != b.hex()


def _refuse_odd(key: str, tensor: torch.Tensor, gamma: Gamma) -> None:
    if tensor.shape != gamma.tensor.shape or not tensor.is_floating_point():
        found = f"{tensor.dtype} {list(tensor.shape)}"
        expected = f"numbers of shape {list(gamma.tensor.shape)}"
        message = f"optimizer: {key} of {gamma.name}: expected {expected}, found {found}"
        raise Error(
            message, kind="optimizer", place=gamma.name, expected=expected, found=found
        )
