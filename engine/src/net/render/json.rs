//! A network as JSON. Fields may be added here, never changed.

use serde_json::{Value as Json, json};

use crate::error::Result;
use crate::net::{
    Auxiliary, Cost, Graph, Node, Op, Shape, TensorId, TensorSpec, Value, Whitening, Window,
};

/// Renders the network as JSON: every node with its operation, inputs (by name), shape of its value for one image, tensors
/// and cost; every tensor of the state dict; the output and the auxiliary output, by the names of their nodes; and the
/// totals. Pairs are (height, width).
///
/// # Errors
/// As [`Graph::costs`].
pub fn to_json(graph: &Graph) -> Result<Json> {
    let total = graph.cost()?;
    let costs = graph.costs()?;
    let nodes = graph.nodes().iter().zip(&costs);
    let name = |value: Value| &graph.nodes()[value.index()].name[..];
    let auxiliary = |auxiliary: &Auxiliary| json!({ "node": name(auxiliary.value), "loss_weight": auxiliary.weight });
    Ok(json!({
        "name": graph.name(),
        "input": shape(graph.input_shape()),
        "output": shape(graph.output_shape()),
        "output_node": name(graph.output()),
        "auxiliary": graph.auxiliary().as_ref().map(auxiliary),
        "parameters": total.parameters,
        "multiply_adds": total.multiply_adds,
        "nodes": nodes.map(|(node, cost)| self::node(graph, node, *cost)).collect::<Vec<_>>(),
        "tensors": graph.tensors().iter().map(tensor).collect::<Vec<_>>(),
    }))
}

fn node(graph: &Graph, node: &Node, cost: Cost) -> Json {
    let inputs = node.inputs.iter();
    let mut object = operation(graph, &node.op);
    object["name"] = json!(node.name);
    let names: Vec<&str> = inputs.map(|x| &graph.nodes()[x.index()].name[..]).collect();
    object["inputs"] = json!(names);
    object["shape"] = shape(node.shape);
    object["parameters"] = json!(cost.parameters);
    object["multiply_adds"] = json!(cost.multiply_adds);
    object
}

fn shape(shape: Shape) -> Json {
    json!([shape.channels, shape.height, shape.width])
}

fn tensor(tensor: &TensorSpec) -> Json {
    json!({ "name": tensor.name, "shape": tensor.shape, "parameter": tensor.is_parameter() })
}

/// The operation with all its settings.
fn operation(graph: &Graph, op: &Op) -> Json {
    let name = |id: TensorId| graph.tensor(id).name.as_str();
    match op {
        Op::Input => json!({ "op": "input" }),
        Op::Convolution {
            weight,
            bias,
            window,
            groups,
        } => {
            let mut object = windowed("convolution", window);
            object["groups"] = json!(groups);
            object["weight"] = json!(name(*weight));
            object["bias"] = json!(bias.map(name));
            object
        }
        Op::BatchNorm {
            gamma,
            beta,
            mean,
            variance,
            batches,
            epsilon,
            momentum,
        } => json!({
            "op": "batch_norm",
            "weight": name(*gamma),
            "bias": name(*beta),
            "running_mean": name(*mean),
            "running_var": name(*variance),
            "num_batches_tracked": batches.map(name),
            "eps": epsilon,
            "momentum": momentum,
        }),
        Op::IterNorm(layer) => whitening(
            json!({
                "op": "iter_norm",
                "weight": name(layer.gamma),
                "bias": name(layer.beta),
                "running_mean": name(layer.mean),
                "running_wm": name(layer.matrix),
            }),
            layer.whitening,
        ),
        Op::ChannelEquilibrium(layer) => whitening(
            json!({
                "op": "channel_equilibrium",
                "mix": name(layer.mix),
                "running_p": name(layer.matrix),
                "running_s": name(layer.scale),
                "reduce": name(layer.reduce),
                "norm_weight": name(layer.weight),
                "norm_bias": name(layer.bias),
                "expand": name(layer.expand),
            }),
            layer.whitening,
        ),
        Op::Activation(activation) => {
            json!({ "op": "activation", "function": activation.name() })
        }
        Op::Add => json!({ "op": "add" }),
        Op::Gate => json!({ "op": "gate" }),
        Op::Concat => json!({ "op": "concat" }),
        Op::Slice { start, len } => json!({ "op": "slice", "start": start, "len": len }),
        Op::Shuffle { groups } => json!({ "op": "shuffle", "groups": groups }),
        Op::PadChannels { before, after } => {
            json!({ "op": "pad_channels", "before": before, "after": after })
        }
        Op::MaxPool(window) => windowed("max_pool", window),
        Op::AveragePool {
            window,
            count_padding,
        } => {
            let mut object = windowed("average_pool", window);
            object["count_padding"] = json!(count_padding);
            object
        }
        Op::AdaptiveAveragePool { .. } => json!({ "op": "adaptive_average_pool" }),
        Op::Resize { align_corners, .. } => {
            json!({ "op": "resize_bilinear", "align_corners": align_corners })
        }
        Op::Flatten => json!({ "op": "flatten" }),
        Op::Linear { weight, bias } => json!({
            "op": "linear",
            "weight": name(*weight),
            "bias": bias.map(name),
        }),
        Op::Dropout { p } => json!({ "op": "dropout", "p": p }),
        Op::ChannelDropout { p } => json!({ "op": "channel_dropout", "p": p }),
        Op::StochasticDepth { p } => json!({ "op": "stochastic_depth", "p": p }),
    }
}

/// An operation that decorrelates channels, with how.
fn whitening(mut object: Json, whitening: Whitening) -> Json {
    object["group"] = json!(whitening.group);
    object["iterations"] = json!(whitening.iterations);
    object["eps"] = json!(whitening.epsilon);
    object["momentum"] = json!(whitening.momentum);
    object
}

/// An operation with a sliding window.
fn windowed(op: &str, window: &Window) -> Json {
    json!({
        "op": op,
        "kernel": window.kernel,
        "stride": window.stride,
        "padding_before": window.before,
        "padding_after": window.after,
        "dilation": window.dilation,
        "ceil": window.ceil,
    })
}
