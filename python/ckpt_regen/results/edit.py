"""What an edit did."""

from dataclasses import dataclass


@dataclass(frozen=True)
class EditedLayer:
    """A BatchNorm layer of an edit."""

    name: str
    threshold: float
    """t: a γ at or below it is regenerated (rule "paper")."""
    target: float
    """The new γ, in the type of this layer's γ."""
    regenerated: int
    """How many γ changed."""


@dataclass(frozen=True)
class Applied:
    """What `apply` did to a checkpoint."""

    path: str
    output: str | None
    """The file that holds the result; None with `dry_run`."""
    due: bool
    """Whether it was time; True without `every`."""
    epoch: int | None
    """Finished epochs, with `every`."""
    epoch_read_from: str | None
    """The keys of the checkpoint that say so."""
    next: int | None
    """The next epoch at which it is due."""
    root: str | None
    """The network that was edited; empty where the file has one."""
    rule: str
    threshold: float | None
    """None where layers have thresholds of their own, or nothing was due."""
    target: float | None
    counted: int
    """How many γ were counted."""
    pruned: int
    """How many channels are pruned, and so neither counted nor changed."""
    regenerated: int
    """How many γ changed."""
    layers_touched: int
    """In how many layers."""
    layers: list[EditedLayer]
    optimizer_tensors_reset: int
    warnings: list[str]
    record: str | None
    """The record with which `undo` takes the edit back; None where nothing changed."""


@dataclass(frozen=True)
class Undone:
    """What `undo` took back."""

    path: str
    restored: int | None
    """How many γ are back; None where an interrupted undo was completed."""
    layers: int | None
    """In how many layers."""
    edits_left: int
    """How many earlier edits can still be taken back."""
    warnings: list[str]


@dataclass(frozen=True)
class Change:
    """The change of one γ. Both values are exact in its type."""

    channel: int
    """Counted from 0."""
    old: float
    new: float


@dataclass(frozen=True)
class RegeneratedLayer:
    """A BatchNorm layer of a module."""

    name: str
    threshold: float
    target: float
    changes: list[Change]


@dataclass(frozen=True)
class Regenerated:
    """What was done to a module."""

    rule: str
    threshold: float | None
    """None where layers have thresholds of their own."""
    target: float | None
    counted: int
    """How many γ were counted."""
    regenerated: int
    """How many γ changed."""
    layers_touched: int
    """In how many layers."""
    layers: list[RegeneratedLayer]
    warnings: list[str]
    notes: list[str]
    """Facts about what was not touched."""
    optimizer_tensors_reset: int

    def __str__(self) -> str:
        threshold = "" if self.threshold is None else f" at or below {self.threshold:.6g}"
        if self.rule != "paper":
            threshold = threshold.replace("at or below", "of a magnitude below")
        count = f"{self.regenerated} of {self.counted} channels"
        return f"regenerated {count}{threshold} in {self.layers_touched} of {len(self.layers)} layers"
