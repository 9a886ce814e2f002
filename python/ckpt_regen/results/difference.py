"""What changed between two checkpoints."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class DrawnCounts:
    """How many γ fall between the edges that are drawn, and beyond them."""

    fine_counts: list[int]
    below: int
    above: int


@dataclass(frozen=True)
class Counts:
    """How many γ fall into each bin of the network's edges."""

    fine_counts: list[int]
    drawn: DrawnCounts | None


@dataclass(frozen=True)
class DrawnEdges:
    """The bins that are drawn, where a few γ lie far from all others."""

    fine_edges: list[float]


@dataclass(frozen=True)
class Edges:
    """The bins of a network, the same for both sides and all layers."""

    fine_edges: list[float]
    drawn: DrawnEdges | None


@dataclass(frozen=True)
class Side:
    """One of the two checkpoints."""

    path: str
    format: str
    epoch: int | None
    """Finished epochs, where the checkpoint says it."""
    epoch_read_from: str | None


@dataclass(frozen=True)
class NetworkName:
    """A network."""

    root: str
    role: str


@dataclass(frozen=True)
class Sided:
    """The γ of a layer or network on one side."""

    min: float | None
    median: float | None
    max: float | None
    inhibited: int
    pruned: int
    non_finite: int
    histogram: Counts


@dataclass(frozen=True)
class Move:
    """The change of one γ."""

    layer: str
    channel: int
    from_: float = field(metadata={"json": "from"})
    """`from` in JSON, which is a word of Python."""
    to: float
    delta: float


@dataclass(frozen=True)
class Regeneration:
    """What `apply` would have to be told to make the γ of the second out of those of the first."""

    rule: str
    below: str
    to: str
    scope: str
    keep_zeros: bool
    threshold: float | None


@dataclass(frozen=True)
class LayerDiff:
    """A layer of both."""

    name: str
    dtype_a: str
    dtype_b: str
    a: Sided
    b: Sided
    channels: int
    moved: int
    """How many γ are others."""
    rose: int
    fell: int
    largest: Move | None
    died: int
    """How many were not inhibited and are."""
    revived: int
    """How many were inhibited and are not."""
    pruned: int
    """How many are pruned in the second and not in the first."""
    regenerated: int


@dataclass(frozen=True)
class OneSided:
    """A layer that one checkpoint has and the other has not."""

    name: str
    channels: int


@dataclass(frozen=True)
class Incompatible:
    """A layer of both that cannot be compared."""

    name: str
    reason: str


@dataclass(frozen=True)
class NetworkDiff:
    """The γ of a network in both checkpoints."""

    root_a: str
    root_b: str
    role: str
    a: Sided
    b: Sided
    histogram: Edges
    regeneration: Regeneration | None
    """The regeneration that explains the second, bit for bit."""
    channels: int
    moved: int
    rose: int
    fell: int
    largest: Move | None
    died: int
    revived: int
    pruned: int
    regenerated: int
    layer_count: int
    layers_changed: int
    layers: list[LayerDiff]
    only_in_a: list[OneSided]
    only_in_b: list[OneSided]
    incompatible: list[Incompatible]


@dataclass(frozen=True)
class TensorName:
    """A tensor; of an optimizer, `root` is "(optimizer)"."""

    root: str
    name: str


@dataclass(frozen=True)
class Mismatch:
    """A tensor of another type or shape in the second."""

    root: str
    name: str
    a: str
    b: str


@dataclass(frozen=True)
class Uncompared:
    """A tensor that could not be compared."""

    root: str
    name: str
    reason: str


@dataclass(frozen=True)
class Tensors:
    """All tensors that are no γ."""

    equal: int
    changed: list[TensorName]
    only_in_a: list[TensorName]
    only_in_b: list[TensorName]
    incompatible: list[Mismatch]
    not_compared: list[Uncompared]


@dataclass(frozen=True)
class Diff:
    """What `diff` found."""

    a: Side
    b: Side
    equal: bool
    networks: list[NetworkDiff]
    networks_only_in_a: list[NetworkName]
    networks_only_in_b: list[NetworkName]
    tensors: Tensors | None
    """None with `gamma_only`."""
