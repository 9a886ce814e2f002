//! A network as a computation graph: operations, shapes, and tensors with their state-dict names. An
//! [`Engine`](crate::Engine) runs a graph.
//!
//! A [`Graph`] is static: it is built for one resolution, and every node has a fixed shape. Nodes are added in the
//! order in which they are computed:
//!
//! ```
//! # fn main() -> Result<(), ckpt_regen_engine::Error> {
//! use ckpt_regen_engine::net::{Activation, Convolution, Graph, Shape};
//!
//! let mut graph = Graph::new("tiny", Shape::new(3, 32, 32));
//! let x = graph.input();
//! let x = graph.convolution("conv", x, &Convolution::new(16, 3).stride(2).padding(1))?;
//! let x = graph.batch_norm("bn", x)?;
//! let x = graph.activation("relu", x, Activation::Relu)?;
//! let x = graph.global_average_pool("pool", x)?;
//! graph.linear("fc", x, 10, true)?;
//! assert_eq!(graph.output_shape(), Shape::new(10, 1, 1));
//! # Ok(())
//! # }
//! ```

mod build;
mod cost;
mod filters;
mod graph;
mod layer;
mod norm;
mod op;
pub mod render;
mod resolution;
mod shape;
mod tensor;
mod whitening;
pub mod zoo;

pub use build::{BatchNorm, Convolution, Pool};
pub use cost::Cost;
pub use filters::{FilterKind, Filters};
pub use graph::{Auxiliary, Graph, Node, Value};
pub use layer::{Layer, layers};
pub use norm::{Norm, NormKind};
pub use op::{Activation, Op, Window};
pub use resolution::Resolution;
pub use shape::Shape;
pub use tensor::{Init, Kind, TensorId, TensorSpec};
pub use whitening::{ChannelEquilibrium, IterNorm, Whitening};
