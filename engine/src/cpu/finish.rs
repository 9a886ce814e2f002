//! In evaluation a BatchNorm with its activation follows from a number alone: where nothing else reads what a
//! convolution computes, it is done to each few pixels of that as soon as they are there, in the first cache. (In
//! training only where [`super::expand`] knows its statistics before.)

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::activation::{specialised, value};
use super::layout::LANES;
use super::multiply::multiply_add;
use super::steps::{Algorithm, Kind, Norm, Step};

/// Makes such normalisations the ends of their convolutions where `takes` allows it, given the convolution, the
/// normalisation, and the value it computes.
pub(super) fn fold(
    steps: &mut Vec<Step>,
    values: usize,
    takes: impl Fn(&Step, &Norm, usize) -> bool,
) {
    let mut readers = vec![0; values];
    for input in steps.iter().flat_map(|step| &step.inputs) {
        readers[input.value] += 1;
    }
    // Where the step that makes each value is among those that are left.
    let mut makers: Vec<Option<usize>> = vec![None; values];
    let mut left: Vec<Step> = Vec::with_capacity(steps.len());
    for step in steps.drain(..) {
        let read = step.inputs[0].value;
        let maker = makers[read].filter(|maker| match &step.kind {
            Kind::Norm(norm) if step.inputs.len() == 1 => {
                readers[read] == 1 && takes(&left[*maker], norm, step.output)
            }
            _ => false,
        });
        let end = maker.and_then(|maker| end(&mut left[maker]));
        match (step.kind, end) {
            (Kind::Norm(norm), Some((end, output))) => {
                *end = Some(norm);
                *output = step.output;
                makers[step.output] = maker;
            }
            (kind, _) => {
                makers[step.output] = Some(left.len());
                left.push(Step { kind, ..step });
            }
        }
    }
    *steps = left;
}

/// Where a step takes a normalisation, and which value it then computes; `None` if it cannot.
fn end(step: &mut Step) -> Option<(&mut Option<Box<Norm>>, &mut usize)> {
    let Kind::Convolution(layer) = &mut step.kind else {
        return None;
    };
    let filters = layer.geometry.filters();
    let whole = match layer.algorithm {
        // Strips of all groups are those of all channels.
        Algorithm::Product => filters.groups == 1 || filters.to % LANES == 0,
        Algorithm::Winograd(_) => true,
        // Their bias is added when all is computed.
        Algorithm::Grouped(_) => layer.bias.is_none(),
    };
    (whole && layer.norm.is_none()).then_some((&mut layer.norm, &mut step.output))
}

/// The end of a convolution.
#[derive(Debug, Clone, Copy)]
pub(super) struct Finish<'a>(pub(super) &'a Norm);

impl Finish<'_> {
    /// Does it in place to some strips of channels of the pixels that begin at `places`.
    #[inline(always)]
    pub(super) fn run<S: Simd>(
        &self,
        simd: S,
        pixels: &mut [f32],
        places: impl Iterator<Item = usize> + Clone,
        strips: Range<usize>,
    ) {
        // A function of its own: it is called from many loops.
        simd.vectorize(Pixels {
            norm: self.0,
            pixels,
            places,
            channels: strips.start * LANES..strips.end * LANES,
        });
    }
}

struct Pixels<'a, P> {
    norm: &'a Norm,
    pixels: &'a mut [f32],
    places: P,
    channels: Range<usize>,
}

impl<P: Iterator<Item = usize> + Clone> WithSimd for Pixels<'_, P> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let mut at = self.channels.start;
        while at < self.channels.end {
            at += match (self.channels.end - at) / S::F32_LANES {
                1 => self.some::<S, 1>(simd, at),
                2 | 3 => self.some::<S, 2>(simd, at),
                _ => self.some::<S, 4>(simd, at),
            };
        }
    }
}

impl<P: Iterator<Item = usize> + Clone> Pixels<'_, P> {
    /// `N` vectors of channels from `at` on; returns how many channels.
    #[inline(always)]
    fn some<S: Simd, const N: usize>(&mut self, simd: S, at: usize) -> usize {
        let len = N * S::F32_LANES;
        let Norm {
            normal, function, ..
        } = self.norm;
        let [mean, slope, shift] = [&normal.mean, &normal.slope, &normal.shift].map(|all| {
            let own = &S::as_simd_f32s(&all[at..][..len]).0[..N];
            std::array::from_fn::<S::f32s, N, _>(|i| own[i])
        });
        let function = *function;
        specialised!(function => for place in self.places.clone() {
            let pixel = &mut self.pixels[place + at..][..len];
            let pixel = &mut S::as_mut_simd_f32s(pixel).0[..N];
            for i in 0..N {
                let x = simd.sub_f32s(pixel[i], mean[i]);
                pixel[i] = value(simd, function, multiply_add(simd, x, slope[i], shift[i]));
            }
        });
        len
    }
}
