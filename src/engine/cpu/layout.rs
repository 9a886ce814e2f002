//! How a value lies in memory: image by image, row by row, pixel by pixel, and for each pixel all
//! channels, padded with zeros to a multiple of [`LANES`].

use rayon::prelude::*;

use crate::net::Shape;

/// Channels are padded to a multiple of this: the widest vector.
pub(super) const LANES: usize = 16;

/// Numbers from one pixel to the next.
pub(super) fn stride(channels: usize) -> usize {
    channels.next_multiple_of(LANES)
}

/// Numbers of one image.
pub(super) fn padded(shape: Shape) -> usize {
    shape.pixels() * stride(shape.channels)
}

/// Images given channel by channel, into this layout.
pub(super) fn take(shape: Shape, images: &[f32], value: &mut [f32]) {
    let (stride, pixels) = (stride(shape.channels), shape.pixels());
    let images = images.par_chunks_exact(shape.len());
    value
        .par_chunks_exact_mut(padded(shape))
        .zip(images)
        .for_each(|(value, image)| {
            for (channel, plane) in image.chunks_exact(pixels).enumerate() {
                for (to, from) in value[channel..].iter_mut().step_by(stride).zip(plane) {
                    *to = *from;
                }
            }
        });
}

/// The numbers of each image, channel by channel.
pub(super) fn give(shape: Shape, value: &[f32], mut each: impl FnMut(f32)) {
    let stride = stride(shape.channels);
    for image in value.chunks_exact(padded(shape)) {
        for channel in 0..shape.channels {
            image[channel..]
                .iter()
                .step_by(stride)
                .for_each(|x| each(*x));
        }
    }
}
