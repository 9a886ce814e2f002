//! Which operators there are, and who imports them.

use super::constant::{Constant, product};
use super::fold::{axis, squeezed, target_dims, unsqueezed};
use super::import::Import;
use super::item::{Fault, Items};
use super::node::Reader;

/// Operators on constants alone; see [`fold`](super::fold::fold).
const FOLDED: [&str; 38] = [
    "Abs",
    "Add",
    "And",
    "Cast",
    "CastLike",
    "Ceil",
    "Concat",
    "ConstantOfShape",
    "Div",
    "Equal",
    "Expand",
    "Flatten",
    "Floor",
    "Gather",
    "Greater",
    "Identity",
    "Less",
    "Max",
    "Min",
    "Mod",
    "Mul",
    "Neg",
    "Not",
    "Or",
    "Pow",
    "Range",
    "ReduceMax",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "Reshape",
    "Shape",
    "Size",
    "Slice",
    "Sqrt",
    "Squeeze",
    "Sub",
    "Where",
];

/// Operators on values of the network.
const IMPORTED: [&str; 36] = [
    "Add",
    "AveragePool",
    "BatchNormalization",
    "Cast",
    "CastLike",
    "Clip",
    "Concat",
    "Conv",
    "Div",
    "Dropout",
    "Expand",
    "Flatten",
    "Gemm",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "MatMul",
    "MaxPool",
    "Mul",
    "Pad",
    "ReduceMean",
    "Relu",
    "Reshape",
    "Resize",
    "SequenceAt",
    "Sigmoid",
    "Slice",
    "Split",
    "SplitToSequence",
    "Squeeze",
    "Sub",
    "Swish",
    "Transpose",
    "Unsqueeze",
];

/// Whether an operator can be had at all.
pub(super) fn is_known(operator: &str) -> bool {
    IMPORTED.binary_search(&operator).is_ok() || is_foldable(operator)
}

/// Why an operator that is not known cannot be had.
pub(super) fn why_not(operator: &str) -> &'static str {
    match operator {
        "Bernoulli" | "RandomNormal" | "RandomNormalLike" | "RandomUniform"
        | "RandomUniformLike" => {
            "it draws random numbers, as dropout in training does: export model.eval()"
        }
        "Softmax" | "LogSoftmax" => "the loss applies it: export the network without it",
        "QuantizeLinear" | "DequantizeLinear" | "QLinearConv" | "ConvInteger" => {
            "numbers here are floats: export the network before it is quantized"
        }
        _ => "there is no such operation here",
    }
}

/// Whether an operator is computed where all that it takes is known.
pub(super) fn is_foldable(operator: &str) -> bool {
    FOLDED.binary_search(&operator).is_ok() || operator == "Transpose" || operator == "Unsqueeze"
}

/// What a node makes of values of the network.
pub(super) fn import(import: &mut Import<'_>, node: &Reader<'_>) -> Items {
    match node.operator() {
        "Conv" => import.convolution(node),
        "BatchNormalization" => import.batch_norm(node),
        "Gemm" => import.gemm(node),
        "MatMul" => import.matmul(node),
        "Relu" | "Clip" | "Sigmoid" | "HardSigmoid" | "HardSwish" | "Swish" => {
            import.activation(node)
        }
        "Add" => import.sum(node),
        "Mul" => import.product(node),
        "Div" => import.quotient(node),
        "MaxPool" | "AveragePool" => import.pool(node),
        "GlobalAveragePool" | "GlobalMaxPool" => import.global_pool(node),
        "ReduceMean" => import.mean(node),
        "Resize" => import.resize(node),
        "Concat" => import.concat(node),
        "Split" | "SplitToSequence" => import.split(node),
        "SequenceAt" => import.sequence_at(node),
        "Slice" => import.slice(node),
        "Pad" => import.pad(node),
        "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => import.reshape(node),
        "Transpose" => import.transpose(node),
        "Expand" => import.expand(node),
        "Dropout" => import.dropout(node),
        "Identity" | "Cast" | "CastLike" => import.same(node),
        _ => {
            Err("it is known only in the arithmetic of sizes, not on values of the network".into())
        }
    }
}

/// The dimensions after a node that only changes them; `second` is its other input.
pub(super) fn moved_dims(
    node: &Reader<'_>,
    dims: &[usize],
    second: Option<&Constant>,
) -> Result<Vec<usize>, Fault> {
    Ok(match node.operator() {
        "Reshape" => {
            let target = match second {
                Some(target) => super::fold::ints(target)?,
                None => return Err("its target is no constant".into()),
            };
            target_dims(target, dims, node.int("allowzero", 0)? == 0)?
        }
        "Flatten" => {
            let at = axis(node.int("axis", 1)?, dims.len() + 1)?;
            vec![product(&dims[..at]), product(&dims[at..])]
        }
        "Squeeze" => squeezed(dims, node.axes(second)?.as_deref())?,
        _ => unsqueezed(dims, node.axes(second)?.as_deref().unwrap_or(&[]))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_sorted() {
        assert!(FOLDED.is_sorted() && IMPORTED.is_sorted());
    }
}
