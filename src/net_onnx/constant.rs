//! Small tensors whose elements are known: sizes, axes, bounds.

use crate::checkpoint::Elements;

/// Numbers that a computation of shapes may take in all, so that what a few bytes say takes no more
/// memory than that.
pub(super) const BUDGET: usize = 1 << 24;
/// Numbers of one tensor.
pub(super) const MAX_ELEMENTS: usize = 1 << 20;

/// A tensor with its elements, in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Constant {
    pub(super) dims: Vec<usize>,
    pub(super) elements: Elements,
}

impl Constant {
    /// A list of integers.
    pub(super) fn ints(list: Vec<i64>) -> Constant {
        Constant {
            dims: vec![list.len()],
            elements: Elements::Ints(list),
        }
    }

    pub(super) fn scalar(elements: Elements) -> Constant {
        Constant {
            dims: Vec::new(),
            elements,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.elements.len()
    }

    /// The elements, if they are integers.
    pub(super) fn as_ints(&self) -> Option<&[i64]> {
        match &self.elements {
            Elements::Ints(list) => Some(list),
            Elements::Floats(_) => None,
        }
    }

    /// Its only element.
    pub(super) fn as_number(&self) -> Option<f64> {
        match &self.elements {
            Elements::Ints(list) => (list.len() == 1).then(|| list[0] as f64),
            Elements::Floats(list) => (list.len() == 1).then(|| list[0]),
        }
    }

    /// Its elements, if they are all the same.
    pub(super) fn as_uniform(&self) -> Option<f64> {
        let numbers = self.elements.to_floats();
        let first = *numbers.first()?;
        numbers
            .iter()
            .all(|number| *number == first)
            .then_some(first)
    }

    /// The elements at these places, with other dimensions.
    pub(super) fn picked(&self, dims: Vec<usize>, places: impl Iterator<Item = usize>) -> Constant {
        let elements = match &self.elements {
            Elements::Ints(list) => Elements::Ints(places.map(|place| list[place]).collect()),
            Elements::Floats(list) => Elements::Floats(places.map(|place| list[place]).collect()),
        };
        Constant { dims, elements }
    }
}

impl Elements {
    fn len(&self) -> usize {
        match self {
            Elements::Ints(list) => list.len(),
            Elements::Floats(list) => list.len(),
        }
    }

    pub(super) fn to_floats(&self) -> Vec<f64> {
        match self {
            Elements::Ints(list) => list.iter().map(|int| *int as f64).collect(),
            Elements::Floats(list) => list.clone(),
        }
    }
}

/// How many elements such a tensor has; `usize::MAX` where they cannot be counted.
pub(super) fn product(dims: &[usize]) -> usize {
    if dims.contains(&0) {
        0
    } else {
        dims.iter().fold(1, |n: usize, dim| n.saturating_mul(*dim))
    }
}

/// How many elements such a tensor has, if no more than are taken.
pub(super) fn count(dims: &[usize]) -> Result<usize, String> {
    match product(dims) {
        count if count <= MAX_ELEMENTS => Ok(count),
        _ => Err(format!(
            "a constant of {dims:?} is larger than any that is computed"
        )),
    }
}

/// The dimensions of what two tensors make together, as numpy has it.
pub(super) fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>, String> {
    let rank = a.len().max(b.len());
    let dim = |dims: &[usize], at: usize| match (at + dims.len()).checked_sub(rank) {
        Some(at) => dims[at],
        None => 1,
    };
    let dims = (0..rank).map(|at| match (dim(a, at), dim(b, at)) {
        (x, y) if x == y || y == 1 => Ok(x),
        (1, y) => Ok(y),
        _ => Err(format!("{a:?} and {b:?} do not fit each other")),
    });
    dims.collect()
}

/// Where each element of a tensor of `dims`, in row-major order, lies in one of `of` that is
/// repeated along its dimensions of 1.
pub(super) fn repeated(dims: &[usize], of: &[usize]) -> impl Iterator<Item = usize> {
    let missing = dims.len() - of.len();
    let mut strides = vec![0; dims.len()];
    let mut stride = 1;
    for (at, dim) in of.iter().enumerate().rev() {
        if *dim != 1 {
            strides[missing + at] = stride;
        }
        stride = dim.saturating_mul(stride);
    }
    walk(dims.to_vec(), strides)
}

/// The places `Σ index · stride`, in row-major order of the indices.
pub(super) fn walk(dims: Vec<usize>, strides: Vec<usize>) -> impl Iterator<Item = usize> {
    let mut index = vec![0; dims.len()];
    let mut left = product(&dims);
    std::iter::from_fn(move || {
        left = left.checked_sub(1)?;
        let place = index.iter().zip(&strides).map(|(i, s)| i * s).sum();
        for (i, n) in index.iter_mut().zip(&dims).rev() {
            *i += 1;
            if *i < *n {
                break;
            }
            *i = 0;
        }
        Some(place)
    })
}
