"""The networks that `model --json` prints compute what torchvision's compute."""

import json
import sys

import torch
import torch.nn.functional as F
import torchvision

from support import ROOT, check, expect, regen

sys.path.insert(0, str(ROOT / "fixtures/golden"))
from generate import CifarResNet, cifar_stem, fill
from generate_more import segmenters

ACTIVATIONS = {
    "ReLU": F.relu,
    "ReLU6": F.relu6,
    "hard-swish": F.hardswish,
    "hard-sigmoid": F.hardsigmoid,
    "sigmoid": torch.sigmoid,
    "SiLU": F.silu,
}


def windowed(node: dict) -> dict:
    """A window's settings, as torch's functions take them."""
    expect(node["padding_before"] == node["padding_after"], f"{node['name']}: uneven padding")
    return {"stride": node["stride"], "padding": node["padding_before"]}


def compute(node: dict, inputs: list[torch.Tensor], state: dict, training: bool) -> torch.Tensor:
    x = inputs[0]
    tensor = {key: state.get(node.get(key)) for key in ("weight", "bias", "running_mean", "running_var")}
    match node["op"]:
        case "convolution":
            window = windowed(node) | {"dilation": node["dilation"], "groups": node["groups"]}
            return F.conv2d(x, tensor["weight"], tensor["bias"], **window)
        case "batch_norm":
            settings = {"training": training, "momentum": node["momentum"], "eps": node["eps"]}
            return F.batch_norm(x, tensor["running_mean"], tensor["running_var"], tensor["weight"], tensor["bias"], **settings)
        case "activation":
            return ACTIVATIONS[node["function"]](x)
        case "add":
            return x + inputs[1]
        case "gate":
            return x * inputs[1]
        case "concat":
            return torch.cat(inputs, 1)
        case "slice":
            return x[:, node["start"] : node["start"] + node["len"]]
        case "shuffle":
            return x.unflatten(1, (node["groups"], -1)).transpose(1, 2).flatten(1, 2)
        case "pad_channels":
            return F.pad(x, (0, 0, 0, 0, node["before"], node["after"]))
        case "max_pool":
            return F.max_pool2d(x, node["kernel"], dilation=node["dilation"], ceil_mode=node["ceil"], **windowed(node))
        case "average_pool":
            expect(node["dilation"] == [1, 1], "no dilation")
            window = windowed(node) | {"ceil_mode": node["ceil"], "count_include_pad": node["count_padding"]}
            return F.avg_pool2d(x, node["kernel"], **window)
        case "adaptive_average_pool":
            return F.adaptive_avg_pool2d(x, node["shape"][1:])
        case "linear":
            return F.linear(x.flatten(1), tensor["weight"], tensor["bias"])[..., None, None]
        case "resize_bilinear":
            size = node["shape"][1:]
            return F.interpolate(x, size=size, mode="bilinear", align_corners=node["align_corners"])
        case "dropout" | "channel_dropout" | "stochastic_depth":
            return x
    raise AssertionError(f"{node['name']}: {node['op']} is unknown")


def run(network: dict, state: dict, images: torch.Tensor, training: bool) -> list[torch.Tensor]:
    """The output, and the auxiliary one where there is one."""
    values = {}
    for node in network["nodes"]:
        inputs = [values[name] for name in node["inputs"]]
        value = compute(node, inputs, state, training) if inputs else images
        expect(list(value.shape[1:]) == node["shape"], f"{node['name']}: {value.shape}")
        values[node["name"]] = value
    auxiliary = network["auxiliary"]
    names = [network["output_node"]] + ([auxiliary["node"]] if auxiliary else [])
    return [values[name].flatten(1) for name in names]


def compare(model: torch.nn.Module, name: str, resolution, *options) -> None:
    """`model` returns its output, or a tuple or dict of it and of the auxiliary one."""
    height, width = resolution if isinstance(resolution, tuple) else (resolution, resolution)
    network = json.loads(regen("model", name, "--classes", 7, "--resolution", f"{height}x{width}", "--json", *options).stdout)
    model = model.double()
    fill(model)
    images = torch.randn(3, 3, height, width, dtype=torch.float64)
    for training in (False, True):
        state = {key: value.clone() for key, value in model.state_dict().items()}
        expect([t["name"] for t in network["tensors"]] == list(state), f"{name}: other tensors")
        with torch.inference_mode():
            found = run(network, state, images, training)
            wanted = model.train(training)(images)
        wanted = [wanted] if isinstance(wanted, torch.Tensor) else list(wanted.values() if isinstance(wanted, dict) else wanted)
        expect(len(found) == len(wanted), f"{name}: {len(found)} outputs, not {len(wanted)}")
        for one, other in zip(found, wanted):
            same = torch.allclose(one, other.flatten(1), rtol=1e-9, atol=1e-9)
            expect(same, f"{name}, training {training}: outputs differ")
        for key, value in model.state_dict().items():
            same = key.endswith("num_batches_tracked") or torch.allclose(state[key], value, rtol=1e-9, atol=1e-9)
            expect(same, f"{name}: {key} differs after a step")


def listed() -> list[dict]:
    return json.loads(regen("model", "--json").stdout)


def torchvisions(name: str, **options) -> torch.nn.Module:
    return getattr(torchvision.models, name)(weights=None, num_classes=7, **options)


@check("networks: all of torchvision's compute the same")
def _(_):
    names = [entry["name"] for entry in listed() if entry["resolution"] == 224]
    expect(len(names) == 14, f"{names}")
    for name in names:
        # Neither divides evenly through the strides.
        for resolution in (64, 75):
            compare(torchvisions(name), name, resolution)


@check("networks: the CIFAR stem computes the same")
def _(_):
    for entry in listed():
        if entry["cifar_stem"]:
            name = entry["name"]
            compare(cifar_stem(torchvisions(name), name), name, 32, "--stem", "cifar")


@check("networks: width multipliers compute the same")
def _(_):
    for width in (0.25, 0.6, 1.4):
        for name in ("mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large"):
            compare(torchvisions(name, width_mult=width), name, 48, "--width", width)
        compare(torchvision.models.MNASNet(width, 7), "mnasnet1_0", 48, "--width", width)
    # So narrow that a block keeps its channels where it changes them otherwise.
    narrow = cifar_stem(torchvisions("mobilenet_v2", width_mult=0.25), "mobilenet_v2")
    compare(narrow, "mobilenet_v2", 32, "--width", 0.25, "--stem", "cifar")
    compare(torchvision.models.MNASNet(0.1, 7), "mnasnet1_0", 48, "--width", 0.1)


@check("networks: the CIFAR ResNets compute the same")
def _(_):
    for blocks, depth in ((3, 20), (5, 32), (7, 44), (9, 56), (18, 110)):
        for resolution in (32, 27):
            compare(CifarResNet(blocks, 7), f"resnet{depth}", resolution)


@check("networks: the dilated segmentation networks compute the same")
def _(_):
    for name, model in segmenters(7):
        for resolution in ((65, 97), (48, 40)):
            compare(model, name, resolution)


@check("networks: DeepLabV3 is torchvision's, with its auxiliary head")
def _(_):
    model = torchvision.models.segmentation.deeplabv3_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=7, aux_loss=True
    )
    for resolution in ((65, 97), (48, 40)):
        compare(model, "deeplabv3_mobilenet_v3_large", resolution)
    network = json.loads(regen("model", "deeplabv3_mobilenet_v3_large", "--json").stdout)
    model = torchvision.models.segmentation.deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None, aux_loss=True)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    expect(network["parameters"] == parameters, f"{network['parameters']} parameters, not {parameters}")
    norms = {node["name"]: node for node in network["nodes"] if node["op"] == "batch_norm"}
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            constants = (norms[name]["eps"], norms[name]["momentum"])
            expect(constants == (module.eps, module.momentum), f"{name}: {constants}")
