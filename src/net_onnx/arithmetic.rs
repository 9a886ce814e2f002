//! Activations, sums and products, and what they make together: hard-swish and SiLU in pieces, a
//! bias that is added, a gate on channels.

use super::constant::{Constant, product};
use super::import::Import;
use super::item::{Fault, Item, Items, Piece, PieceKind, Stored};
use super::node::Reader;
use super::parameters::uniform;
use super::view::View;
use crate::net::Value;
use crate::net::{Activation, Op};

/// How far a factor of 1/6 may be from it: f16 has it to three digits.
const SIXTH: f64 = 1e-4;

impl Import<'_> {
    pub(super) fn activation(&mut self, node: &Reader<'_>) -> Items {
        let name = node.node.inputs.first().map_or("", |name| name);
        if node.operator() == "Clip" {
            return self.clip(node, name);
        }
        let activation = match node.operator() {
            "Relu" => Activation::Relu,
            "Sigmoid" => Activation::Sigmoid,
            "HardSwish" => Activation::HardSwish,
            "HardSigmoid" => {
                let (alpha, beta) = (node.float("alpha", 0.2)?, node.float("beta", 0.5)?);
                if (alpha - 1.0 / 6.0).abs() > SIXTH || beta != 0.5 {
                    return Err(format!("alpha {alpha} and beta {beta}, not 1/6 and 0.5").into());
                }
                Activation::HardSigmoid
            }
            _ => {
                let alpha = node.float("alpha", 1.0)?;
                if alpha != 1.0 {
                    return Err(format!("alpha {alpha}, not 1").into());
                }
                Activation::Silu
            }
        };
        let view = self.view(name)?;
        Ok(vec![self.apply(node, &view, activation)?])
    }

    /// An activation acts on each number, in whatever order they are.
    fn apply(
        &mut self,
        node: &Reader<'_>,
        view: &View,
        activation: Activation,
    ) -> Result<Item, Fault> {
        let op = Op::Activation(activation);
        let value = self.add(&node.node.name, op, &[view.value])?;
        Ok(Item::Data(view.of(value)))
    }

    fn clip(&mut self, node: &Reader<'_>, name: &str) -> Items {
        let bound = |import: &Self, at: usize, attribute: &str, none: f64| {
            let constant = import.input_constant(node, at)?;
            Ok::<f64, Fault>(match constant {
                Some(constant) => constant.as_number().ok_or("a bound that is no number")?,
                None => node.float(attribute, none)?,
            })
        };
        let low = bound(self, 1, "min", f64::NEG_INFINITY)?;
        let high = bound(self, 2, "max", f64::INFINITY)?;
        // Old exporters write the largest f32 for no bound.
        let unbounded = high >= f64::from(f32::MAX);
        if let Some(Item::Piece(piece)) = self.item(name)
            && piece.kind == PieceKind::Shifted
            && (low, high) == (0.0, 6.0)
        {
            return Ok(vec![self.piece(piece.view, PieceKind::Clipped)]);
        }
        let view = self.view(name)?;
        if low == 0.0 && high == 6.0 {
            return Ok(vec![self.apply(node, &view, Activation::Relu6)?]);
        }
        if low == 0.0 && unbounded {
            return Ok(vec![self.apply(node, &view, Activation::Relu)?]);
        }
        if low <= f64::from(f32::MIN) && unbounded {
            return Ok(vec![Item::Data(view)]);
        }
        Err(format!("bounds {low} and {high}; known are 0 and 6 (ReLU6), 0 and none (ReLU)").into())
    }

    fn piece(&self, view: View, kind: PieceKind) -> Item {
        let by = self.at;
        Item::Piece(Piece { view, kind, by })
    }

    pub(super) fn sum(&mut self, node: &Reader<'_>) -> Items {
        let (a, b) = self.pair_of(node)?;
        match (a, b) {
            (Item::Data(a), Item::Data(b)) => Ok(vec![self.added(node, &a, &b)?]),
            (Item::Data(x), Item::Stored(stored)) | (Item::Stored(stored), Item::Data(x))
                if product(&stored.dims) > 1 =>
            {
                let channels = x.dims.first().copied().unwrap_or(0);
                if !is_per_channel(&stored, &x) {
                    return Err("a stored tensor is added that is no bias".into());
                }
                let bias = ("bias", &[channels][..], uniform(channels));
                let bias = self.stored_parameter(&stored, bias)?;
                let value = self.value_of(&x)?;
                let value = self.with_bias(value, bias)?;
                Ok(vec![Item::Data(View::plain(value, x.dims))])
            }
            (Item::Data(x), constant) | (constant, Item::Data(x)) => {
                match self.number(&constant)? {
                    Some(0.0) => Ok(vec![Item::Data(x)]),
                    Some(3.0) => Ok(vec![self.piece(x, PieceKind::Shifted)]),
                    Some(_) => Err("a number other than 3 is added to a value".into()),
                    None => Err("a constant is added to a value".into()),
                }
            }
            _ => self.refuse_pieces(node),
        }
    }

    fn added(&mut self, node: &Reader<'_>, a: &View, b: &View) -> Result<Item, Fault> {
        if a.dims != b.dims {
            let (a, b) = (self.dims(a), self.dims(b));
            return Err(format!("{a:?} and {b:?} are added; known are values of one size").into());
        }
        if a.is_alike(b) {
            let value = self.add(&node.node.name, Op::Add, &[a.value, b.value])?;
            return Ok(Item::Data(a.of(value)));
        }
        let inputs = [self.value_of(a)?, self.value_of(b)?];
        let value = self.add(&node.node.name, Op::Add, &inputs)?;
        Ok(Item::Data(View::plain(value, a.dims.clone())))
    }

    pub(super) fn product(&mut self, node: &Reader<'_>) -> Items {
        let (a, b) = self.pair_of(node)?;
        match (a, b) {
            (Item::Data(a), Item::Data(b)) => {
                for (x, gate) in [(&a, &b), (&b, &a)] {
                    if let Some(activation) = self.times_itself(x, gate) {
                        return Ok(vec![self.apply(node, x, activation)?]);
                    }
                }
                self.gated(node, &a, &b)
            }
            (Item::Data(x), Item::Piece(piece)) | (Item::Piece(piece), Item::Data(x)) => {
                match piece.kind {
                    PieceKind::Clipped if piece.view == x => {
                        Ok(vec![self.piece(x, PieceKind::Product)])
                    }
                    PieceKind::Expanded => self.gated(node, &x, &piece.view),
                    _ => self.refuse_pieces(node),
                }
            }
            (Item::Piece(piece), constant) | (constant, Item::Piece(piece)) => {
                match self.number(&constant)? {
                    Some(factor) if (factor - 1.0 / 6.0).abs() < SIXTH => self.sixth(node, &piece),
                    _ => self.refuse_pieces(node),
                }
            }
            (Item::Data(x), constant) | (constant, Item::Data(x)) => {
                match self.number(&constant)? {
                    Some(1.0) => Ok(vec![Item::Data(x)]),
                    _ => Err("a value is multiplied with a constant".into()),
                }
            }
            _ => self.refuse_pieces(node),
        }
    }

    pub(super) fn quotient(&mut self, node: &Reader<'_>) -> Items {
        let (a, b) = self.pair_of(node)?;
        match (a, self.number(&b)?) {
            (Item::Data(x), Some(1.0)) => Ok(vec![Item::Data(x)]),
            (Item::Piece(piece), Some(6.0)) => self.sixth(node, &piece),
            (Item::Piece(_), _) => self.refuse_pieces(node),
            _ => Err("known only as the end of a hard-swish or hard-sigmoid, by 6".into()),
        }
    }

    /// A piece divided by 6.
    fn sixth(&mut self, node: &Reader<'_>, piece: &Piece) -> Items {
        let activation = match piece.kind {
            PieceKind::Clipped => Activation::HardSigmoid,
            PieceKind::Product => Activation::HardSwish,
            _ => return self.refuse_pieces(node),
        };
        Ok(vec![self.apply(node, &piece.view, activation)?])
    }

    /// The activation that x times `gate` is, if that is a function of x alone.
    fn times_itself(&self, x: &View, gate: &View) -> Option<Activation> {
        let node = &self.graph.nodes()[gate.value.index()];
        if node.inputs != [x.value] || !gate.is_alike(x) {
            return None;
        }
        match node.op {
            Op::Activation(Activation::Sigmoid) => Some(Activation::Silu),
            Op::Activation(Activation::HardSigmoid) => Some(Activation::HardSwish),
            _ => None,
        }
    }

    /// A map times one number a channel.
    fn gated(&mut self, node: &Reader<'_>, a: &View, b: &View) -> Items {
        let is_gate = |x: &View, gate: &View| {
            let same = x.dims.first() == gate.dims.first() && x.dims.len() == gate.dims.len();
            same && gate.dims.iter().skip(1).all(|dim| *dim == 1)
        };
        let (x, gate) = match (is_gate(a, b), is_gate(b, a)) {
            (true, _) => (a, b),
            (false, true) => (b, a),
            _ => {
                let (a, b) = (self.dims(a), self.dims(b));
                let reason = format!("{a:?} times {b:?}; known is a map times a number a channel");
                return Err(reason.into());
            }
        };
        let inputs = [self.value_of(x)?, self.value_of(gate)?];
        let value = self.add(&node.node.name, Op::Gate, &inputs)?;
        Ok(vec![Item::Data(View::plain(value, x.dims.clone()))])
    }

    /// Both inputs of a node.
    fn pair_of(&self, node: &Reader<'_>) -> Result<(Item, Item), Fault> {
        match &node.node.inputs[..] {
            [a, b] => match (self.item(a), self.item(b)) {
                (Some(a), Some(b)) => Ok((a, b)),
                _ => Err("needs two inputs".into()),
            },
            _ => Err("needs two inputs".into()),
        }
    }

    /// The only number, or the one that all of them are, of a constant; `None` for other items.
    fn number(&self, item: &Item) -> Result<Option<f64>, Fault> {
        Ok(match item {
            Item::Constant(constant) => constant.as_uniform(),
            Item::Stored(stored) if product(&stored.dims) == 1 => {
                let constant = self.tensors.constant(stored.tensor)?;
                constant.as_ref().and_then(Constant::as_number)
            }
            _ => None,
        })
    }

    fn refuse_pieces(&self, node: &Reader<'_>) -> Items {
        for name in &node.node.inputs {
            self.view(name)?;
        }
        Err("such values are not known together".into())
    }

    /// A value whose node gets another operation.
    pub(super) fn replace(&mut self, value: Value, op: Op) -> Result<Value, Fault> {
        let node = self.graph.nodes()[value.index()].clone();
        self.add(&node.name, op, &node.inputs)
    }
}

/// Whether a stored tensor has one number for each channel of a value, and lies along it.
fn is_per_channel(stored: &Stored, x: &View) -> bool {
    let Some(channels) = x.dims.first() else {
        return false;
    };
    // The batch is the first dimension of the value.
    let mut wanted = vec![1; x.dims.len() + 1];
    wanted[1] = *channels;
    let own = &stored.dims;
    wanted.ends_with(own) && product(own) == *channels
}
