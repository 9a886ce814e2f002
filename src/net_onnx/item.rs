//! What the names of a program stand for while it is imported, and why a node may give nothing.

use super::constant::Constant;
use super::view::View;
use crate::engine;
use crate::error::Error;

/// What a name stands for.
#[derive(Debug, Clone)]
pub(super) enum Item {
    /// Numbers that are known.
    Constant(Constant),
    /// A tensor that the file stores.
    Stored(Stored),
    /// A value of the network.
    Data(View),
    /// The beginning of something that several nodes make together.
    Piece(Piece),
    /// Values in a list.
    Sequence(Vec<Item>),
    /// Of a node that cannot be had, or behind one.
    Unknown,
}

/// A tensor of the file under one of its names.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    /// Its number in the program.
    pub(super) tensor: usize,
    /// The name that its parameter gets.
    pub(super) name: String,
    pub(super) dims: Vec<usize>,
    /// Whether it is seen with its two dimensions the other way round.
    pub(super) transposed: bool,
}

/// The beginning of something that several nodes make together.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) view: View,
    pub(super) kind: PieceKind,
    /// The node that began it.
    pub(super) by: usize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum PieceKind {
    /// x + 3.
    Shifted,
    /// min(max(x + 3, 0), 6).
    Clipped,
    /// x · min(max(x + 3, 0), 6).
    Product,
    /// With zeros around it: (rows, columns) before and after.
    Padded((usize, usize), (usize, usize)),
    /// A number a channel, repeated over a map.
    Expanded,
}

impl PieceKind {
    /// Why it cannot be had by itself.
    pub(super) fn reason(self) -> &'static str {
        match self {
            PieceKind::Shifted => {
                "a number is added to a value, and this is no beginning of a hard-swish or \
                 hard-sigmoid, min(max(x + 3, 0), 6) / 6"
            }
            PieceKind::Clipped | PieceKind::Product => {
                "min(max(x + 3, 0), 6) is known only as a part of a hard-swish or hard-sigmoid, \
                 divided by 6"
            }
            PieceKind::Padded(..) => {
                "rows and columns of zeros are known only before a convolution or average pooling \
                 that counts them"
            }
            PieceKind::Expanded => "a value is repeated over a map only to be multiplied with one",
        }
    }
}

/// Why a node gives nothing.
#[derive(Debug)]
pub(super) enum Fault {
    /// It is not supported.
    Unsupported(String),
    /// Another node is not, whose value is needed here.
    Blame(usize, String),
    /// What it needs is not there already.
    Behind,
    /// The file cannot be read.
    Broken(Error),
}

impl From<String> for Fault {
    fn from(reason: String) -> Fault {
        Fault::Unsupported(reason)
    }
}

impl From<&str> for Fault {
    fn from(reason: &str) -> Fault {
        Fault::Unsupported(reason.to_owned())
    }
}

impl From<Error> for Fault {
    fn from(err: Error) -> Fault {
        Fault::Broken(err)
    }
}

impl From<engine::Error> for Fault {
    fn from(err: engine::Error) -> Fault {
        match err {
            // The node has its own name in the list.
            engine::Error::Network { reason, .. } => Fault::Unsupported(reason),
            other => Fault::Broken(other.into()),
        }
    }
}

pub(super) type Items = Result<Vec<Item>, Fault>;
