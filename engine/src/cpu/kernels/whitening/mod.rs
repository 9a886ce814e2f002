//! Normalisations that decorrelate the channels of groups: products of the groups' matrices with pixels, covariances, and
//! their inverse square roots. Matrices of groups are computed in f64; products with pixels in f32, whose sums over a batch
//! are gathered in f64.

mod apply;
mod images;
mod newton;
mod products;
mod state;

use apply::{Apply, Term};
pub(in crate::cpu) use images::ImageScratch;
use products::CrossProducts;
pub(in crate::cpu) use state::{BatchPart, MixGradients, WhiteningState};

use super::layout::{LANES, pixel_stride};

/// The groups of channels, gathered to blocks of whole vectors: a matrix per group becomes a block-diagonal matrix.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct Blocks {
    pub(in crate::cpu) channels: usize,
    /// Channels of a group.
    pub(in crate::cpu) group: usize,
    /// Channels of a block, a multiple of [`LANES`] that no group crosses; the last block may have fewer.
    width: usize,
}

impl Blocks {
    pub(in crate::cpu) fn new(channels: usize, group: usize) -> Blocks {
        let multiple = (1..=LANES)
            .map(|times| times * group)
            .find(|width| width.is_multiple_of(LANES));
        let all = pixel_stride(channels);
        Blocks {
            channels,
            group,
            width: multiple.unwrap_or(all).min(all),
        }
    }

    /// Number of groups.
    pub(in crate::cpu) fn groups(&self) -> usize {
        self.channels / self.group
    }

    fn count(&self) -> usize {
        self.channels.div_ceil(self.width)
    }

    /// The first channel of each block, and its number of channels.
    fn each(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let Blocks {
            channels, width, ..
        } = *self;
        (0..channels)
            .step_by(width)
            .map(move |first| (first, width.min(channels - first)))
    }

    /// Elements of a packed block-diagonal matrix, and of its sums.
    pub(in crate::cpu) fn matrix_len(&self) -> usize {
        self.count() * self.width * self.width
    }

    /// The place of row and column of a group's matrix in the sums of [`CrossProducts`].
    fn sum_index(&self, group: usize, row: usize, column: usize) -> usize {
        let first = group * self.group;
        let (block, at) = (first / self.width, first % self.width);
        (block * self.width + at + row) * self.width + at + column
    }

    /// Packs a matrix for [`Apply`], given its elements by group, row and column: strips of [`LANES`] rows, `[column][row]`.
    fn pack(&self, element: impl Fn(usize, usize, usize) -> f64, into: &mut [f32]) {
        into.fill(0.0);
        for group in 0..self.groups() {
            let first = group * self.group;
            let (block, at) = (first / self.width, first % self.width);
            let block = &mut into[block * self.width * self.width..];
            for row in 0..self.group {
                let (strip, lane) = ((at + row) / LANES, (at + row) % LANES);
                let strip = &mut block[strip * LANES * self.width..];
                for column in 0..self.group {
                    strip[(at + column) * LANES + lane] = element(group, row, column) as f32;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_group_crosses_a_block() {
        for (channels, group, width) in [
            (24, 8, 16),
            (1280, 64, 64),
            (48, 48, 48),
            (96, 48, 48),
            (5, 5, 16),
            (40, 20, 48),
            (200, 20, 80),
            (7, 1, 16),
        ] {
            let blocks = Blocks::new(channels, group);
            assert_eq!(blocks.width, width, "{channels} {group}");
            for at in 0..blocks.groups() {
                let (first, last) = (at * group, at * group + group - 1);
                assert_eq!(first / width, last / width);
            }
        }
    }
}
