"""The γ of a network over a training run."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Save:
    """One checkpoint of a series."""

    path: str
    format: str
    epoch: int | None
    at: int
    """Its place in time: the epoch, or the number in its name."""


@dataclass(frozen=True)
class LayerSeries:
    """A layer, or the whole network, over time: one entry a save in each list."""

    name: str
    channels: int
    inhibited: list[int]
    pruned: list[int]
    min: list[float | None]
    median: list[float | None]
    max: list[float | None]
    non_finite: list[int]
    hamming: list[float | None]
    """The share of channels that changed sides of the network's median since the save before."""
    regenerated: list[int]
    """How many are known to be regenerated in this save."""


@dataclass(frozen=True)
class SaveRegeneration:
    """A regeneration, and how its channels fared."""

    save: int
    """In which save its channels are found, counted from 0."""
    source: str
    """How it is known: "record", or "mark" (half of the γ are equal)."""
    regenerated: int
    alive: list[int]
    """How many are not inhibited in this save and each later one, up to the next regeneration."""


@dataclass(frozen=True)
class Survival:
    """Regenerated channels some saves later."""

    after: int
    regenerated: int
    alive: int


@dataclass(frozen=True)
class Trajectory:
    """One channel over time."""

    layer: str
    channel: int
    chosen: str
    """Why it is shown: "asked", "weakest" or "strongest"."""
    gamma: list[float | None]


@dataclass(frozen=True)
class Series:
    """What `track` found."""

    order: str
    """What put the saves in order: "epoch" or "name"."""
    saves: list[Save]
    root: str
    layer_count: int
    network: LayerSeries
    layers: list[LayerSeries]
    settled: int | None
    """From which save on the network has settled."""
    regenerations: list[SaveRegeneration]
    survival: list[Survival]
    trajectories: list[Trajectory]
    warnings: list[str]
    """What the command says on stderr."""
