//! Linear layer: y = w · x + b.

use crate::real::{Real, add_scaled, dot};

/// y = w · x + b for each image, where `w` is `[out, features]`.
pub(super) fn forward<T: Real>(features: usize, w: &[T], b: Option<&[T]>, x: &[T], y: &mut [T]) {
    let outputs = w.len() / features;
    for (x, y) in x.chunks_exact(features).zip(y.chunks_exact_mut(outputs)) {
        for (out, (y, w)) in y.iter_mut().zip(w.chunks_exact(features)).enumerate() {
            *y = T::of(dot(w, x) + b.map_or(0.0, |b| b[out].wide()));
        }
    }
}

/// dx += wᵀ · dy for each image.
pub(super) fn backward_input<T: Real>(features: usize, w: &[T], dy: &[T], dx: &mut [T]) {
    let outputs = w.len() / features;
    for (dx, dy) in dx.chunks_exact_mut(features).zip(dy.chunks_exact(outputs)) {
        for (dy, w) in dy.iter().zip(w.chunks_exact(features)) {
            add_scaled(dx, *dy, w);
        }
    }
}

/// dw += Σ dy · xᵀ over images.
pub(super) fn backward_weight<T: Real>(features: usize, x: &[T], dy: &[T], dw: &mut [T]) {
    let outputs = dw.len() / features;
    for (x, dy) in x.chunks_exact(features).zip(dy.chunks_exact(outputs)) {
        for (dy, dw) in dy.iter().zip(dw.chunks_exact_mut(features)) {
            add_scaled(dw, *dy, x);
        }
    }
}
