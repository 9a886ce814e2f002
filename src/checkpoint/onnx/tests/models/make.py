"""Writes the models of this folder; onnx 1.23, numpy.

`NAME.onnx` has a twin `NAME.edited.onnx` where its γ can be edited: onnx has loaded it, set every
second element of each tensor listed to 1.5, beginning with the first, and saved it again. Models
that onnx.checker accepts are checked; `invalid_*` are those that it should not.
"""
import hashlib
import os
import struct

import numpy as np
import onnx
from onnx import TensorProto as T, helper as h, numpy_helper as nh

os.chdir(os.path.dirname(os.path.abspath(__file__)))
RNG = np.random.default_rng(7)


def values(n=4, dtype=np.float32):
    return RNG.uniform(0.1, 0.9, n).astype(dtype)


def init(name, array):
    return nh.from_array(np.asarray(array), name)


def stats(prefix, n=4, gamma=True, dtype=np.float32):
    leaves = (["weight"] if gamma else []) + ["bias", "running_mean", "running_var"]
    return [init(f"{prefix}.{leaf}", values(n, dtype)) for leaf in leaves]


def bn(prefix, x, y, gamma=None, beta=None, mean=None, var=None, name=None, **attributes):
    inputs = [x, gamma or f"{prefix}.weight", beta or f"{prefix}.bias",
              mean or f"{prefix}.running_mean", var or f"{prefix}.running_var"]
    return h.make_node("BatchNormalization", inputs, [y], name=name or f"/{prefix}/bn", **attributes)


def image(name, n=4, elem=T.FLOAT):
    return h.make_tensor_value_info(name, elem, [1, n, 2, 2])


def model(nodes, initializers, outputs=("y",), functions=(), inputs=(), elem=T.FLOAT, n=4, **graph):
    outputs = [o if not isinstance(o, str) else image(o, n, elem) for o in outputs]
    g = h.make_graph(nodes, "g", [image("x", n, elem), *inputs], outputs, initializers, **graph)
    imports = [h.make_opsetid("", 17)] + ([h.make_opsetid("local", 1)] if functions else [])
    m = h.make_model(g, opset_imports=imports, functions=list(functions), ir_version=8)
    m.producer_name = ""
    return m


def edit(tensor):
    """Every second element becomes 1.5, in the field that holds them."""
    if tensor.HasField("raw_data"):
        a = nh.to_array(tensor).copy()
        a[::2] = 1.5
        tensor.raw_data = a.tobytes()
    elif tensor.float_data or tensor.double_data:
        data = tensor.float_data or tensor.double_data
        for i in range(0, len(data), 2):
            data[i] = 1.5
    else:
        bits = {T.FLOAT16: 0x3E00, T.BFLOAT16: 0x3FC0}[tensor.data_type]
        for i in range(0, len(tensor.int32_data), 2):
            tensor.int32_data[i] = bits


def tensors_of(graph, functions=()):
    for t in graph.initializer if hasattr(graph, "initializer") else ():
        yield t.name, t
    for node in graph.node:
        for a in node.attribute:
            if a.HasField("t"):
                yield node.output[0], a.t
            if a.floats:
                yield node.output[0], a
            if a.HasField("g"):
                yield from tensors_of(a.g)
    for f in functions:
        yield from tensors_of(f)


def save(name, m, edited=(), check=True, full_check=True):
    if check:
        onnx.checker.check_model(m, full_check=full_check)
    with open(f"{name}.onnx", "wb") as f:
        f.write(m.SerializeToString(deterministic=True))
    if not edited:
        return
    twin = onnx.load(f"{name}.onnx", load_external_data=False)
    there = dict(tensors_of(twin.graph, twin.functions))
    for tensor in edited:
        tensor = there[tensor]
        if isinstance(tensor, onnx.AttributeProto):
            for i in range(0, len(tensor.floats), 2):
                tensor.floats[i] = 1.5
        else:
            edit(tensor)
    with open(f"{name}.edited.onnx", "wb") as f:
        f.write(twin.SerializeToString(deterministic=True))


def merged():
    """bn1's γ is also bn2's running variance; bn3's γ is also its own β, through an Identity."""
    save("merged", model(
        [bn("bn1", "x", "a"), bn("bn2", "a", "b", var="bn1.weight"),
         h.make_node("Identity", ["bn3.weight"], ["bn3.bias"], "/bn3/Identity"),
         bn("bn3", "b", "y")],
        stats("bn1") + stats("bn2")[:3] + [t for t in stats("bn3") if t.name != "bn3.bias"]),
        ["bn2.weight"])


def identity():
    """bn1 through two Identities; bn2's goes to an Add as well; bn3 and bn4 have one γ."""
    save("identity", model(
        [h.make_node("Identity", ["bn1.weight"], ["i1"]), h.make_node("Identity", ["i1"], ["i2"]),
         bn("bn1", "x", "a", gamma="i2"), bn("bn2", "a", "b"),
         h.make_node("Identity", ["bn2.weight"], ["i3"]),
         h.make_node("Add", ["i3", "i3"], ["unused"], "/Add"),
         bn("bn3", "b", "c"), bn("bn4", "c", "y", gamma="bn3.weight")],
        stats("bn1") + stats("bn2") + stats("bn3") + stats("bn4", gamma=False)),
        ["bn1.weight", "bn3.weight"])


def constant():
    """γ of Constant nodes: a tensor, a list of floats, and a node without a name."""
    save("constant", model(
        [h.make_node("Constant", [], ["c1"], "/bn1/Constant", value=init("", values())),
         h.make_node("Constant", [], ["c2"], "/bn2/Constant", value_floats=values().tolist()),
         h.make_node("Constant", [], ["/bn3/c3"], value=init("inner", values())),
         bn("bn1", "x", "a", gamma="c1"), bn("bn2", "a", "b", gamma="c2"),
         bn("bn3", "b", "y", gamma="/bn3/c3")],
        [t for p in ("bn1", "bn2", "bn3") for t in stats(p, gamma=False)]),
        ["c1", "c2", "/bn3/c3"])


def bodies():
    """If and Loop bodies: captured γ, one of their own, one that is a loop-carried value."""
    then = h.make_graph([bn("bn1", "x", "t")], "then", [], [image("t")])
    other = h.make_graph([bn("bn1", "x", "m", name="/else/bn1"), bn("bn2", "m", "e")], "else", [],
                         [image("e")], stats("bn2"))
    scalar = lambda name, elem: h.make_tensor_value_info(name, elem, [])
    vector = lambda name: h.make_tensor_value_info(name, T.FLOAT, [4])
    body = h.make_graph(
        [bn("bn3", "state", "s1"), bn("bn4", "s1", "s2", gamma="carried"),
         h.make_node("Identity", ["go"], ["go_on"]),
         h.make_node("Identity", ["carried"], ["carried_out"])],
        "body", [scalar("i", T.INT64), scalar("go", T.BOOL), image("state"), vector("carried")],
        [scalar("go_on", T.BOOL), image("s2"), vector("carried_out")])
    save("bodies", model(
        [h.make_node("If", ["cond"], ["a"], "/If", then_branch=then, else_branch=other),
         h.make_node("Loop", ["n", "cond", "a", "bn4.weight"], ["y", "g"], "/Loop", body=body)],
        stats("bn1") + stats("bn3") + stats("bn4")
        + [init("cond", np.array(True)), init("n", np.array(2, np.int64))]),
        ["bn1.weight", "bn2.weight", "bn3.weight"])


def functions():
    """A function with a BatchNormalization, called twice and by another function; one merges."""
    imports = [h.make_opsetid("", 17), h.make_opsetid("local", 1)]
    block = h.make_function(
        "local", "Block", ["x", "g", "b", "m", "v"], ["y"],
        [h.make_node("Identity", ["g"], ["gg"]),
         h.make_node("BatchNormalization", ["x", "gg", "b", "m", "v"], ["y"], "inner")], imports)
    twice = h.make_function(
        "local", "Twice", ["x", "g1", "g2", "b", "m", "v"], ["y"],
        [h.make_node("Constant", [], ["gc"], "/twice/Constant", value=init("", values())),
         h.make_node("Block", ["x", "g1", "b", "m", "v"], ["t"], domain="local"),
         h.make_node("Block", ["t", "gc", "b", "m", "v"], ["t2"], domain="local"),
         h.make_node("Block", ["t2", "g2", "b", "m", "v"], ["y"], domain="local")], imports)
    names = lambda p: [f"{p}.{leaf}" for leaf in ("weight", "bias", "running_mean", "running_var")]
    save("functions", model(
        [h.make_node("Block", ["x", *names("bn1")], ["a"], domain="local"),
         h.make_node("Block", ["a", *names("bn2")], ["b"], domain="local"),
         h.make_node("Twice", ["b", "bn3.weight", "bn4.weight", "bn2.weight", "bn3.running_mean",
                               "bn3.running_var"], ["y"], domain="local")],
        stats("bn1") + stats("bn2") + stats("bn3") + stats("bn4"), functions=[block, twice]),
        ["bn1.weight", "bn3.weight", "bn4.weight", "gc"])


def fields():
    """γ in float_data and double_data, and 16-bit γ in int32_data with zeros among them."""
    def typed(name, elem, array):
        if elem == T.BFLOAT16:
            bits = array.astype(np.float32).view(np.uint32) >> 16
        else:
            bits = array.astype(np.float16).view(np.uint16)
        t = T(name=name, data_type=elem, dims=[len(array)])
        t.int32_data.extend(int(b) for b in bits)
        return t

    one = model([bn("bn1", "x", "y")],
                [h.make_tensor("bn1.weight", T.FLOAT, [4], values()), *stats("bn1", gamma=False)])
    save("float_data", one, ["bn1.weight"])
    save("double_data", model(
        [bn("bn1", "x", "y")],
        [h.make_tensor("bn1.weight", T.DOUBLE, [4], values().astype(np.float64)),
         *stats("bn1", gamma=False, dtype=np.float64)], elem=T.DOUBLE), ["bn1.weight"])
    for name, elem in (("float16", T.FLOAT16), ("bfloat16", T.BFLOAT16)):
        # 64 elements, half of them zero: the packed field grows over 127 bytes.
        array = values(64)
        array[::4] = 0
        array[2::4] = 0
        params = [typed(f"bn{i}.{leaf}", elem, array if leaf == "weight" else values(64))
                  for i in (1, 2) for leaf in ("weight", "bias", "running_mean", "running_var")]
        save(name, model([bn("bn1", "x", "a"), bn("bn2", "a", "y")], params, elem=elem, n=64),
             ["bn1.weight", "bn2.weight"])
    unpacked(one)


def unpacked(m):
    """The model of float_data, with one tag an element; onnx reads it, and writes it packed."""
    def rewritten(m):
        data = m.SerializeToString(deterministic=True)
        floats = m.graph.initializer[0].float_data
        packed = b"\x22\x10" + struct.pack("<4f", *floats)
        # The tensor is followed by its own name: dims, data_type, float_data, name.
        tensor = m.graph.initializer[0].SerializeToString(deterministic=True)
        loose = b"".join(b"\x25" + struct.pack("<f", v) for v in floats)
        new = tensor.replace(packed, loose)
        graph = m.graph.SerializeToString(deterministic=True)
        new_graph = graph.replace(b"\x2a" + bytes([len(tensor)]) + tensor,
                                  b"\x2a" + bytes([len(new)]) + new)
        assert 128 <= len(graph) and len(new) < 128
        length = lambda n: bytes([n & 0x7F | 0x80, n >> 7])
        result = data.replace(b"\x3a" + length(len(graph)) + graph,
                              b"\x3a" + length(len(new_graph)) + new_graph)
        assert onnx.load_from_string(result) == m and result != data
        return result

    twin = onnx.load("float_data.edited.onnx")
    for name, m in (("unpacked", m), ("unpacked.edited", twin)):
        with open(f"{name}.onnx", "wb") as f:
            f.write(rewritten(m))


def external():
    """γ in two data files: one with checksum, offset and length, one with none of them."""
    a = values(12)
    b = values(4)
    a.tofile("external.a.bin")
    b.tofile("external.b.bin")

    def outside(name, **where):
        t = T(name=name, data_type=T.FLOAT, dims=[4], data_location=T.EXTERNAL)
        for key, value in where.items():
            t.external_data.add(key=key, value=str(value))
        return t

    def initializers(digest):
        first = dict(location="external.a.bin", checksum=digest)
        return [outside("bn1.weight", offset=16, length=16, **first),
                outside("bn1.bias", offset=32, **first),
                outside("bn2.weight", location="external.b.bin"),
                *stats("bn1", gamma=False)[1:], *stats("bn2", gamma=False)]

    nodes = [bn("bn1", "x", "a"), bn("bn2", "a", "y")]
    state = RNG.bit_generator.state
    digest = lambda name: hashlib.sha1(open(name, "rb").read()).hexdigest()
    save("external", model(nodes, initializers(digest("external.a.bin"))), check=False)
    save("external_stale", model(nodes, initializers("0" * 40)), check=False)
    onnx.checker.check_model("external.onnx")
    a[4:8:2] = 1.5
    b[::2] = 1.5
    a.tofile("external.a.edited.bin")
    b.tofile("external.b.edited.bin")
    RNG.bit_generator.state = state
    save("external.edited", model(nodes, initializers(digest("external.a.edited.bin"))), check=False)
    RNG.bit_generator.state = state
    overlapping = initializers("0" * 40)
    for entry in overlapping[1].external_data:
        if entry.key == "offset":
            entry.value = "24"
    save("overlap", model(nodes, overlapping), check=False)
    for name, location in (("outside", "../external.a.bin"), ("absolute", "/external.a.bin"),
                           ("missing", "external.c.bin"), ("itself", "invalid_itself.onnx")):
        save(f"invalid_{name}", model(nodes, [
            outside("bn1.weight", location=location), *initializers("")[1:]]), check=False)


def unusual():
    """γ that is an output, an input, made by ConstantOfShape or Cast, sparse, or of one name."""
    vector = lambda name: h.make_tensor_value_info(name, T.FLOAT, [4])
    shape = init("shape", np.array([4], np.int64))
    fill = h.make_node("ConstantOfShape", ["shape"], ["ones"], "/bn3/ConstantOfShape",
                       value=init("", np.ones(1, np.float32)))
    sparse = h.make_sparse_tensor(init("bn5.weight", values(2)),
                                  init("bn5.indices", np.array([0, 2], np.int64)), [4])
    save("unusual", model(
        [bn("bn1", "x", "a"), bn("bn2", "a", "b", gamma="bn2.input"), fill,
         bn("bn3", "b", "c", gamma="ones"),
         h.make_node("Cast", ["bn4.half"], ["bn4.cast"], "/bn4/Cast", to=T.FLOAT),
         bn("bn4", "c", "d", gamma="bn4.cast"), bn("bn5", "d", "e"),
         bn("bn6", "e", "f"), bn("bn7", "f", "y", gamma="bn6.scale")],
        stats("bn1") + [t for p in ("bn2", "bn3", "bn4", "bn5", "bn7") for t in stats(p, gamma=False)]
        + stats("bn6") + [init("bn6.scale", values()), shape,
                          init("bn4.half", values(4, np.float16))],
        outputs=["y", vector("bn1.weight")], inputs=[vector("bn2.input"), vector("bn6.weight")],
        sparse_initializer=[sparse]),
        ["bn6.weight", "bn6.scale"], full_check=False)


def training():
    """A BatchNormalization in training mode, which has three outputs."""
    node = h.make_node("BatchNormalization", ["x", "bn1.weight", "bn1.bias", "bn1.running_mean",
                                              "bn1.running_var"], ["y", "m", "v"], training_mode=1)
    save("training", model([node], stats("bn1")), ["bn1.weight"])


def folded():
    """A convolution and no BatchNormalization."""
    save("folded", model([h.make_node("Conv", ["x", "w"], ["y"])],
                         [init("w", np.zeros((4, 4, 1, 1), np.float32))]))


def invalid():
    """Running statistics of another length, definitions that occur twice, endless calls."""
    wrong = stats("bn1")
    wrong[2] = init("bn1.running_mean", values(3))
    save("invalid_shapes", model([bn("bn1", "x", "y")], wrong), check=False)
    save("invalid_twice", model([bn("bn1", "x", "y")], stats("bn1") + stats("bn1")), check=False)
    imports = [h.make_opsetid("", 17), h.make_opsetid("local", 1)]
    parts = ["x", "bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var"]
    formal = ["x", "g", "b", "m", "v"]
    call = lambda name, x, y: h.make_node(name, [x, *formal[1:]], [y], domain="local")
    norm = h.make_node("BatchNormalization", formal, ["y"])
    itself = h.make_function("local", "F", formal, ["y"],
                             [call("F", "x", "t"), bn("", "t", "y", *formal[1:])], imports)
    main = lambda name: h.make_node(name, parts, ["y"], domain="local")
    save("invalid_recursion", model([main("F")], stats("bn1"), functions=[itself]), check=False)
    # 2 to the power of 40 paths.
    chain = [h.make_function("local", "F0", formal, ["y"], [norm], imports)]
    for i in range(1, 41):
        inner = f"F{i - 1}"
        chain.append(h.make_function("local", f"F{i}", formal, ["y"],
                                     [call(inner, "x", "t"), call(inner, "t", "y")], imports))
    save("invalid_paths", model([main("F40")], stats("bn1"), functions=chain), check=False)
    loop = [h.make_node("Identity", ["i2"], ["i1"]), h.make_node("Identity", ["i1"], ["i2"]),
            bn("bn1", "x", "y", gamma="i1")]
    save("invalid_cycle", model(loop, stats("bn1")), check=False)


for make in (merged, identity, constant, bodies, functions, fields, external, unusual, training,
             folded, invalid):
    make()
