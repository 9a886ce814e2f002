#!/usr/bin/env python3
"""ckpt-regen's file side beside cp, safetensors.torch and torch, in one run.

Usage: python benches/file_side.py [--gigabytes 4] [--dir DIR] [--binary target/release/ckpt-regen]
       python benches/file_side.py --whole [--before DIR]

Makes a safetensors and an ONNX checkpoint of that size in DIR, a PyTorch one of half of it (three
times the space is needed), one of 10,000 BatchNorm layers, and one of 160 to draw, and runs each
program on them as a process of its own, warm, several times. Each result is checked before it
counts. Prints the best time, the peak memory, and the ratio to the peer. numpy is needed;
safetensors, torch and onnx are compared where they are installed.

--whole: what reads tensors as a whole instead, `diff` and the loading of weights, of 1 GB; by turns
with another build, of whose target/release --before names a copy. Both need `cargo build --release
--example load_weights`.
"""

import argparse, importlib.util, json, os, shutil, struct, subprocess, sys, tempfile, time
from pathlib import Path

import numpy as np

MEBIBYTE = 1 << 20


def tensors(layers, channels, filler_bytes):
    """Names, dtypes, shapes and data (None: zeros) of a synthetic network."""
    rng = np.random.default_rng(0)
    for i in range(layers):
        yield f"layer{i}.bn.weight", "F32", [channels], rng.normal(0.3, 0.2, channels).astype("<f4").tobytes()
        for name in ("bias", "running_mean", "running_var"):
            yield f"layer{i}.bn.{name}", "F32", [channels], np.ones(channels, "<f4").tobytes()
        yield f"layer{i}.bn.num_batches_tracked", "I64", [], struct.pack("<q", 7)
        if filler_bytes:
            yield f"layer{i}.conv.weight", "F32", [filler_bytes // 4 // layers], None


def write_checkpoint(path, layers, channels, filler_bytes):
    header, at = {"__metadata__": {"format": "pt"}}, 0
    table = list(tensors(layers, channels, filler_bytes))
    for name, dtype, shape, data in table:
        size = len(data) if data is not None else 4 * shape[0]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    noise = np.random.default_rng(1).bytes(MEBIBYTE)  # not zeros: no file system may skip it
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, _, shape, data in table:
            if data is not None:
                file.write(data)
                continue
            left = 4 * shape[0]
            while left:
                left -= file.write(noise[: min(left, MEBIBYTE)])
        file.flush()
        os.fsync(file.fileno())


def gamma(path):
    """All γ of a checkpoint of ours, read without the programs under test."""
    with open(path, "rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(size))
        values = []
        for name, entry in sorted(header.items()):
            if name.endswith(".bn.weight"):
                file.seek(8 + size + entry["data_offsets"][0])
                values.append(np.frombuffer(file.read(4 * entry["shape"][0]), "<f4"))
    return np.concatenate(values)


def lifted(values):
    return np.maximum(values, np.sort(values)[(len(values) - 1) // 2])


def run(command):
    """Seconds and stderr of one process."""
    begin = time.perf_counter()
    child = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    seconds = time.perf_counter() - begin
    if child.returncode:
        sys.exit(f"{command}: status {child.returncode}\n{child.stderr}")
    return seconds, child.stderr


LAUNCHER = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def memory(command):
    """Peak MiB of one process. Started from a small one: a process inherits the peak of the one
    that it is started from, some 9 MiB here, so that less than that cannot be seen."""
    launched = [sys.executable, "-S", "-E", "-c", LAUNCHER, *command]
    return int(subprocess.run(launched, capture_output=True, check=True).stdout) / 1024


def measure(label, command, times, before=lambda: None, check=lambda: None):
    best, note = float("inf"), ""
    for _ in range(times):
        before()
        seconds, text = run(command)
        check()
        if seconds < best:
            best, note = seconds, text.strip().splitlines()[-1] if "-v" in command else ""
    before()
    peak = memory(command)
    print(f"{label:<38} {best * 1e3:10.1f} ms {peak:8.1f} MiB  {note}", flush=True)
    return best


PEERS = {
    "safetensors": """
import sys, torch
from safetensors.torch import load_file, save_file
state = load_file(sys.argv[1])
names = [name for name in state if name.endswith(".bn.weight")]
median = torch.cat([state[name] for name in names]).median()
for name in names:
    state[name] = torch.maximum(state[name], median)
save_file(state, sys.argv[2], metadata={"format": "pt"})
""",
    "torch": """
import sys, torch
state = torch.load(sys.argv[1], weights_only=True)
names = [name for name in state if name.endswith(".bn.weight")]
median = torch.cat([state[name] for name in names]).median()
for name in names:
    state[name] = torch.maximum(state[name], median)
torch.save(state, sys.argv[2])
""",
    "onnx": """
import os, sys, numpy, onnx
from onnx import numpy_helper
model = onnx.load(sys.argv[1])
gammas = [t for t in model.graph.initializer if t.name.endswith(".bn.weight")]
values = {t.name: numpy_helper.to_array(t) for t in gammas}
median = numpy.sort(numpy.concatenate(list(values.values())))
median = median[(len(median) - 1) // 2]
for t in gammas:
    t.CopyFrom(numpy_helper.from_array(numpy.maximum(values[t.name], median), t.name))
onnx.save(model, sys.argv[2], save_as_external_data=True, location=os.path.basename(sys.argv[2]) + ".data", size_threshold=0)
""",
}


def installed(*modules):
    return all(importlib.util.find_spec(module) for module in modules)


def write_onnx(path, layers, channels, filler_bytes):
    """A chain of BatchNormalization nodes and weights, all data in one file beside the model."""
    from onnx import TensorProto, helper, save

    nodes, initializers, last = [], [], "x"
    noise = np.random.default_rng(1).bytes(MEBIBYTE)
    with open(f"{path}.data", "wb") as data:
        for name, dtype, shape, content in tensors(layers, channels, filler_bytes):
            if dtype != "F32":
                continue
            size = 4 * shape[0]
            tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape)
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in ("location", f"{path.name}.data"), ("offset", data.tell()), ("length", size):
                tensor.external_data.add(key=key, value=str(value))
            initializers.append(tensor)
            if content is not None:
                data.write(content)
            else:
                while size:
                    size -= data.write(noise[: min(size, MEBIBYTE)])
    for i in range(layers):
        names = [f"layer{i}.bn.{leaf}" for leaf in ("weight", "bias", "running_mean", "running_var")]
        nodes.append(helper.make_node("BatchNormalization", [last, *names], [f"y{i}"], name=f"bn{i}"))
        last = f"y{i}"
    value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", channels])
    graph = helper.make_graph(nodes, "g", [value("x")], [value(last)], initializers)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--gigabytes", type=float, default=4)
    parser.add_argument("--dir")
    parser.add_argument("--binary", default="target/release/ckpt-regen")
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--before", metavar="DIR")
    args = parser.parse_args()
    binary = str(Path(args.binary).resolve())
    with tempfile.TemporaryDirectory(dir=args.dir) as name:
        if args.whole:
            whole(Path(binary).parent, args.before and Path(args.before), Path(name), args.times)
        else:
            bench(binary, Path(name), int(args.gigabytes * 1e9), args.times)


def bench(binary, home, size, times):
    big, copy, out = home / "big.safetensors", home / "copy", home / "out"
    write_checkpoint(big, layers=100, channels=256, filler_bytes=size)
    values = gamma(big)
    expected = lifted(values)
    print(f"{big.stat().st_size / 1e9:.2f} GB, 100 layers, 25,600 channels; best of {times}")

    def expect(path, wanted):
        return lambda: np.testing.assert_array_equal(gamma(path), wanted)

    undo = lambda: subprocess.run([binary, "undo", big, "--in-place"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    measure("ckpt-regen inspect", [binary, "inspect", big], times)
    measure("ckpt-regen apply --in-place", [binary, "apply", big, "--in-place", "-v"], times, undo, expect(big, expected))
    undo()
    expect(big, values)()

    def fresh():
        undo()
        for path in (copy, out):
            path.unlink(missing_ok=True)
        os.sync()

    # By turns, and each as often first: on a shared machine a slow minute shall not fall on one of
    # them alone. Memory is touched before each run: a virtual machine gives free memory back to its
    # host after some seconds, and whoever needs it next pays for getting it again.
    touch = [sys.executable, "-c", f"import numpy; numpy.ones({size // 4})"]
    seconds = {"cp": [], "ours": []}
    for turn in range(2 * (times // 2 + 1)):
        for program in ("cp", "ours") if turn % 2 else ("ours", "cp"):
            fresh()
            run(touch)
            if program == "cp":
                took, _ = run(["sh", "-c", f"cp --reflink=auto {big} {copy} && sync -d {copy}"])
            else:
                took, note = run([binary, "apply", big, "-v"])
                expect(big, expected)()
            seconds[program].append(took)
    plain, ours = min(seconds["cp"]), min(seconds["ours"])
    fresh()
    peak = memory([binary, "apply", big])
    print(f"{'cp --reflink=auto; sync -d':<38} {plain * 1e3:10.1f} ms")
    print(f"{'ckpt-regen apply (replace)':<38} {ours * 1e3:10.1f} ms {peak:8.1f} MiB  {note.strip().splitlines()[-1]}")
    median = lambda values: sorted(values)[len(values) // 2]
    ratio = median(seconds["ours"]) / median(seconds["cp"])
    print(f"  {ours / plain:.2f} x cp and sync, best to best; {ratio:.2f} x, median to median")
    for program, values in seconds.items():
        print(f"  {program}: {', '.join(f'{value:.2f}' for value in values)} s")
    fresh()
    if installed("safetensors", "torch"):
        command = [sys.executable, "-c", PEERS["safetensors"], big, out]
        peer = measure("safetensors.torch: load, edit, save", command, 2, fresh, expect(out, expected))
        print(f"  {peer / ours:.1f} x the time of ckpt-regen apply")
        fresh()
        pth = home / "big.pth"
        convert = "import sys, torch\nfrom safetensors.torch import load_file\ntorch.save(load_file(sys.argv[1]), sys.argv[2])"
        half = home / "half.safetensors"
        write_checkpoint(half, layers=100, channels=256, filler_bytes=size // 2)
        run([sys.executable, "-c", convert, half, pth])
        half.unlink()
        others(binary, "PyTorch zip", pth, out, "torch", "torch.load, edit, torch.save", times)
        pth.unlink()
    else:
        print("skipped: safetensors and torch are not installed")
    out.unlink(missing_ok=True)
    big.unlink()
    if installed("onnx"):
        model = home / "big.onnx"
        write_onnx(model, layers=100, channels=256, filler_bytes=size)
        others(binary, "ONNX with external data", model, home / "out.onnx", "onnx", "onnx.load, edit, onnx.save", times)
    else:
        print("skipped: onnx is not installed")
    many = home / "many.safetensors"
    write_checkpoint(many, layers=10_000, channels=8, filler_bytes=0)
    print(f"10,000 layers, {many.stat().st_size / 1e6:.1f} MB")
    measure("ckpt-regen inspect", [binary, "inspect", many], times)
    measure("ckpt-regen apply --dry-run", [binary, "apply", many, "--dry-run"], times)
    pictures(binary, home, times)


# Some 1 GB of weights.
NETWORK, WIDTH = "mobilenet_v2", "10.5"


def sampled(command):
    """Seconds of one process, and the most anonymous and all memory it was seen to have, in MiB. Where
    it prints a line, from then on."""
    begin = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    if "load_weights" in command[0]:
        child.stdout.readline()
        begin = time.perf_counter()
    most = {"RssAnon:": 0, "RssFile:": 0}
    total = 0
    while child.poll() is None:
        try:
            lines = Path(f"/proc/{child.pid}/status").read_text().splitlines()
        except OSError:
            break
        now = {line.split()[0]: int(line.split()[1]) / 1024 for line in lines if line.startswith("Rss")}
        if now:
            most = {key: max(value, now[key]) for key, value in most.items()}
            total = max(total, sum(now.values()))
        time.sleep(0.002)
    child.wait()
    return time.perf_counter() - begin, most["RssAnon:"], total


def whole(ours, before, home, times):
    """`diff` of two files of 1 GB, and weights of 1 GB into an engine."""
    one, two = home / "one.safetensors", home / "two.safetensors"
    load = "examples/load_weights"
    subprocess.run([ours / load, NETWORK, WIDTH, one], check=True, stdout=subprocess.DEVNULL)
    shutil.copyfile(one, two)
    os.sync()
    print(f"{one.stat().st_size / 1e9:.2f} GB, {NETWORK} of width {WIDTH}; best of {times}, by turns")
    builds = [("now", ours)] + ([("before", before)] if before else [])
    for label, command in [
        ("ckpt-regen diff", lambda build: [str(build / "ckpt-regen"), "diff", one, two, "--exit-code"]),
        ("weights into an engine", lambda build: [str(build / load), NETWORK, WIDTH, one]),
    ]:
        best = {name: (float("inf"), 0, 0) for name, _ in builds}
        for turn in range(times):
            for name, build in builds if turn % 2 else builds[::-1]:
                seconds, anonymous, peak = sampled(command(build))
                best[name] = (min(best[name][0], seconds), *map(max, best[name][1:], (anonymous, peak)))
        for name, (seconds, anonymous, peak) in best.items():
            print(f"{label:<26} {name:<8} {seconds * 1e3:8.0f} ms  anonymous {anonymous:7.0f} MiB, all {peak:7.0f} MiB")


def pictures(binary, home, times):
    """What a person looks at, of 160 layers and 20,000 channels."""
    path = home / "wide.safetensors"
    write_checkpoint(path, layers=160, channels=125, filler_bytes=0)
    print("160 layers, 20,000 channels")
    for option in "--html", "--svg", "--png":
        out = home / f"picture{option.replace('--', '.')}"
        measure(f"ckpt-regen inspect {option}", [binary, "inspect", path, option, out], times)
        print(f"  {out.stat().st_size / 1e3:.0f} kB")
    out = home / "report.html"
    measure("ckpt-regen apply --dry-run --report", [binary, "apply", path, "--dry-run", "--report", out], times)
    print(f"  {out.stat().st_size / 1e3:.0f} kB")


def others(binary, label, path, out, module, peer, times):
    """Inspect and edit in place, beside what Python needs for the same; plans are compared."""
    size = sum(file.stat().st_size for file in path.parent.glob(path.name + "*"))
    print(f"{label}, {size / 1e9:.2f} GB")

    def undo():
        subprocess.run([binary, "undo", path, "--in-place"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def settled(file):
        """The median is the smallest γ."""
        report = json.loads(subprocess.run([binary, "inspect", file, "--json"], capture_output=True, check=True).stdout)
        network = report["networks"][0]
        assert network["min"] == network["median"], file

    measure("ckpt-regen inspect", [binary, "inspect", path], times)
    ours = measure("ckpt-regen apply --in-place", [binary, "apply", path, "--in-place", "-v"], times, undo, lambda: settled(path))
    undo()
    seconds = measure(peer, [sys.executable, "-c", PEERS[module], path, out], 2, os.sync, lambda: settled(out))
    print(f"  {seconds / ours:.0f} x the time of ckpt-regen apply --in-place")
    for file in out.parent.glob(out.name + "*"):
        file.unlink()

main()
