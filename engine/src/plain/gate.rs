//! Channel gate: a map times one number per channel (squeeze-and-excitation, Hu et al. 2018).

use crate::real::{Real, add_scaled, dot};

/// y = x · g, where `g` has one number per image and channel.
pub(super) fn forward<T: Real>(x: &[T], g: &[T], y: &mut [T]) {
    let pixels = x.len() / g.len();
    for ((y, x), g) in y
        .chunks_exact_mut(pixels)
        .zip(x.chunks_exact(pixels))
        .zip(g)
    {
        for (y, x) in y.iter_mut().zip(x) {
            *y = *x * *g;
        }
    }
}

/// dx += dy · g.
pub(super) fn backward_map<T: Real>(g: &[T], dy: &[T], dx: &mut [T]) {
    let pixels = dy.len() / g.len();
    for ((dx, dy), g) in dx
        .chunks_exact_mut(pixels)
        .zip(dy.chunks_exact(pixels))
        .zip(g)
    {
        add_scaled(dx, *g, dy);
    }
}

/// dg += Σ dy · x over the pixels of each image and channel.
pub(super) fn backward_gate<T: Real>(x: &[T], dy: &[T], dg: &mut [T]) {
    let pixels = x.len() / dg.len();
    for ((dg, x), dy) in dg
        .iter_mut()
        .zip(x.chunks_exact(pixels))
        .zip(dy.chunks_exact(pixels))
    {
        *dg += T::of(dot(x, dy));
    }
}
