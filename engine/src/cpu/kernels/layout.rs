//! How a value lies in memory: image by image, row by row, pixel by pixel, and for each pixel all
//! channels, padded to a multiple of [`LANES`]. What is in the padding does not matter.

use crate::net::Shape;

/// Channels are padded to a multiple of this: the widest vector.
pub(in crate::cpu) const LANES: usize = 16;

/// Numbers from one pixel to the next.
pub(in crate::cpu) fn stride(channels: usize) -> usize {
    channels.next_multiple_of(LANES)
}

/// An image as a convolution reads it.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct Plane {
    /// Channels that are gathered at a pixel.
    pub(in crate::cpu) channels: usize,
    pub(in crate::cpu) height: usize,
    pub(in crate::cpu) width: usize,
    /// Numbers from one pixel to the next.
    pub(in crate::cpu) stride: usize,
}

impl Plane {
    pub(in crate::cpu) fn pixels(&self) -> usize {
        self.height * self.width
    }
}

impl From<Shape> for Plane {
    fn from(shape: Shape) -> Plane {
        Plane {
            channels: shape.channels,
            height: shape.height,
            width: shape.width,
            stride: stride(shape.channels),
        }
    }
}

/// How the images lie in memory.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) enum Images {
    /// As all values.
    Padded,
    /// Few channels, and only one convolution reads them: its padding around each image, and pixels
    /// without padding. What it gathers along a row of its kernel is then one run of numbers.
    Framed {
        before: (usize, usize),
        after: (usize, usize),
    },
}

impl Images {
    /// Numbers of an image.
    pub(in crate::cpu) fn len(&self, shape: Shape) -> usize {
        match *self {
            Images::Padded => padded(shape),
            Images::Framed { before, after } => {
                let height = shape.height + before.0 + after.0;
                height * (shape.width + before.1 + after.1) * shape.channels
            }
        }
    }

    /// Puts images given channel by channel into their place; the frame stays as it is.
    pub(in crate::cpu) fn take(&self, shape: Shape, images: &[f32], value: &mut [f32]) {
        let Images::Framed { before, after } = *self else {
            return take(shape, images, value);
        };
        let line = (shape.width + before.1 + after.1) * shape.channels;
        value
            .chunks_exact_mut(self.len(shape))
            .zip(images.chunks_exact(shape.len()))
            .for_each(|(value, image)| {
                let lines = value.chunks_exact_mut(line).skip(before.0);
                for (down, to) in lines.take(shape.height).enumerate() {
                    let to = &mut to[before.1 * shape.channels..];
                    let from = &image[down * shape.width..];
                    // The usual images: a loop of its own.
                    match shape.channels {
                        3 => interleave(to, from, shape.width, shape.pixels(), 3),
                        channels => interleave(to, from, shape.width, shape.pixels(), channels),
                    }
                }
            });
    }
}

/// The pixels of a line, of which the planes of channels are so many numbers apart.
#[inline(always)]
fn interleave(to: &mut [f32], planes: &[f32], width: usize, apart: usize, channels: usize) {
    for (pixel, to) in to.chunks_exact_mut(channels).take(width).enumerate() {
        for (channel, to) in to.iter_mut().enumerate() {
            *to = planes[channel * apart + pixel];
        }
    }
}

/// Numbers of one image.
pub(in crate::cpu) fn padded(shape: Shape) -> usize {
    shape.pixels() * stride(shape.channels)
}

/// Images given channel by channel, into this layout.
pub(in crate::cpu) fn take(shape: Shape, images: &[f32], value: &mut [f32]) {
    let (stride, pixels) = (stride(shape.channels), shape.pixels());
    let images = images.chunks_exact(shape.len());
    value
        .chunks_exact_mut(padded(shape))
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
pub(in crate::cpu) fn give(shape: Shape, value: &[f32], mut each: impl FnMut(f32)) {
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
