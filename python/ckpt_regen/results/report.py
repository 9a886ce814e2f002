"""What there is to see in a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy
    import numpy.typing

    from .._native import Inspected


@dataclass(frozen=True)
class Training:
    """What a checkpoint says of its training."""

    layout: str | None
    """Who laid the files out."""
    epoch: int | None
    """Finished epochs."""
    optimizer: str | None
    """The kind of the optimizer."""


@dataclass(frozen=True)
class Drawn:
    """A histogram between the edges that are drawn, where a few γ lie far from all others."""

    counts: list[int]
    fine_counts: list[int]
    below: int
    above: int
    edges: list[float] | None
    """Of a network; its layers have the same."""
    fine_edges: list[float] | None


@dataclass(frozen=True)
class Histogram:
    """How many γ fall between edges."""

    edges: list[float] | None
    """One more than counts; of a network, its layers have the same."""
    counts: list[int]
    fine_edges: list[float] | None
    fine_counts: list[int]
    drawn: Drawn | None


@dataclass(frozen=True)
class Effect:
    """What a rule would change in a layer."""

    selected: int
    """How many γ it selects."""
    regenerated: int
    """How many of those would change."""


@dataclass(frozen=True)
class Preview:
    """What a rule would change in a network."""

    selected: int
    regenerated: int
    threshold: float
    layers_touched: int


@dataclass(frozen=True)
class Layer:
    """The γ of a BatchNorm layer."""

    name: str
    norm: str
    """"BatchNorm" or "IterNorm"."""
    dtype: str | None
    """The type of γ, as safetensors spells it."""
    channels: int
    min: float | None
    """Of the finite γ, as the next two; None where there is none."""
    median: float | None
    """The lower median."""
    max: float | None
    inhibited: int
    """How many have |γ| < 0.01."""
    pruned: int
    """How many are pruned; they are counted nowhere else."""
    at_or_below_median: int
    """How many are at or below the network's median."""
    negative: int
    non_finite: int
    editable: bool
    reason: str | None
    """Why γ cannot be edited."""
    histogram: Histogram
    rules: dict[str, Effect] | None
    """By rule; None where an edit of the network would be refused."""


@dataclass(frozen=True)
class Network:
    """The γ of a network."""

    root: str
    """What tells it from the other networks of the file; empty where there is one."""
    role: str
    """"raw", "ema" or "teacher"."""
    channels: int
    min: float | None
    median: float | None
    max: float | None
    inhibited: int
    pruned: int
    at_or_below_median: int
    negative: int
    non_finite: int
    histogram: Histogram
    rules: dict[str, Preview] | None
    """By rule; None where an edit would be refused."""
    rules_refused: str | None
    """Why it would be."""
    layers: list[Layer]


@dataclass(frozen=True)
class Report:
    """What `inspect` found in a checkpoint."""

    path: str
    format: str
    pending: bool
    """Whether an interrupted edit waits to be completed."""
    training: Training
    epoch_read_from: str | None
    """The keys of the checkpoint that say how many epochs are finished."""
    networks: list[Network]
    """The networks in training first, then averages and teachers; at least one."""
    _inspected: Any = field(default=None, repr=False, compare=False, init=False)

    def gammas(self, root: str | None = None) -> dict[str, numpy.typing.NDArray[numpy.float64]]:
        """The γ of a network by layer, in its order: float64 of shape [channels], each value exact.

        `root` names a network of `networks`; the first is taken if not given. A layer whose γ cannot be
        read has an array of length 0. Needs NumPy.

        Raises UsageError if there is no network of this root.
        """
        import numpy

        from .._errors import UsageError

        roots = [network.root for network in self.networks]
        if root is not None and root not in roots:
            known = ", ".join(map(repr, roots))
            message = f"root {root!r}: {self.path} has no such network; it has {known}"
            raise UsageError(message, place="root", found=root)
        inspected: Inspected = self._inspected
        layers = inspected.gammas(0 if root is None else roots.index(root))
        return {name: numpy.frombuffer(values, numpy.float64).copy() for name, values in layers}
