//! A network for other programs to read. One renderer a file.

mod dot;
mod json;

pub use dot::to_dot;
pub use json::to_json;
