//! A value as ONNX sees it: any number of dimensions, in any order, over one value of the graph.
//! Reshapes and transpositions change the view alone; what undoes them, or makes a channel shuffle
//! of them, never costs a copy.

use crate::net::Shape;
use crate::net::Value;

/// A value of the graph, seen with other dimensions. The batch, which always comes first, is left
/// out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    pub(super) value: Value,
    /// Without the batch.
    pub(super) dims: Vec<usize>,
    /// The elements in row-major order of `dims`, as loops over the value's own elements, the
    /// outermost first. Neighbours that make one loop are one.
    factors: Vec<Factor>,
}

/// A loop over the elements of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Factor {
    size: usize,
    /// From one to the next, in elements of the value in the order channel, row, column.
    stride: usize,
}

/// What a view is of its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// All elements in their own order.
    Plain,
    /// That with the channels shuffled over so many groups.
    Shuffled(usize),
    /// Something else.
    Other,
}

impl View {
    /// A value with the dimensions that ONNX gives it: as many elements in their own order.
    pub(super) fn plain(value: Value, dims: Vec<usize>) -> View {
        let size = dims.iter().product();
        let factors = canonical(&[Factor { size, stride: 1 }]);
        View {
            value,
            dims,
            factors,
        }
    }

    /// The same elements in the same order with other dimensions, as many in all.
    pub(super) fn reshaped(&self, dims: Vec<usize>) -> View {
        View {
            dims,
            ..self.clone()
        }
    }

    /// The dimensions in another order; `None` where one of them cuts through elements that do not
    /// lie as a loop.
    pub(super) fn transposed(&self, order: &[usize]) -> Option<View> {
        let parts = self.parts()?;
        let factors: Vec<Factor> = order.iter().flat_map(|d| parts[*d].clone()).collect();
        Some(View {
            value: self.value,
            dims: order.iter().map(|d| self.dims[*d]).collect(),
            factors: canonical(&factors),
        })
    }

    /// Another value of the same size seen in the same way.
    pub(super) fn of(&self, value: Value) -> View {
        View {
            value,
            ..self.clone()
        }
    }

    /// Whether both see their values in the same way.
    pub(super) fn is_alike(&self, other: &View) -> bool {
        (&self.dims, &self.factors) == (&other.dims, &other.factors)
    }

    /// What it is of a value of this shape.
    pub(super) fn form(&self, shape: Shape) -> Form {
        let pixels = shape.pixels();
        let channels = match self.factors.split_last() {
            Some((last, rest)) if pixels > 1 && (last.size, last.stride) == (pixels, 1) => rest,
            _ if pixels > 1 => &[],
            _ => &self.factors[..],
        };
        match (&self.factors[..], channels) {
            ([], _) | ([Factor { stride: 1, .. }], _) => Form::Plain,
            // Channel i · b + j of the value is channel j · a + i of the view.
            (_, [outer, inner])
                if outer.stride == pixels && inner.stride == outer.size * pixels =>
            {
                Form::Shuffled(inner.size)
            }
            _ => Form::Other,
        }
    }

    /// Whether these dimensions are the rows and columns of a value of this shape, and the others
    /// its channels.
    pub(super) fn are_pixels(&self, dims: &[usize], shape: Shape) -> bool {
        let Some(parts) = self.parts() else {
            return false;
        };
        let pick = |inside: bool| -> Vec<Factor> {
            let chosen = (0..self.dims.len()).filter(|d| dims.contains(d) == inside);
            chosen.flat_map(|d| parts[d].clone()).collect()
        };
        let mut pixels = pick(true);
        pixels.sort_by_key(|factor| std::cmp::Reverse(factor.stride));
        let is_loop = |factors: &[Factor], size: usize, stride: usize| {
            let factors = canonical(factors);
            match factors[..] {
                [] => size == 1,
                [only] => only == Factor { size, stride },
                _ => false,
            }
        };
        is_loop(&pixels, shape.pixels(), 1) && is_loop(&pick(false), shape.channels, shape.pixels())
    }

    /// The loops of each dimension.
    fn parts(&self) -> Option<Vec<Vec<Factor>>> {
        let mut left = self.factors.iter().copied();
        let mut current: Option<Factor> = None;
        let part = |dim: &usize| {
            let mut wanted = *dim;
            let mut taken = Vec::new();
            while wanted > 1 {
                let factor = match current.take() {
                    Some(factor) => factor,
                    None => left.next()?,
                };
                if wanted.is_multiple_of(factor.size) {
                    wanted /= factor.size;
                    taken.push(factor);
                } else if factor.size.is_multiple_of(wanted) {
                    let inner = factor.size / wanted;
                    taken.push(Factor {
                        size: wanted,
                        stride: factor.stride * inner,
                    });
                    current = Some(Factor {
                        size: inner,
                        stride: factor.stride,
                    });
                    wanted = 1;
                } else {
                    return None;
                }
            }
            Some(taken)
        };
        self.dims.iter().map(part).collect()
    }
}

/// Without loops of one element, and neighbours that make one loop as one.
fn canonical(factors: &[Factor]) -> Vec<Factor> {
    let mut merged: Vec<Factor> = Vec::new();
    for factor in factors.iter().filter(|factor| factor.size != 1) {
        match merged.last_mut() {
            Some(last) if last.stride == factor.size * factor.stride => {
                last.size *= factor.size;
                last.stride = factor.stride;
            }
            _ => merged.push(*factor),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Graph;

    const SHAPE: Shape = Shape::new(6, 4, 5);

    fn value() -> Value {
        Graph::new("g", SHAPE).input()
    }

    fn whole() -> View {
        View::plain(value(), vec![6, 4, 5])
    }

    #[test]
    fn a_layout_that_is_undone_is_plain() {
        let rows_first = whole().transposed(&[1, 2, 0]).unwrap();
        assert_eq!(rows_first.dims, [4, 5, 6]);
        assert_eq!(rows_first.form(SHAPE), Form::Other);
        let back = rows_first.transposed(&[2, 0, 1]).unwrap();
        assert_eq!(back, whole());
    }

    #[test]
    fn a_reshape_a_transposition_and_a_reshape_shuffle_channels() {
        for groups in [2, 3] {
            let split = whole().reshaped(vec![groups, 6 / groups, 4, 5]);
            let turned = split.transposed(&[1, 0, 2, 3]).unwrap();
            let shuffled = turned.reshaped(vec![6, 4, 5]);
            assert_eq!(shuffled.form(SHAPE), Form::Shuffled(groups));
        }
        let rows = whole().transposed(&[0, 2, 1]).unwrap();
        assert_eq!(rows.form(SHAPE), Form::Other);
    }

    #[test]
    fn channels_of_a_vector_are_shuffled_too() {
        let vector = View::plain(value(), vec![6]);
        let turned = vector.reshaped(vec![2, 3]).transposed(&[1, 0]).unwrap();
        assert_eq!(turned.form(Shape::new(6, 1, 1)), Form::Shuffled(2));
    }

    #[test]
    fn the_pixels_are_found_in_any_layout() {
        assert!(whole().are_pixels(&[1, 2], SHAPE));
        assert!(!whole().are_pixels(&[0, 1], SHAPE));
        let rows_first = whole().transposed(&[1, 2, 0]).unwrap();
        assert!(rows_first.are_pixels(&[0, 1], SHAPE));
        assert!(whole().reshaped(vec![6, 20]).are_pixels(&[1], SHAPE));
    }

    #[test]
    fn a_dimension_across_two_loops_cannot_be_moved() {
        let odd = whole().transposed(&[1, 2, 0]).unwrap();
        assert!(odd.reshaped(vec![8, 15]).transposed(&[1, 0]).is_none());
    }
}
