//! Whole tensors: the elements of a network's weights, wherever a format keeps them.
//!
//! An edit needs γ alone, and its table ([`StateDict::tensors`]) leaves out what no edit touches:
//! tensors in data files of an ONNX model that hold no γ, and second names of one tensor.

use std::borrow::Cow;
use std::path::Path;

use super::{Checkpoint, Tensor};
use crate::error::{Error, Result};
use crate::file::Source;

/// A tensor of a state dict.
#[derive(Debug, Clone, Copy)]
pub struct Weight<'c> {
    /// Name, type and shape.
    pub tensor: &'c Tensor,
    /// The file it lies in, if that is none of [`Checkpoint::sources`].
    file: Option<&'c Path>,
}

impl<'c> From<&'c Tensor> for Weight<'c> {
    /// One of the table of its checkpoint.
    fn from(tensor: &'c Tensor) -> Weight<'c> {
        Weight { tensor, file: None }
    }
}

impl Checkpoint {
    /// All tensors of state dict number `dict` of [`Checkpoint::dicts`], those that an edit does not
    /// know last.
    pub fn weights(&self, dict: usize) -> Vec<Weight<'_>> {
        let mut weights: Vec<Weight<'_>> =
            self.dicts[dict].tensors.iter().map(Weight::from).collect();
        if let Some(model) = self.model() {
            weights.extend(model.aliases().iter().map(Weight::from));
            weights.extend(model.elsewhere().iter().map(|tensor| Weight {
                tensor,
                file: Some(&model.other_files()[tensor.source]),
            }));
        }
        weights
    }

    /// The elements of a tensor of this checkpoint, little-endian, in row-major order: of the map of
    /// the file where there is one and they stand there like that.
    ///
    /// # Errors
    /// The file cannot be read, or the tensor is stored with a computation that is still to be done.
    pub fn elements(&self, weight: &Weight<'_>) -> Result<Cow<'_, [u8]>> {
        let tensor = weight.tensor;
        let Some(path) = weight.file else {
            let source = &self.sources[tensor.source];
            return match tensor.scattered {
                Some(_) => self.read(tensor).map(Cow::Owned),
                None => in_order(tensor, source),
            };
        };
        let elements = in_order(tensor, &Source::open(path)?)?.into_owned();
        Ok(Cow::Owned(elements))
    }
}

/// The elements of a tensor in one piece of a file, in row-major order.
fn in_order<'s>(tensor: &Tensor, source: &'s Source) -> Result<Cow<'s, [u8]>> {
    match (&tensor.strides, &tensor.fixed) {
        (None, None) => tensor.mapped(source),
        (None, Some(reason)) => Err(Error::refused(
            source.path(),
            format!("{} cannot be read: {reason}", tensor.name),
        )),
        (Some(strides), _) => gather(tensor, strides, source).map(Cow::Owned),
    }
}

/// A tensor spread over more than this many times its own bytes is read element by element, so that
/// a few elements far apart do not cost the memory of what lies between.
const MAX_SPREAD: u64 = 16;

/// The elements of a strided tensor in row-major order.
fn gather(tensor: &Tensor, strides: &[u64], source: &Source) -> Result<Vec<u8>> {
    let malformed = |expected: &str| {
        let found = format!("{:?} with strides {strides:?}", tensor.shape);
        Error::malformed(source.path(), &tensor.name, expected, found)
    };
    let width = tensor.dtype.bits() / 8;
    let count = tensor
        .shape
        .iter()
        .try_fold(width, |n, dim| n.checked_mul(*dim));
    // Strides of 0 repeat elements: what a few bytes say can be of any size.
    let mut out = Vec::new();
    let count =
        count.filter(|n| usize::try_from(*n).is_ok_and(|n| out.try_reserve_exact(n).is_ok()));
    let count = count.ok_or_else(|| malformed("a tensor that fits in memory"))?;
    let whole = if tensor.len.div_ceil(MAX_SPREAD) <= count {
        Some(tensor.mapped(source)?)
    } else {
        None
    };
    for place in places(&tensor.shape, strides) {
        let at = place * width;
        if at + width > tensor.len {
            return Err(malformed("elements within the tensor's bytes"));
        }
        match &whole {
            Some(bytes) => out.extend_from_slice(&bytes[at as usize..][..width as usize]),
            None => out.extend_from_slice(&source.slice(tensor.offset + at, width as usize)?),
        }
    }
    Ok(out)
}

/// Where each element of a strided tensor lies, in elements, in row-major order.
fn places(shape: &[u64], strides: &[u64]) -> impl Iterator<Item = u64> {
    let mut index = vec![0; shape.len()];
    let mut left = shape.iter().product::<u64>();
    std::iter::from_fn(move || {
        left = left.checked_sub(1)?;
        let place = index
            .iter()
            .zip(strides)
            .map(|(i, stride)| i * stride)
            .sum();
        for (i, n) in index.iter_mut().zip(shape).rev() {
            *i += 1;
            if *i < *n {
                break;
            }
            *i = 0;
        }
        Some(place)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::Dtype;

    /// The elements of a tensor of bytes in a file of `len` bytes that count up from 0.
    fn gathered(shape: &[u64], strides: &[u64], len: u64) -> Result<Vec<u8>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        let bytes: Vec<u8> = (0..len).map(|n| n as u8).collect();
        std::fs::write(file.path(), bytes).unwrap();
        let tensor = Tensor {
            name: "w".to_owned(),
            dtype: Dtype::U8,
            shape: shape.to_vec(),
            source: 0,
            offset: 0,
            len,
            fixed: None,
            scattered: None,
            strides: Some(strides.to_vec()),
        };
        gather(&tensor, strides, &Source::open(file.path())?)
    }

    /// The f32 elements of a tensor of a file below this repository.
    fn floats(path: &str, name: &str) -> Vec<f64> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        let checkpoint = Checkpoint::open(path).unwrap();
        let weights = checkpoint.weights(0);
        let weight = weights.iter().find(|weight| weight.tensor.name == name);
        Dtype::F32.decode(&checkpoint.elements(weight.unwrap()).unwrap())
    }

    #[test]
    fn a_strided_tensor_of_pytorch_is_read() {
        let path = "src/checkpoint/torch/tests/fixtures/shared.pth";
        assert_eq!(floats(path, "strided.weight"), [0.0, 2.0, 4.0, 6.0]);
    }

    #[test]
    fn a_tensor_in_a_data_file_without_gamma_is_read() {
        let (folder, name) = ("fixtures/mobilenet_v2_025", "features.0.0.weight");
        let elsewhere = floats(&format!("{folder}/external/model.onnx"), name);
        assert_eq!(elsewhere.len(), 8 * 3 * 3 * 3);
        assert_eq!(
            elsewhere,
            floats(&format!("{folder}/model.safetensors"), name)
        );
    }

    #[test]
    fn an_initializer_that_was_merged_with_another_goes_by_both_names() {
        let path = "src/checkpoint/onnx/tests/models/merged.onnx";
        assert_eq!(floats(path, "bn3.bias"), floats(path, "bn3.weight"));
    }

    #[test]
    fn a_transposed_tensor_is_read_row_by_row() {
        assert_eq!(gathered(&[3, 2], &[1, 3], 6).unwrap(), [0, 3, 1, 4, 2, 5]);
    }

    #[test]
    fn elements_far_apart_are_read_alone() {
        assert_eq!(
            gathered(&[2, 2], &[150, 100], 251).unwrap(),
            [0, 100, 150, 250]
        );
    }

    #[test]
    fn an_expanded_element_is_repeated_and_none_makes_nothing() {
        assert_eq!(gathered(&[2, 2], &[0, 0], 1).unwrap(), [0; 4]);
        assert_eq!(gathered(&[2, 0], &[9, 9], 0).unwrap(), [0; 0]);
    }

    #[test]
    fn more_elements_than_can_be_kept_or_are_there_are_refused() {
        for (shape, strides) in [(&[u64::MAX / 2, 4][..], &[0, 0][..]), (&[3], &[2])] {
            let message = gathered(shape, strides, 4).unwrap_err().to_string();
            assert!(message.contains("with strides"), "{message}");
        }
    }
}
