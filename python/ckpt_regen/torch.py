"""Channel regeneration of a live torch.nn.Module.

    import ckpt_regen.torch

    for epoch in range(start_epoch, epochs):
        ckpt_regen.torch.regenerate_at(epoch, model, optimizer, every=5)
        ...
"""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from . import _ranks, _slots
from ._errors import Error, UsageError
from ._hook import Hook
from ._module import Found, write
from ._options import RULE_OPTIONS, Path, Patterns, chosen, rule_options
from .results import Regenerated
from .results._build import build

_log = logging.getLogger("ckpt_regen")

Optimizers = torch.optim.Optimizer | Sequence[torch.optim.Optimizer] | None
"""One optimizer, several, or none."""


def regenerate_(
    module: torch.nn.Module,
    optimizer: Optimizers = None,
    *,
    rule: str = "paper",
    below: float | str = "median",
    to: float | str | None = None,
    scope: str = "network",
    keep_zeros: bool = False,
    iternorm: bool = False,
    include: Patterns = (),
    exclude: Patterns = (),
    slots: str = "keep",
    allow_dying: bool = False,
    skip_shared: bool = False,
    schema: Path | None = None,
    check: bool = True,
) -> Regenerated:
    """Regenerates channels of a module in place, and changes nothing else of it.

    γ are found as in a file (a weight with running statistics beside it, whatever the class is called),
    and what changes is, to the bit, what `ckpt_regen.apply` changes in the module's saved state dict.
    Works on any device and in float16, bfloat16, float32 and float64; behind torch.compile, DataParallel
    and DistributedDataParallel. An average (EMA) inside the module is left alone.

    Call it between two steps of the optimizer. Between backward and step it cannot be told that
    something is wrong: the gradients belong to the γ before. In a training of several processes every one
    calls it.

    Args:
        module: the module in training, not its average.
        optimizer: its optimizer or optimizers; needed to reset what they keep, and otherwise only checked:
            they must step these γ.
        rule, below, to, scope, keep_zeros, iternorm, include, exclude, allow_dying, skip_shared, schema: as
            for `ckpt_regen.apply`.
        slots: "keep" what the optimizer holds for the regenerated γ, as in the paper, or "reset" it:
            momentum and running means of gradients to 0, those of squared gradients to the lower median
            of the layer's other channels.
        check: compare the processes of the training before anything is changed.

    Raises:
        UsageError: an option that makes no sense, or an optimizer of other parameters.
        Error: no BatchNorm; a γ that is not finite, shared or sharded (FSDP, DTensor), or of which the
            optimizer keeps a copy (DeepSpeed); more channels dying than coming back; processes that hold
            different γ. Nothing is changed then.
    """
    resets = chosen("slots", slots, ("keep", "reset")) == "reset"
    options = rule_options(
        {
            "rule": rule,
            "below": below,
            "to": to,
            "scope": scope,
            "keep_zeros": keep_zeros,
            "iternorm": iternorm,
            "include": include,
            "exclude": exclude,
            "allow_dying": allow_dying,
            "skip_shared": skip_shared,
            "schema": schema,
        }
    )
    optimizers = _slots.optimizers(optimizer)
    if resets and not optimizers:
        raise UsageError("slots 'reset' needs the optimizer", place="slots", found=slots)
    plan: str | None = None
    digest: str | None = None
    refused: Error | None = None
    try:
        found = Found(module, options)
        _slots.check(found.owner, found.gammas, optimizers)
        plan, digest = found.plan()
    except Error as error:
        refused = error
    if check:
        _ranks.compare(type(module).__name__, digest, refused)
    if refused is not None or plan is None:
        raise refused or AssertionError("there is a plan or a reason for none")
    done = build(Regenerated, {**json.loads(plan), "optimizer_tensors_reset": 0})
    changes = {layer.name: layer.changes for layer in done.layers if layer.changes}
    slot_edits = _slots.resets(optimizers, found.gammas, changes) if resets else []
    for gamma in found.gammas:
        changed = changes.get(gamma.layer, [])
        if changed:
            channels = [change.channel for change in changed]
            write(gamma.tensor, channels, [change.new for change in changed])
    for edit in slot_edits:
        write(edit.tensor, edit.channels, edit.new)
    object.__setattr__(done, "optimizer_tensors_reset", len(slot_edits))
    return done


def rules_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """The rule among options of `regenerate_`, its defaults filled in."""
    parameters = inspect.signature(regenerate_).parameters
    defaults = {name: parameters[name].default for name in RULE_OPTIONS}
    return rule_options({**defaults, **options})


def regenerate_at(
    epoch: int,
    module: torch.nn.Module,
    optimizer: Optimizers = None,
    *,
    every: int,
    start: int | None = None,
    until: int | None = None,
    **options: Any,
) -> Regenerated | None:
    """Regenerates channels of a module if it is time; the first line of an epoch.

    There accuracy was measured before the edit, the best checkpoint holds the weights that scored, the
    final network is never a freshly edited one, and a resumed run redoes the edit from the epoch number.
    What was done is logged by the logger `ckpt_regen`, of several processes by the first. An edit that would do harm, or γ that are not
    finite, are a warning, and training goes on.

    Args:
        epoch: how many epochs are finished: the index of the one that begins, counted from 0.
        module, optimizer: as for `regenerate_`.
        every, start, until: as for `ckpt_regen.Schedule`.
        options: those of `regenerate_`.

    Returns what was done, or None when it is not time or the edit was refused.
    """
    hook = Hook(
        every=every,
        start=start,
        until=until,
        options=options,
        info=_log.info if _ranks.is_first() else _log.debug,
        warn=_log.warning,
    )
    return hook.at(epoch, module, optimizer)
