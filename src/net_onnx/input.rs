//! The images that a program takes.

use std::path::Path;

use crate::checkpoint::{Dim, Program, Type};
use crate::error::{Error, Result};
use crate::net::{Resolution, Shape};

/// The size of the batch in the file (1 where it is dynamic), and the shape of an image.
pub(super) fn size(
    path: &Path,
    program: &Program,
    resolution: Option<Resolution>,
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
    let side = |at: usize, what: &str, asked: Option<usize>| match (&dims[at], asked) {
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
    let height = side(2, "height", resolution.map(|asked| asked.height))?;
    let width = side(3, "width", resolution.map(|asked| asked.width))?;
    let shape = Shape::new(channels, height, width);
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

/// Height and width of the images, where the file fixes them; where it fixes one, a square.
pub(super) fn resolution(path: &Path, program: &Program) -> Result<Option<Resolution>> {
    let (_, dims) = dims(path, program)?;
    let fixed = |at: usize| match &dims[at] {
        Dim::Fixed(n) => Some(whole(*n)),
        Dim::Dynamic(_) => None,
    };
    let (height, width) = (fixed(2).or(fixed(3)), fixed(3).or(fixed(2)));
    Ok(height
        .zip(width)
        .map(|(height, width)| Resolution { height, width }))
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
