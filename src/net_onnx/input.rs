//! The images that a program takes.

use std::path::Path;

use crate::checkpoint::{Dim, Program, Type};
use crate::error::{Error, Result};
use crate::net::Shape;

/// The size of the batch in the file (1 where it is dynamic), and the shape of an image.
pub(super) fn size(
    path: &Path,
    program: &Program,
    resolution: Option<usize>,
) -> Result<(usize, Shape)> {
    let (name, dims) = dims(path, program)?;
    let batch = match &dims[0] {
        Dim::Fixed(n) => whole(*n),
        Dim::Dynamic(_) => 1,
    };
    let channels = match &dims[1] {
        Dim::Fixed(n) => whole(*n),
        // Images are red, green and blue.
        Dim::Dynamic(_) => 3,
    };
    let side = |at: usize, what: &str| match (&dims[at], resolution) {
        (Dim::Fixed(n), None) => Ok(whole(*n)),
        (Dim::Fixed(n), Some(side)) if whole(*n) == side => Ok(side),
        (Dim::Fixed(n), Some(side)) => Err(Error::argument(
            "resolution",
            side,
            format!(
                "the images of {} have a {what} of {n}; an export with dynamic height and width \
                 leaves it open",
                path.display()
            ),
        )),
        (Dim::Dynamic(_), Some(side)) => Ok(side),
        (Dim::Dynamic(dim), None) => {
            let dim = match &dim[..] {
                "" => String::new(),
                dim => format!(" ({dim:?})"),
            };
            Err(Error::argument(
                "resolution",
                "",
                format!(
                    "expected one, since the {what} of its input {name:?}, dimension {at}{dim}, is \
                     not fixed in {}",
                    path.display()
                ),
            ))
        }
    };
    let shape = Shape::new(channels, side(2, "height")?, side(3, "width")?);
    if batch == 0 || shape.is_empty() {
        let found = format!("{batch} images of {shape}");
        return Err(Error::malformed(
            path,
            format!("input {name:?}"),
            "images",
            found,
        ));
    }
    Ok((batch, shape))
}

/// Height and width of the images, where the file fixes them.
pub(super) fn resolution(path: &Path, program: &Program) -> Result<Option<usize>> {
    let (name, dims) = dims(path, program)?;
    match (&dims[2], &dims[3]) {
        (Dim::Fixed(height), Dim::Fixed(width)) if height != width => {
            let reason = format!(
                "its input {name:?} is {height} × {width}; data sets are brought to squares here"
            );
            Err(Error::refused(path, reason))
        }
        (Dim::Fixed(side), _) | (_, Dim::Fixed(side)) => Ok(Some(whole(*side))),
        _ => Ok(None),
    }
}

/// The four dimensions of the first input.
fn dims<'p>(path: &Path, program: &'p Program) -> Result<(&'p str, &'p [Dim])> {
    let malformed = |place: String, found: String| {
        let expected = "images: floats of 4 dimensions, batch, channels, height and width";
        Err(Error::malformed(path, place, expected, found))
    };
    let Some((name, Type { element, dims })) = program.inputs.first() else {
        return malformed("inputs".to_owned(), "none".to_owned());
    };
    let place = format!("input {name:?}");
    // FLOAT, FLOAT16, DOUBLE, BFLOAT16.
    match element {
        Some(1 | 10 | 11 | 16) => {}
        Some(other) => return malformed(place, format!("elements of ONNX type {other}")),
        None => return malformed(place, "something that is no tensor".to_owned()),
    }
    match dims {
        Some(dims) if dims.len() == 4 => Ok((name, dims)),
        Some(dims) => malformed(place, format!("{} dimensions", dims.len())),
        None => malformed(place, "no dimensions".to_owned()),
    }
}

fn whole(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}
