//! Convolutions of 3 × 3 taps with fewer multiplications: F(2 × 2, 3 × 3) of Lavin and Gray, "Fast
//! Algorithms for Convolutional Neural Networks", CVPR 2016, section 4.1, after Winograd.
//!
//! A square of 2 × 2 pixels y, the 4 × 4 pixels x that it is gathered from, and the filter g make
//! y = Aᵀ ((G g Gᵀ) ⊙ (Bᵀ x B)) A, with 16 multiplications for two channels instead of 36. Over all channels
//! and squares they are 16 products of matrices. The gradient of g follows: Gᵀ ((Bᵀ x B) ⊙ (A dy Aᵀ)) G.

mod gather;
mod planes;
mod transform;
mod weight;

pub(in crate::engine::cpu) use gather::Gather;
pub(in crate::engine::cpu) use weight::{WeightGradient, collect};

use rayon::prelude::*;

use super::{Filters, Geometry};
use crate::engine::cpu::isa::Isa;
use crate::engine::cpu::layout::{Plane, stride};
use crate::net::Shape;

/// Matrices that are multiplied.
const PRODUCTS: usize = 16;

/// A 3 × 3 convolution that is computed this way, forward and for the gradient of its input.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine::cpu) struct Winograd {
    pub(in crate::engine::cpu) forward: Squares,
    pub(in crate::engine::cpu) backward: Squares,
}

/// Channels, on either side, below which making the matrices takes too long beside multiplying them.
const CHANNELS: usize = 16;
/// Pixels of a batch below which transforming the filters does.
const PIXELS: usize = 1024;

impl Winograd {
    /// The convolution, for a batch of so many images; `None` where computing it directly is faster.
    pub(in crate::engine::cpu) fn of(g: &Geometry, images: usize) -> Option<Winograd> {
        let window = &g.window;
        let fits = (window.kernel, window.stride, window.dilation) == ((3, 3), (1, 1), (1, 1))
            && window.before.0.max(window.before.1) <= 2
            && g.groups == 1
            && g.input.stride == stride(g.input.channels);
        let many = g.input.channels.min(g.output.channels) >= CHANNELS
            && images * g.output.pixels() >= PIXELS;
        let forward = Squares {
            source: g.input,
            result: g.output,
            before: window.before,
        };
        // Taps that fall outside of a map cost nothing where it is small, but 4 × 4 pixels are always 16.
        let inside = |size: usize, count: usize, before: usize| -> usize {
            let under = (0..3).map(|tap| {
                (0..count)
                    .filter(|at| (at + tap).wrapping_sub(before) < size)
                    .count()
            });
            under.sum()
        };
        let taps = inside(g.input.height, g.output.height, window.before.0)
            * inside(g.input.width, g.output.width, window.before.1);
        let fewer = PRODUCTS * forward.count() * 5 < taps * 4;
        (fits && many && fewer).then_some(Winograd {
            forward,
            backward: Squares {
                source: g.output.into(),
                result: Shape {
                    channels: g.input.channels,
                    height: g.input.height,
                    width: g.input.width,
                },
                before: (2 - window.before.0, 2 - window.before.1),
            },
        })
    }

    /// Numbers of the matrices that are made for some squares at a time, whatever is computed.
    pub(in crate::engine::cpu) fn scratch(&self) -> usize {
        let gather = |squares: &Squares| gather::scratch(squares);
        gather(&self.forward)
            .max(gather(&self.backward))
            .max(weight::scratch(&self.forward))
    }
}

/// The sizes of transformed filters: in the place of taps, 16 numbers.
pub(in crate::engine::cpu) fn transformed(filters: &Filters) -> Filters {
    Filters {
        kernel: PRODUCTS,
        ..*filters
    }
}

/// G g Gᵀ of all filters; with `turned`, of what they are when they go the other way.
pub(in crate::engine::cpu) fn transform(
    isa: Isa,
    sizes: &Filters,
    filters: &[f32],
    turned: bool,
    into: &mut [f32],
) {
    let strips = filters.par_chunks_exact(sizes.strip());
    let into = into.par_chunks_exact_mut(transformed(sizes).strip());
    strips.zip(into).for_each(|(filters, into)| {
        isa.run(transform::Filters {
            filters,
            turned,
            into,
        });
    });
}

/// Squares of a result, and the pixels of a source that each is gathered from.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine::cpu) struct Squares {
    source: Plane,
    result: Shape,
    /// Pixels of padding above and to the left.
    before: (usize, usize),
}

/// Where a square begins.
#[derive(Debug, Clone, Copy)]
struct Square {
    image: usize,
    down: usize,
    over: usize,
}

impl Squares {
    /// Of an image, down and across.
    fn grid(&self) -> (usize, usize) {
        (
            self.result.height.div_ceil(2),
            self.result.width.div_ceil(2),
        )
    }

    /// Of an image.
    fn count(&self) -> usize {
        self.grid().0 * self.grid().1
    }

    fn square(&self, number: usize) -> Square {
        let (image, within) = (number / self.count(), number % self.count());
        Square {
            image,
            down: within / self.grid().1 * 2,
            over: within % self.grid().1 * 2,
        }
    }

    /// The pixels that a square is gathered from; `outside` are those beyond the map.
    #[inline(always)]
    fn sources<'a>(
        &self,
        square: Square,
        source: &'a [f32],
        outside: &'a [f32],
    ) -> [[&'a [f32]; 4]; 4] {
        let plane = self.source;
        let mut pixels = [[&outside[..plane.stride]; 4]; 4];
        for (i, row) in pixels.iter_mut().enumerate() {
            for (j, pixel) in row.iter_mut().enumerate() {
                let down = (square.down + i).wrapping_sub(self.before.0);
                let over = (square.over + j).wrapping_sub(self.before.1);
                if down < plane.height && over < plane.width {
                    let at = (square.image * plane.height + down) * plane.width + over;
                    *pixel = &source[at * plane.stride..][..plane.stride];
                }
            }
        }
        pixels
    }

    /// Where the pixels of a square are in the result: none beyond the map.
    #[inline(always)]
    fn results(&self, square: Square) -> [[Option<usize>; 2]; 2] {
        let shape = self.result;
        let mut places = [[None; 2]; 2];
        for (i, row) in places.iter_mut().enumerate() {
            for (j, place) in row.iter_mut().enumerate() {
                let (down, over) = (square.down + i, square.over + j);
                if down < shape.height && over < shape.width {
                    let at = (square.image * shape.height + down) * shape.width + over;
                    *place = Some(at * stride(shape.channels));
                }
            }
        }
        places
    }
}
