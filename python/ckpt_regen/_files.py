"""Checkpoints in files: what the command does, as functions."""

import glob
import json
import logging
import os
from collections.abc import Iterable, Sequence

from . import _native
from ._options import Path, Patterns, chosen, path as text, rule_options
from .results import Applied, Diff, Report, Series, Undone
from .results._build import build

_log = logging.getLogger("ckpt_regen")


def apply(
    path: Path,
    *,
    rule: str = "paper",
    below: float | str = "median",
    to: float | str | None = None,
    scope: str = "network",
    keep_zeros: bool = False,
    iternorm: bool = False,
    include: Patterns = (),
    exclude: Patterns = (),
    every: int | None = None,
    epoch: int | None = None,
    epoch_key: str | None = None,
    start: int | None = None,
    until: int | None = None,
    root: str | None = None,
    newest: bool = False,
    mask: Path | None = None,
    pruned_as_public: bool = False,
    plan: Path | None = None,
    plan_out: Path | None = None,
    output: Path | None = None,
    in_place: bool = False,
    follow_symlinks: bool = False,
    record: Path | None = None,
    optimizer: str = "keep",
    param_order: Sequence[str] | None = None,
    allow_dying: bool = False,
    skip_shared: bool = False,
    schema: Path | None = None,
    dry_run: bool = False,
) -> Applied:
    """Regenerates channels in a checkpoint file, and changes nothing else in it.

    With no options: Algorithm 1 of the paper. Every γ at or below the network's median is set to the
    median. The file is replaced as a whole, and a record is kept beside it with which `undo` gives it
    back bit for bit. Killed or interrupted (Ctrl-C) at any moment, it leaves the old file, the new file,
    or a journal that the next call completes.

    Args:
        path: a file, a shard index (*.index.json) or a directory.
        rule: "paper" (γ ≤ t), "reference" (|γ| < t), or "keep-sign" (|γ| < t, γ keeps its sign).
        below: the threshold t: "median", "quantile:Q" with 0 ≤ Q < 1, or a number.
        to: the new γ: "median", "mean", "max" or "quantile:Q" of the γ before the edit, or a number; the
            threshold if not given.
        scope: one threshold for the "network", for "each" module, or for each "layer".
        keep_zeros: leave γ that are exactly 0 alone, and out of the median.
        iternorm: count and regenerate γ of IterNorm too.
        include, exclude: regular expressions on layer names.
        every: regenerate every so many epochs only; otherwise nothing is changed.
        epoch: how many epochs are finished, the first is 1; what the checkpoint says if not given.
        epoch_key: the key of the checkpoint that says so; "KEY+1" for the index of the last epoch.
        start, until: the first (`every` if not given) and the last epoch to regenerate at.
        root: the network to edit, where the file holds several in training.
        newest: of a directory of checkpoints, edit the newest.
        mask: the file of pruned channels (`ckpt-regen prune --mask-out`), instead of those that the record
            beside the checkpoint has; they are left alone, and out of the median.
        pruned_as_public: count and regenerate pruned channels too, as the paper's public code does.
        plan: apply this saved plan instead of a rule.
        plan_out: save the plan here.
        output: write the result here and leave `path` alone.
        in_place: patch the file itself, through a journal: for files too big to copy.
        follow_symlinks: edit the file that a symbolic link leads to.
        record: keep the record here instead of beside the checkpoint.
        optimizer: "keep" what the optimizer's state holds for the regenerated γ, or "reset" it.
        param_order: names of the optimizer's parameters in its order, where only positions are saved.
        allow_dying: edit also where more channels would die than come back.
        skip_shared: leave layers alone whose γ cannot be edited, instead of refusing.
        schema: find γ as this file says.
        dry_run: say what would be done, and write nothing.

    Raises:
        UsageError: a request that makes no sense, with near names.
        NotFoundError: no such file; it is a FileNotFoundError too.
        Error: a file that is damaged or has no BatchNorm, or an edit that would not be safe.
    """
    options = {
        "newest": newest,
        "root": root,
        "plan": text(plan),
        "every": every,
        "epoch": epoch,
        "epoch_key": epoch_key,
        "start": start,
        "until": until,
        "reset_optimizer": chosen("optimizer", optimizer, ("keep", "reset")) == "reset",
        "param_order": None if param_order is None else list(param_order),
        "mask": text(mask),
        "pruned_as_public": pruned_as_public,
        "output": text(output),
        "in_place": in_place,
        "follow_symlinks": follow_symlinks,
        "record": text(record),
        "plan_out": text(plan_out),
        "dry_run": dry_run,
    }
    rules = rule_options(
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
    done = build(Applied, json.loads(_native.apply(os.fspath(path), rules, options)))
    for warning in done.warnings:
        _log.warning("%s: %s", done.path, warning)
    return done


def undo(
    path: Path,
    *,
    in_place: bool = False,
    follow_symlinks: bool = False,
    record: Path | None = None,
) -> Undone:
    """Takes the last `apply` back: the file is bit for bit what it was.

    Raises Error if there is no record, or γ are not the ones that it left, as when training went on.
    """
    done = _native.undo(os.fspath(path), in_place, follow_symlinks, text(record))
    return build(Undone, json.loads(done))


def inspect(path: Path, *, schema: Path | None = None, mask: Path | None = None) -> Report:
    """Reads γ by layer: range, inhibited channels, histogram, and what each rule would change.

    Reads only headers and γ, whatever the size of the file. Of a directory of checkpoints, the newest.
    `mask` is the file of pruned channels, instead of those that the record beside the checkpoint has.

    Raises Error if no BatchNorm is found, and says what was looked for; NotFoundError without a file.
    """
    inspected = _native.inspect(os.fspath(path), text(schema), text(mask))
    report = build(Report, json.loads(inspected.json))
    object.__setattr__(report, "_inspected", inspected)
    return report


def diff(
    a: Path,
    b: Path,
    *,
    gamma_only: bool = False,
    schema: Path | None = None,
    record: Path | None = None,
    mask: Path | None = None,
) -> Diff:
    """Compares two checkpoints: γ by layer, and whether anything else changed.

    Args:
        a, b: checkpoints of any formats; layers are matched by name.
        gamma_only: leave all other tensors out: only headers and γ are read.
        schema: find γ as this file says.
        record: the record of the edit that made `b`, instead of the one beside it.
        mask: the file of pruned channels, instead of those that the records have.
    """
    found = _native.diff(
        os.fspath(a), os.fspath(b), gamma_only, text(schema), text(record), text(mask)
    )
    return build(Diff, json.loads(found))


def track(
    paths: Path | Iterable[Path],
    *,
    root: str | None = None,
    channels: Iterable[str] = (),
    schema: Path | None = None,
    record: Path | None = None,
    mask: Path | None = None,
) -> Series:
    """Follows the γ of a network through the checkpoints of a training run.

    Args:
        paths: checkpoints, or patterns such as "ckpt-*.pth"; in the order of their epochs, or else of the
            numbers in their names.
        root: the network to follow, where the files hold several in training.
        channels: channels to follow, such as "features.3.conv.1:12"; two are chosen without.
        schema: find γ as this file says.
        record: the record of an edit, instead of those beside the checkpoints.
        mask: the file of pruned channels, instead of those that the records have.
    """
    named = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    found = [path for name in named for path in _expanded(os.fspath(name))]
    followed, warnings = _native.track(
        found, root, list(channels), text(schema), text(record), text(mask)
    )
    for warning in warnings:
        _log.warning("%s", warning)
    return build(Series, {**json.loads(followed), "warnings": warnings})


def _expanded(name: str) -> list[str]:
    """What exists as it is; anything else with a wildcard in it as a pattern."""
    if os.path.exists(name) or not any(mark in name for mark in "*?["):
        return [name]
    return sorted(glob.glob(name)) or [name]
