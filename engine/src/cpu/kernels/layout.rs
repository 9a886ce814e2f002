//! The memory layout of values: `[images, height, width, channels]` (channels last), with the channels of a
//! pixel padded to a multiple of [`LANES`]. Padding channels may hold any number; no result depends on it.

use crate::net::Shape;

/// f32 per vector of the widest instruction set; channels are padded to a multiple of it.
pub(in crate::cpu) const LANES: usize = 16;

/// Distance in elements from one pixel to the next: `channels`, padded.
pub(in crate::cpu) fn pixel_stride(channels: usize) -> usize {
    channels.next_multiple_of(LANES)
}

/// The shape and pixel stride of one image that a convolution reads.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct ImageLayout {
    /// Input channels per pixel; for framed images those of a whole kernel row, see [`InputLayout::Framed`].
    pub(in crate::cpu) channels: usize,
    pub(in crate::cpu) height: usize,
    pub(in crate::cpu) width: usize,
    /// Distance in elements from one pixel to the next.
    pub(in crate::cpu) stride: usize,
}

impl ImageLayout {
    pub(in crate::cpu) fn pixels(&self) -> usize {
        self.height * self.width
    }
}

impl From<Shape> for ImageLayout {
    fn from(shape: Shape) -> ImageLayout {
        ImageLayout {
            channels: shape.channels,
            height: shape.height,
            width: shape.width,
            stride: pixel_stride(shape.channels),
        }
    }
}

/// The memory layout of the network's input images.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) enum InputLayout {
    /// Channels last, padded to [`LANES`], as all other values.
    Padded,
    /// For few channels that a single convolution reads: the zero padding of that convolution is stored around
    /// each image, and channels are not padded. The pixels under one row of the kernel are then contiguous,
    /// and the convolution reads them as if they were the channels of one pixel.
    Framed {
        /// Rows of padding at the top, columns at the left.
        before: (usize, usize),
        /// Rows of padding at the bottom, columns at the right.
        after: (usize, usize),
    },
}

impl InputLayout {
    /// Elements of one image.
    pub(in crate::cpu) fn len(&self, shape: Shape) -> usize {
        match *self {
            InputLayout::Padded => padded_len(shape),
            InputLayout::Framed { before, after } => {
                let height = shape.height + before.0 + after.0;
                height * (shape.width + before.1 + after.1) * shape.channels
            }
        }
    }

    /// Copies channels-first images `[N, C, H, W]` into this layout; the zeros of a frame are left as they are.
    pub(in crate::cpu) fn write_images(&self, shape: Shape, images: &[f32], value: &mut [f32]) {
        let InputLayout::Framed { before, after } = *self else {
            return from_channels_first(shape, images, value);
        };
        let row = (shape.width + before.1 + after.1) * shape.channels;
        value
            .chunks_exact_mut(self.len(shape))
            .zip(images.chunks_exact(shape.len()))
            .for_each(|(value, image)| {
                let rows = value.chunks_exact_mut(row).skip(before.0);
                for (y, to) in rows.take(shape.height).enumerate() {
                    let to = &mut to[before.1 * shape.channels..];
                    let from = &image[y * shape.width..];
                    // RGB images: a loop with a constant count.
                    match shape.channels {
                        3 => interleave(to, from, shape.width, shape.pixels(), 3),
                        channels => interleave(to, from, shape.width, shape.pixels(), channels),
                    }
                }
            });
    }
}

/// Interleaves one row of `width` pixels from channel planes that are `plane_len` elements apart.
#[inline(always)]
fn interleave(to: &mut [f32], planes: &[f32], width: usize, plane_len: usize, channels: usize) {
    for (pixel, to) in to.chunks_exact_mut(channels).take(width).enumerate() {
        for (channel, to) in to.iter_mut().enumerate() {
            *to = planes[channel * plane_len + pixel];
        }
    }
}

/// Elements of one image of a value, padding channels included.
pub(in crate::cpu) fn padded_len(shape: Shape) -> usize {
    shape.pixels() * pixel_stride(shape.channels)
}

/// Copies channels-first images `[N, C, H, W]` into the channels-last layout.
pub(in crate::cpu) fn from_channels_first(shape: Shape, images: &[f32], value: &mut [f32]) {
    let (stride, pixels) = (pixel_stride(shape.channels), shape.pixels());
    let images = images.chunks_exact(shape.len());
    value
        .chunks_exact_mut(padded_len(shape))
        .zip(images)
        .for_each(|(value, image)| {
            for (channel, plane) in image.chunks_exact(pixels).enumerate() {
                for (to, from) in value[channel..].iter_mut().step_by(stride).zip(plane) {
                    *to = *from;
                }
            }
        });
}

/// Calls `each` with the elements of the images in channels-first order `[N, C, H, W]`.
pub(in crate::cpu) fn to_channels_first(shape: Shape, value: &[f32], mut each: impl FnMut(f32)) {
    let stride = pixel_stride(shape.channels);
    for image in value.chunks_exact(padded_len(shape)) {
        for channel in 0..shape.channels {
            image[channel..]
                .iter()
                .step_by(stride)
                .for_each(|x| each(*x));
        }
    }
}
