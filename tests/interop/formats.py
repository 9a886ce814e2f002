"""The same weights in every format: one plan, and the same network after it."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnx.numpy_helper
import onnxruntime
import torch
from safetensors.torch import load_file

from support import (
    ROOT, apply, check, clone, expect, expect_equal, fixture, mobilenet, outputs, regen,
    regenerate,
)


def pytorch(path: Path) -> dict:
    return torch.load(path, map_location="cpu", weights_only=True)


def sharded(directory: Path) -> dict:
    index = json.loads((directory / "model.safetensors.index.json").read_text())
    read = {name: load_file(directory / name) for name in set(index["weight_map"].values())}
    return {key: read[name][key] for key, name in index["weight_map"].items()}


READERS = {
    "model.safetensors": load_file,
    "sharded": sharded,
    "model.pth": pytorch,
    "model.legacy.th": pytorch,
    "training.pth": lambda path: pytorch(path)["model"],
}
ONNX = ["preserve.onnx", "external/model.onnx"]


def layers_of_plan(path: Path, *options) -> dict:
    plan = path.parent / f"{path.name}.plan.json"
    regen("apply", path, "--dry-run", "--plan-out", plan, *options)
    layers = json.loads(plan.read_text())["layers"]
    return {layer["name"]: layer for layer in layers}


def onnx_file(name: str, directory: Path) -> Path:
    folder, _, file = name.rpartition("/")
    return fixture(folder, directory) / file if folder else fixture(file, directory)


@check("formats: all eight have the same plan, under each rule")
def _(directory):
    files = [fixture(name, directory / str(n)) for n, name in enumerate(READERS)]
    files += [onnx_file(name, directory / f"onnx{n}") for n, name in enumerate(ONNX)]
    # The eighth: shards of .bin, made here.
    files.append(bin_shards(directory / "bin", load_file(files[0])))
    for rule in ["paper", "reference", "keep-sign"]:
        plans = [layers_of_plan(file, "--rule", rule) for file in files]
        expect(len(plans[0]) == 52, f"{len(plans[0])} layers")
        for file, plan in zip(files, plans):
            expect(plan == plans[0], f"{file}: another plan than {files[0]}")


def applied(name: str):
    @check(f"formats: {name} edited is read as the edited network")
    def _(directory):
        wanted = clone(load_file(fixture("model.safetensors", directory / "original")))
        count = sum(int(mask.sum()) for mask in regenerate(wanted).values())
        file = fixture(name, directory)
        report = apply(file)
        expect(report["regenerated"] == count == 2663, f"{report['regenerated']} γ, not {count}")
        found = READERS[name](file)
        expect_equal(found, wanted, name)
        mobilenet().load_state_dict(found)


for _name in READERS:
    applied(_name)


def run_onnx(path: Path, images: torch.Tensor) -> torch.Tensor:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        str(path), options, providers=["CPUExecutionProvider"]
    )
    (found,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    return torch.from_numpy(found)


def expect_runs_as(path: Path, model: torch.nn.Module, images: torch.Tensor, when: str) -> None:
    """ONNX Runtime gives what PyTorch gives."""
    found, wanted = run_onnx(path, images), outputs(model, images)
    off = (found - wanted).abs().max().item()
    close = torch.allclose(found, wanted, rtol=1e-3, atol=1e-4)
    expect(close, f"{path.name} {when}: outputs differ from PyTorch's by {off}")


def check_onnx(file: Path, model: torch.nn.Module, images: torch.Tensor) -> None:
    before = {tensor.name: tensor for tensor in onnx.load(file).graph.initializer}
    expect_runs_as(file, model, images, "before")
    report = apply(file)
    onnx.checker.check_model(str(file), full_check=True)
    after = {tensor.name: tensor for tensor in onnx.load(file).graph.initializer}
    old = outputs(model, images)
    changed = regenerate(model.state_dict())
    expect(not torch.allclose(old, outputs(model, images)), "the edit does not show in the output")
    expect_runs_as(file, model, images, "after")
    count = sum(int(mask.sum()) for mask in changed.values())
    expect(report["regenerated"] == count, f"{report['regenerated']} γ, not {count}")
    state = model.state_dict()
    gammas = {f"{name}.weight" for name in changed}
    expect(gammas <= set(after), "an initializer of a γ has another name")
    for name, tensor in after.items():
        found = onnx.numpy_helper.to_array(tensor)
        wanted = state[name].numpy() if name in gammas else onnx.numpy_helper.to_array(before[name])
        expect(np.array_equal(found, wanted), f"initializer {name}")


for _name in ONNX:

    @check(f"formats: {_name} edited passes onnx.checker and runs as PyTorch does")
    def _(directory, name=_name):
        file = onnx_file(name, directory)
        model = mobilenet()
        model.load_state_dict(load_file(fixture("model.safetensors", directory / "original")))
        check_onnx(file, model, torch.randn(1, 3, 32, 32))


def exported(kind: str, **options):
    @check(f"formats: ONNX exported here ({kind}), edited, runs as PyTorch does")
    def _(directory):
        import contextlib
        import io
        import warnings

        model = example_network()
        images = torch.randn(1, 3, 16, 16)
        file = directory / "model.onnx"
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            torch.onnx.export(model, (images,), str(file), **options)
        check_onnx(file, model, images)


def example_network() -> torch.nn.Module:
    """The network of examples/pytorch_resume, with γ and statistics of its own."""
    import sys

    sys.path.insert(0, str(ROOT / "examples/pytorch_resume"))
    from task import network

    torch.manual_seed(1)
    model = network()
    for name, tensor in model.state_dict().items():
        if tensor.dim() == 1 and tensor.is_floating_point():
            tensor.copy_(torch.rand_like(tensor) + 0.1)
    return model.eval()


exported("dynamo", dynamo=True, optimize=False, external_data=False)
exported("dynamo, external data", dynamo=True, optimize=False, external_data=True)
exported(
    "TorchScript, training=PRESERVE", dynamo=False, do_constant_folding=False,
    training=torch.onnx.TrainingMode.PRESERVE,
)


def bin_shards(directory: Path, state: dict) -> Path:
    """Three shards of torch.save with an index; the siblings of a layer lie in different ones."""
    directory.mkdir(parents=True)
    weight_map = {}
    for n in range(3):
        name = f"pytorch_model-{n + 1:05d}-of-00003.bin"
        part = {key: state[key] for key in list(state)[n::3]}
        torch.save(part, directory / name)
        weight_map.update({key: name for key in part})
    size = sum(value.numel() * value.element_size() for value in state.values())
    index = {"metadata": {"total_size": size}, "weight_map": weight_map}
    (directory / "pytorch_model.bin.index.json").write_text(json.dumps(index, indent=2))
    return directory


@check("formats: pytorch_model.bin in three shards, edited, is what torch.save writes")
def _(directory):
    from support import expect_same_bytes

    state = clone(load_file(fixture("model.safetensors", directory)))
    found = bin_shards(directory / "found", state)
    before = {file.name: file.read_bytes() for file in found.iterdir()}
    report = apply(found)
    expect(report["regenerated"] == 2663, f"{report['regenerated']} γ")
    regenerate(state)
    wanted = bin_shards(directory / "wanted", state)
    for file in wanted.iterdir():
        expect_same_bytes(found / file.name, file)
    regen("undo", found)
    expect({file.name: file.read_bytes() for file in found.iterdir()} == before, "undo")
