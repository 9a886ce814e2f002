//! Operators on constants: the arithmetic of shapes that exporters write into a graph.

use super::constant::{Constant, broadcast, count, product, repeated, walk};
use super::node::Reader;
use crate::checkpoint::Elements;

/// The results of a node whose inputs are all known (`None`: left out); `None` for an operator that
/// is not computed. The reason is what is wrong with the node.
pub(super) fn fold(
    node: &Reader<'_>,
    inputs: &[Option<&Constant>],
) -> Result<Option<Vec<Constant>>, String> {
    let input = |at: usize| {
        let input = inputs.get(at).copied().flatten();
        input.ok_or_else(|| format!("needs an input {at}"))
    };
    let one = |constant: Constant| Ok(Some(vec![constant]));
    match node.operator() {
        "Identity" => one(input(0)?.clone()),
        "CastLike" => one(cast(input(0)?, input(1)?.as_ints().is_some())),
        "Cast" => one(cast(input(0)?, is_integer(node.int("to", 1)?))),
        "Add" | "Sub" | "Mul" | "Div" | "Min" | "Max" | "Mod" | "Pow" | "Equal" | "Less"
        | "Greater" | "And" | "Or" => one(binary(node.operator(), input(0)?, input(1)?)?),
        "Neg" | "Abs" | "Floor" | "Ceil" | "Sqrt" | "Not" => one(unary(node.operator(), input(0)?)),
        "Where" => one(choose(input(0)?, input(1)?, input(2)?)?),
        "Shape" => one(shape_of(node, &input(0)?.dims)?),
        "Size" => one(Constant::scalar(Elements::Ints(vec![
            input(0)?.len() as i64
        ]))),
        "Reshape" => {
            let (x, target) = (input(0)?, ints(input(1)?)?);
            let zero = node.int("allowzero", 0)? == 0;
            let dims = target_dims(target, &x.dims, zero)?;
            one(Constant { dims, ..x.clone() })
        }
        "Flatten" => {
            let x = input(0)?;
            let at = axis(node.int("axis", 1)?, x.dims.len() + 1)?;
            let dims = vec![product(&x.dims[..at]), product(&x.dims[at..])];
            one(Constant { dims, ..x.clone() })
        }
        "Unsqueeze" | "Squeeze" => {
            let x = input(0)?;
            let axes = node.axes(inputs.get(1).copied().flatten())?;
            let dims = match node.operator() {
                "Unsqueeze" => unsqueezed(&x.dims, axes.as_deref().unwrap_or(&[]))?,
                _ => squeezed(&x.dims, axes.as_deref())?,
            };
            one(Constant { dims, ..x.clone() })
        }
        "Gather" => one(gather(input(0)?, input(1)?, node.int("axis", 0)?)?),
        "Concat" => {
            let all: Option<Vec<&Constant>> = inputs.iter().copied().collect();
            one(concat(&all.unwrap_or_default(), node.int("axis", 0)?)?)
        }
        "Slice" => one(slice(node, inputs)?),
        "Expand" => {
            let x = input(0)?;
            let dims = broadcast(&x.dims, &sizes(input(1)?)?)?;
            count(&dims)?;
            let places = repeated(&dims, &x.dims);
            one(x.picked(dims.clone(), places))
        }
        "ConstantOfShape" => {
            let dims = sizes(input(0)?)?;
            let count = count(&dims)?;
            let value = node.tensor("value")?;
            let value = value.unwrap_or_else(|| Constant::scalar(Elements::Floats(vec![0.0])));
            one(value.picked(dims, std::iter::repeat_n(0, count)))
        }
        "Range" => one(range(input(0)?, input(1)?, input(2)?)?),
        "ReduceProd" | "ReduceSum" | "ReduceMax" | "ReduceMin" => {
            one(reduce(node, input(0)?, inputs.get(1).copied().flatten())?)
        }
        "Transpose" => {
            let x = input(0)?;
            let order = node.order(x.dims.len())?;
            let mut strides = vec![1; x.dims.len()];
            for at in (1..x.dims.len()).rev() {
                strides[at - 1] = x.dims[at].saturating_mul(strides[at]);
            }
            let dims: Vec<usize> = order.iter().map(|at| x.dims[*at]).collect();
            let strides = order.iter().map(|at| strides[*at]).collect();
            one(x.picked(dims.clone(), walk(dims, strides)))
        }
        _ => Ok(None),
    }
}

/// Whether TensorProto.DataType number `to` is one of integers or booleans.
fn is_integer(to: i64) -> bool {
    matches!(to, 2..=7 | 9 | 12 | 13)
}

fn cast(x: &Constant, integer: bool) -> Constant {
    let elements = match (&x.elements, integer) {
        // Towards 0, as in C.
        (Elements::Floats(list), true) => {
            Elements::Ints(list.iter().map(|float| *float as i64).collect())
        }
        (Elements::Ints(_), false) => Elements::Floats(x.elements.to_floats()),
        (same, _) => same.clone(),
    };
    Constant {
        dims: x.dims.clone(),
        elements,
    }
}

fn binary(operator: &str, a: &Constant, b: &Constant) -> Result<Constant, String> {
    let dims = broadcast(&a.dims, &b.dims)?;
    count(&dims)?;
    let left = a.picked(dims.clone(), repeated(&dims, &a.dims));
    let right = b.picked(dims.clone(), repeated(&dims, &b.dims));
    let elements = match (left.elements, right.elements) {
        (Elements::Ints(a), Elements::Ints(b)) => {
            let pairs = a.into_iter().zip(b);
            let results = pairs.map(|(a, b)| integers(operator, a, b));
            Elements::Ints(results.collect::<Option<_>>().ok_or("overflows")?)
        }
        (a, b) => {
            let pairs = a.to_floats().into_iter().zip(b.to_floats());
            let pairs = pairs.map(|(a, b)| floats(operator, a, b));
            let results: Option<Vec<f64>> = pairs.collect();
            let results = results.ok_or("has no meaning on such numbers")?;
            if matches!(operator, "Equal" | "Less" | "Greater" | "And" | "Or") {
                Elements::Ints(results.into_iter().map(|x| x as i64).collect())
            } else {
                Elements::Floats(results)
            }
        }
    };
    Ok(Constant { dims, elements })
}

fn integers(operator: &str, a: i64, b: i64) -> Option<i64> {
    match operator {
        "Add" => a.checked_add(b),
        "Sub" => a.checked_sub(b),
        "Mul" => a.checked_mul(b),
        "Div" => a.checked_div(b),
        "Mod" => a.checked_rem_euclid(b),
        "Min" => Some(a.min(b)),
        "Max" => Some(a.max(b)),
        "Pow" => a.checked_pow(u32::try_from(b).ok()?),
        "Equal" => Some((a == b).into()),
        "Less" => Some((a < b).into()),
        "Greater" => Some((a > b).into()),
        "And" => Some((a != 0 && b != 0).into()),
        "Or" => Some((a != 0 || b != 0).into()),
        _ => None,
    }
}

fn floats(operator: &str, a: f64, b: f64) -> Option<f64> {
    let truth = |is: bool| Some(f64::from(u8::from(is)));
    match operator {
        "Add" => Some(a + b),
        "Sub" => Some(a - b),
        "Mul" => Some(a * b),
        "Div" => Some(a / b),
        "Min" => Some(a.min(b)),
        "Max" => Some(a.max(b)),
        "Pow" => Some(a.powf(b)),
        "Equal" => truth(a == b),
        "Less" => truth(a < b),
        "Greater" => truth(a > b),
        _ => None,
    }
}

fn unary(operator: &str, x: &Constant) -> Constant {
    let dims = x.dims.clone();
    let elements = match (&x.elements, operator) {
        (Elements::Ints(list), "Neg") => {
            Elements::Ints(list.iter().map(|x| x.wrapping_neg()).collect())
        }
        (Elements::Ints(list), "Abs") => {
            Elements::Ints(list.iter().map(|x| x.wrapping_abs()).collect())
        }
        (Elements::Ints(list), "Not") => {
            Elements::Ints(list.iter().map(|x| i64::from(*x == 0)).collect())
        }
        (Elements::Ints(_), "Floor" | "Ceil") => x.elements.clone(),
        (elements, operator) => {
            let apply = match operator {
                "Neg" => |x: f64| -x,
                "Abs" => f64::abs,
                "Floor" => f64::floor,
                "Ceil" => f64::ceil,
                _ => f64::sqrt,
            };
            Elements::Floats(elements.to_floats().into_iter().map(apply).collect())
        }
    };
    Constant { dims, elements }
}

fn choose(which: &Constant, yes: &Constant, no: &Constant) -> Result<Constant, String> {
    let dims = broadcast(&which.dims, &broadcast(&yes.dims, &no.dims)?)?;
    count(&dims)?;
    let spread = |x: &Constant| x.picked(dims.clone(), repeated(&dims, &x.dims));
    let (which, yes, no) = (spread(which), spread(yes), spread(no));
    let which = which.as_ints().ok_or("its condition is not of booleans")?;
    let elements = match (&yes.elements, &no.elements) {
        (Elements::Ints(yes), Elements::Ints(no)) => Elements::Ints(pick(which, yes, no)),
        (yes, no) => Elements::Floats(pick(which, &yes.to_floats(), &no.to_floats())),
    };
    Ok(Constant { dims, elements })
}

fn pick<T: Copy>(which: &[i64], yes: &[T], no: &[T]) -> Vec<T> {
    let all = which.iter().zip(yes.iter().zip(no));
    all.map(|(which, (yes, no))| if *which != 0 { *yes } else { *no })
        .collect()
}

/// The dimensions of a tensor as a list, or a part of them.
pub(super) fn shape_of(node: &Reader<'_>, dims: &[usize]) -> Result<Constant, String> {
    let rank = dims.len() as i64;
    let bound = |at: i64| (if at < 0 { at + rank } else { at }).clamp(0, rank) as usize;
    let start = bound(node.int("start", 0)?);
    let end = bound(node.int("end", rank)?).max(start);
    let part = dims[start..end].iter().map(|dim| *dim as i64);
    Ok(Constant::ints(part.collect()))
}

fn gather(x: &Constant, indices: &Constant, along: i64) -> Result<Constant, String> {
    let at = axis(along, x.dims.len())?;
    let (before, rest) = x.dims.split_at(at);
    let (size, after) = (rest[0], &rest[1..]);
    let indices_list = ints(indices)?.iter().map(|index| {
        let index = if *index < 0 {
            *index + size as i64
        } else {
            *index
        };
        usize::try_from(index)
            .ok()
            .filter(|index| *index < size)
            .ok_or_else(|| format!("index {index} is none of {size}"))
    });
    let list: Vec<usize> = indices_list.collect::<Result<_, _>>()?;
    let dims = [before, &indices.dims, after].concat();
    count(&dims)?;
    let (outer, inner) = (product(before), product(after));
    let places = (0..outer).flat_map(|o| {
        let list = &list;
        list.iter()
            .flat_map(move |index| (0..inner).map(move |i| (o * size + index) * inner + i))
    });
    Ok(x.picked(dims, places.collect::<Vec<_>>().into_iter()))
}

fn concat(all: &[&Constant], along: i64) -> Result<Constant, String> {
    let first = all.first().ok_or("needs inputs")?;
    let at = axis(along, first.dims.len())?;
    let mut dims = first.dims.clone();
    dims[at] = 0;
    for one in all {
        let alike = |(d, dim): (usize, &usize)| d == at || first.dims.get(d) == Some(dim);
        if one.dims.len() != dims.len() || !one.dims.iter().enumerate().all(alike) {
            return Err(format!(
                "{:?} and {:?} do not fit each other",
                first.dims, one.dims
            ));
        }
        dims[at] = one.dims[at].saturating_add(dims[at]);
    }
    count(&dims)?;
    let outer = product(&dims[..at]);
    let integer = all.iter().all(|one| one.as_ints().is_some());
    let (mut int_list, mut float_list) = (Vec::new(), Vec::new());
    for o in 0..outer {
        for one in all {
            let inner = product(&one.dims[at..]);
            let range = o * inner..(o + 1) * inner;
            match (&one.elements, integer) {
                (Elements::Ints(list), true) => int_list.extend(&list[range]),
                (elements, _) => float_list.extend(&elements.to_floats()[range]),
            }
        }
    }
    let elements = if integer {
        Elements::Ints(int_list)
    } else {
        Elements::Floats(float_list)
    };
    Ok(Constant { dims, elements })
}

fn slice(node: &Reader<'_>, inputs: &[Option<&Constant>]) -> Result<Constant, String> {
    let x = inputs
        .first()
        .copied()
        .flatten()
        .ok_or("needs an input 0")?;
    let mut dims = x.dims.clone();
    let mut strides = vec![1_usize; dims.len()];
    for at in (1..dims.len()).rev() {
        strides[at - 1] = dims[at].saturating_mul(strides[at]);
    }
    let own = strides.clone();
    let (mut first, mut backwards) = (0, false);
    for cut in node.cuts(inputs, &x.dims)? {
        let (start, len, step) = cut.resolve(x.dims[cut.axis]);
        backwards |= step < 0 && len > 1;
        dims[cut.axis] = len;
        first = own[cut.axis].saturating_mul(start).saturating_add(first);
        strides[cut.axis] = own[cut.axis].saturating_mul(step.unsigned_abs() as usize);
    }
    if backwards {
        return Err("a constant is cut backwards".to_owned());
    }
    let places = walk(dims.clone(), strides).map(|place| first + place);
    Ok(x.picked(dims, places))
}

fn range(start: &Constant, limit: &Constant, step: &Constant) -> Result<Constant, String> {
    let (Some([start]), Some([limit]), Some([step])) =
        (start.as_ints(), limit.as_ints(), step.as_ints())
    else {
        return Err("a range of numbers that are no integers".to_owned());
    };
    if *step == 0 {
        return Err("a step of 0".to_owned());
    }
    let span = i128::from(*limit) - i128::from(*start);
    let len = (span + i128::from(*step) - i128::from(step.signum())) / i128::from(*step);
    let len = usize::try_from(len.max(0)).map_err(|_| "a range without end")?;
    count(&[len])?;
    Ok(Constant::ints(
        (0..len as i64).map(|i| start + i * step).collect(),
    ))
}

fn reduce(node: &Reader<'_>, x: &Constant, axes: Option<&Constant>) -> Result<Constant, String> {
    let axes = node.axes(axes)?;
    let all = axes.is_none_or(|axes| axes.len() == x.dims.len());
    let (Some(list), true) = (x.as_ints(), all) else {
        return Err("only whole lists of integers are reduced".to_owned());
    };
    let result = match node.operator() {
        "ReduceProd" => list.iter().try_fold(1_i64, |all, x| all.checked_mul(*x)),
        "ReduceSum" => list.iter().try_fold(0_i64, |all, x| all.checked_add(*x)),
        "ReduceMax" => list.iter().max().copied(),
        _ => list.iter().min().copied(),
    };
    let elements = Elements::Ints(vec![result.ok_or("overflows")?]);
    let dims = match node.int("keepdims", 1)? {
        0 => Vec::new(),
        _ => vec![1; x.dims.len()],
    };
    Ok(Constant { dims, elements })
}

pub(super) fn ints(x: &Constant) -> Result<&[i64], String> {
    x.as_ints()
        .ok_or_else(|| "floats where integers are due".to_owned())
}

fn sizes(x: &Constant) -> Result<Vec<usize>, String> {
    let sizes = ints(x)?
        .iter()
        .map(|size| usize::try_from(*size).map_err(|_| format!("a dimension of {size}")));
    sizes.collect()
}

/// An axis counted from the front.
pub(super) fn axis(axis: i64, rank: usize) -> Result<usize, String> {
    let from_front = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(from_front)
        .ok()
        .filter(|axis| *axis < rank)
        .ok_or_else(|| format!("axis {axis} of {rank} dimensions"))
}

/// What a target of Reshape means for a tensor of `dims`: 0 (where `zero` says so) is the dimension
/// there, −1 what is left.
pub(super) fn target_dims(
    target: &[i64],
    dims: &[usize],
    zero: bool,
) -> Result<Vec<usize>, String> {
    let fail = || format!("{dims:?} cannot become {target:?}");
    let mut free = None;
    let mut result = Vec::with_capacity(target.len());
    for (at, size) in target.iter().enumerate() {
        result.push(match *size {
            -1 if free.is_none() => {
                free = Some(at);
                1
            }
            0 if zero => *dims.get(at).ok_or_else(fail)?,
            size => usize::try_from(size).map_err(|_| fail())?,
        });
    }
    let (all, known) = (product(dims), product(&result));
    if let Some(free) = free {
        if known == 0 || !all.is_multiple_of(known) {
            return Err(fail());
        }
        result[free] = all / known;
    } else if all != known {
        return Err(fail());
    }
    Ok(result)
}

/// The dimensions with one of 1 at each of `axes`, counted in the result.
pub(super) fn unsqueezed(dims: &[usize], axes: &[i64]) -> Result<Vec<usize>, String> {
    let rank = dims.len() + axes.len();
    let mut new: Vec<usize> = Vec::new();
    for at in axes {
        new.push(axis(*at, rank)?);
    }
    let mut left = dims.iter();
    let result = (0..rank).map(|at| {
        if new.contains(&at) {
            Some(1)
        } else {
            left.next().copied()
        }
    });
    let result: Option<Vec<usize>> = result.collect();
    result.ok_or_else(|| format!("axes {axes:?} occur twice"))
}

/// The dimensions without those at `axes`, or without every one of 1.
pub(super) fn squeezed(dims: &[usize], axes: Option<&[i64]>) -> Result<Vec<usize>, String> {
    let mut gone = Vec::new();
    match axes {
        Some(axes) => {
            for at in axes {
                gone.push(axis(*at, dims.len())?);
            }
        }
        None => gone.extend((0..dims.len()).filter(|at| dims[*at] == 1)),
    }
    if let Some(at) = gone.iter().find(|at| dims[**at] != 1) {
        return Err(format!("dimension {at} of {dims:?} is not 1"));
    }
    let kept = dims.iter().enumerate().filter(|(at, _)| !gone.contains(at));
    Ok(kept.map(|(_, dim)| *dim).collect())
}
