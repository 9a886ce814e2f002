"""Networks that PyTorch's exporters write compute what ONNX Runtime computes, train, and are written back."""

import json
import logging
import os
import subprocess
import warnings

import numpy as np
import onnx
import onnxruntime
import torch
import torchvision

from support import check, expect, regen
from train import MEAN, STD, write_images

# Of torchvision: six that are in the zoo, two that are not.
NAMES = (
    "mobilenet_v2", "shufflenet_v2_x1_0", "resnet18", "mobilenet_v3_small",
    "efficientnet_b0", "regnet_y_400mf", "densenet121", "googlenet",
)
EXPORTERS = {
    "dynamo": {"dynamo": True, "optimize": False, "verbose": False},
    "dynamo, dynamic": {"dynamo": True, "optimize": False, "verbose": False, "dynamic_shapes": ({0: "batch"},)},
    "legacy": {"dynamo": False, "training": torch.onnx.TrainingMode.PRESERVE, "do_constant_folding": False},
    "legacy, dynamic": {
        "dynamo": False, "training": torch.onnx.TrainingMode.PRESERVE, "do_constant_folding": False,
        "input_names": ["x"], "dynamic_axes": {"x": {0: "batch"}},
    },
}
SIDE = 32


def network(name: str) -> torch.nn.Module:
    """With weights of which no two tensors are equal, as after training."""
    torch.manual_seed(7)
    more = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    model = getattr(torchvision.models, name)(weights=None, num_classes=10, **more).eval()
    for key, value in model.state_dict().items():
        if key.endswith("running_mean"):
            value.normal_(0, 0.1)
        elif key.endswith("running_var"):
            value.uniform_(0.8, 1.25)
        elif value.dim() == 1:
            value.add_(torch.randn_like(value) * 0.02)
    return model


def export(model: torch.nn.Module, file, options: dict) -> None:
    count = 2 if "dynamic_shapes" in options else 1
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (torch.randn(count, 3, SIDE, SIDE),), str(file), external_data=False, **options)
    logging.disable(logging.NOTSET)


def runtime(file, images: np.ndarray) -> np.ndarray:
    """What ONNX Runtime says of each image."""
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: image[None]})[0] for image in images])


def outputs(file, images: np.ndarray, directory) -> np.ndarray:
    """What our engine says of them."""
    raw = directory / "images.f32"
    images.astype("<f4").tofile(raw)
    program = os.environ["CKPT_REGEN_ONNX_OUTPUTS"]
    run = subprocess.run([program, str(file), str(raw)], capture_output=True, text=True)
    expect(run.returncode == 0, run.stderr.strip())
    return np.array(json.loads(run.stdout))


def test_images(directory) -> tuple[np.ndarray, np.ndarray]:
    records = np.fromfile(directory / "cifar-10-batches-bin/test_batch.bin", np.uint8).reshape(-1, 3073)
    pixels = records[:, 1:].reshape(-1, 3, 32, 32).astype(np.float32) / np.float32(255)
    mean, std = (np.array(v, np.float32).reshape(1, 3, 1, 1) for v in (MEAN, STD))
    return (pixels - mean) / std, records[:, 0].astype(np.int64)


def expect_equal_outputs(file, directory, what: str) -> float:
    """The mean cross-entropy that both have on the test images."""
    images, labels = test_images(directory)
    wanted, found = runtime(file, images), outputs(file, images, directory)
    far, largest = np.abs(wanted - found).max(), np.abs(wanted).max()
    expect(far < 1e-4, f"{what}: outputs are {far} away, the largest is {largest}")
    logits = torch.from_numpy(wanted).double()
    return torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels)).item()


def structure(file):
    """A model without the elements of its initializers."""
    model = onnx.load(str(file))
    for tensor in model.graph.initializer:
        tensor.ClearField("raw_data")
        tensor.ClearField("float_data")
    return model.SerializeToString()


def round_trip(name: str, exporter: str, directory) -> None:
    write_images(directory, 6)
    file, out, run = directory / "net.onnx", directory / "out.onnx", directory / "run"
    export(network(name), file, EXPORTERS[exporter])
    what = f"{name}, {exporter}"
    data = ("--data", directory, "--recipe", "cifar")
    loss = expect_equal_outputs(file, directory, what)
    found = json.loads(regen("eval", file, *data, "--json").stdout)["loss"]
    expect(abs(found - loss) < 1e-4, f"{what}: eval says {found}, ONNX Runtime {loss}")
    steps = ("--epochs", 8, "--batch-size", 15, "--schedule", "constant", "--lr", 0.003)
    plain = ("--flip=false", "--crop-padding", 0, "--regen-every", 2, "--regen-until", 2)
    regen("train", "--model", file, *data, *steps, *plain, "--out", run)
    losses = [json.loads(line)["train_loss"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    expect(sum(losses[-2:]) < sum(losses[:2]), f"{what}: the loss does not fall: {losses}")
    regen("export", run / "last", "-o", out)
    onnx.checker.check_model(str(out))
    expect(structure(out) == structure(file), f"{what}: the structure differs")
    loss = expect_equal_outputs(out, directory, f"{what}, trained")
    found = json.loads(regen("eval", run / "last", "--json").stdout)["loss"]
    expect(abs(found - loss) < 1e-4, f"{what}, trained: eval says {found}, ONNX Runtime {loss}")


for _name in NAMES:
    for _exporter in ("dynamo", "legacy"):

        @check(f"onnx: {_name} by the {_exporter} exporter")
        def _(directory, name=_name, exporter=_exporter):
            round_trip(name, exporter, directory)


@check("onnx: exports with a dynamic batch compute the same")
def _(directory):
    write_images(directory, 2)
    for name in ("shufflenet_v2_x1_0", "mobilenet_v2", "regnet_y_400mf"):
        for exporter in ("dynamo, dynamic", "legacy, dynamic"):
            file = directory / f"{name}.onnx"
            export(network(name), file, EXPORTERS[exporter])
            expect_equal_outputs(file, directory, f"{name}, {exporter}")


@check("onnx: a network that was not trained keeps every tensor by the dynamo exporter, not by the legacy one")
def _(directory):
    write_images(directory, 6)
    model = torchvision.models.mobilenet_v2(weights=None, num_classes=10, width_mult=0.1).eval()
    data = ("--data", directory, "--recipe", "cifar", "--epochs", 1, "--batch-size", 15)
    for exporter, code in (("dynamo", 0), ("legacy", 1)):
        file, run = directory / f"{exporter}.onnx", directory / exporter
        export(model, file, EXPORTERS[exporter])
        trained = regen("train", "--model", file, *data, "--out", run)
        expect(("stored as one with others" in trained.stderr) == (code == 1), trained.stderr)
        written = regen("export", run / "last", "-o", directory / "out.onnx", code=code)
        expect(("kept one of several equal tensors" in written.stderr) == (code == 1), written.stderr)
