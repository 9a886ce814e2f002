//! Convolution, BatchNorm and linear layers.

use super::constant::product;
use super::import::Import;
use super::item::{Fault, Item, Items, PieceKind};
use super::node::Reader;
use super::parameters::{layer, uniform};
use super::view::View;
use crate::net::Shape;
use crate::net::Value;
use crate::net::{Init, Kind, TensorId};
use crate::net::{Op, Window};

impl Import<'_> {
    pub(super) fn convolution(&mut self, node: &Reader<'_>) -> Items {
        let (x, padding) = self.padded_input(node)?;
        let shape = self.graph.shape(x);
        let weight_name = node.node.inputs.get(1).cloned().unwrap_or_default();
        let dims = match self.item(&weight_name) {
            Some(Item::Stored(stored)) => stored.dims,
            _ => vec![0; 4],
        };
        let [out, _, height, width] = dims[..] else {
            return Err(
                format!("its weight is {dims:?}; convolutions here have two dimensions").into(),
            );
        };
        let fan_in = product(&dims[1..]);
        let weight = self.parameter(node, 1, ("weight", &dims, uniform(fan_in)))?;
        let weight = weight.ok_or("has no weight")?;
        let bias = self.bias(node, 2, out, fan_in)?;
        let kernel = match node.list("kernel_shape")? {
            None => (height, width),
            Some(_) => node.pair("kernel_shape", 1)?,
        };
        if kernel != (height, width) {
            return Err(format!("a kernel of {kernel:?} and a weight of {dims:?}").into());
        }
        let groups = usize::try_from(node.int("group", 1)?).unwrap_or(0);
        let mut window = self.window(node, kernel, shape)?;
        window.before = plus(window.before, padding.0);
        window.after = plus(window.after, padding.1);
        let op = Op::Convolution {
            weight,
            bias,
            window,
            groups,
        };
        let name = layer(&self.graph.tensor(weight).name).to_owned();
        let value = self.add(&name, op, &[x])?;
        Ok(vec![self.map(value)])
    }

    /// The bias at input `at`: a stored one, or none where it is known to be 0.
    fn bias(
        &mut self,
        node: &Reader<'_>,
        at: usize,
        out: usize,
        fan_in: usize,
    ) -> Result<Option<TensorId>, Fault> {
        let name = node.node.inputs.get(at).map_or("", |name| name);
        if let Some(Item::Constant(constant)) = self.item(name)
            && constant.as_uniform() == Some(0.0)
        {
            return Ok(None);
        }
        self.parameter(node, at, ("bias", &[out], uniform(fan_in)))
    }

    /// The value at input 0, and zeros around it that an operator before this one asks for.
    pub(super) fn padded_input(&mut self, node: &Reader<'_>) -> Result<(Value, Padding), Fault> {
        let name = node.node.inputs.first().map_or("", |name| name);
        if let Some(Item::Piece(piece)) = self.item(name)
            && let PieceKind::Padded(before, after) = piece.kind
        {
            return Ok((self.value_of(&piece.view)?, (before, after)));
        }
        let (value, _) = self.input_value(node, 0)?;
        Ok((value, ((0, 0), (0, 0))))
    }

    /// Where a convolution or pooling looks.
    pub(super) fn window(
        &self,
        node: &Reader<'_>,
        kernel: (usize, usize),
        shape: Shape,
    ) -> Result<Window, Fault> {
        let (stride, dilation) = (node.pair("strides", 1)?, node.pair("dilations", 1)?);
        let pads: Vec<usize> = match node.list("pads")? {
            None => vec![0; 4],
            Some(list) => {
                let sizes = list.iter().map(|pad| usize::try_from(*pad));
                let sizes: Result<Vec<usize>, _> = sizes.collect();
                sizes.map_err(|_| format!("pads of {list:?}"))?
            }
        };
        let [top, left, bottom, right] = pads[..] else {
            return Err(format!("pads of {pads:?}").into());
        };
        let mut window = Window {
            kernel,
            stride,
            before: (top, left),
            after: (bottom, right),
            dilation,
            ceil: node.int("ceil_mode", 0)? != 0,
        };
        let same = |upper: bool, size: usize, pick: fn((usize, usize)) -> usize| {
            let (kernel, stride, dilation) = (pick(kernel), pick(stride), pick(dilation));
            let reach = dilation
                .saturating_mul(kernel.saturating_sub(1))
                .saturating_add(1);
            let outputs = size.div_ceil(stride.max(1));
            let needed = outputs
                .saturating_sub(1)
                .saturating_mul(stride)
                .saturating_add(reach);
            let all = needed.saturating_sub(size);
            let (less, more) = (all / 2, all - all / 2);
            if upper { (less, more) } else { (more, less) }
        };
        match &node.text("auto_pad", "NOTSET")?[..] {
            "NOTSET" | "" => {}
            "VALID" => (window.before, window.after) = ((0, 0), (0, 0)),
            mode @ ("SAME_UPPER" | "SAME_LOWER") => {
                let upper = mode == "SAME_UPPER";
                let rows = same(upper, shape.height, |p| p.0);
                let columns = same(upper, shape.width, |p| p.1);
                window.before = (rows.0, columns.0);
                window.after = (rows.1, columns.1);
            }
            mode => return Err(format!("auto_pad {mode} is not known").into()),
        }
        Ok(window)
    }

    pub(super) fn batch_norm(&mut self, node: &Reader<'_>) -> Items {
        if node.int("spatial", 1)? != 1 {
            return Err("it normalises each pixel by itself (spatial 0)".into());
        }
        if node
            .node
            .outputs
            .iter()
            .skip(1)
            .any(|name| self.is_used(name))
        {
            return Err("its other outputs are used".into());
        }
        self.in_training |= node.int("training_mode", 0)? != 0;
        let (x, shape) = self.input_value(node, 0)?;
        let channels = [shape.channels];
        let one = |value| Kind::Parameter(Init::Constant(value));
        let parts = [
            ("γ", one(1.0)),
            ("β", one(0.0)),
            ("running mean", Kind::RunningMean),
            ("running variance", Kind::RunningVariance),
        ];
        let mut ids = Vec::new();
        for (at, (what, kind)) in parts.iter().enumerate() {
            let id = self.parameter(node, at + 1, (what, &channels, *kind))?;
            ids.push(id.ok_or_else(|| format!("has no {what}"))?);
        }
        let all = [ids[0], ids[1], ids[2], ids[3]];
        for (second, what) in parts.iter().enumerate().map(|(at, part)| (at, part.0)) {
            if let Some(first) = all[..second].iter().position(|id| *id == all[second]) {
                return Err(format!(
                    "its {} and its {what} are one tensor: the exporter kept one of several equal \
                     tensors; dynamo=True, optimize=False does not",
                    parts[first].0
                )
                .into());
            }
        }
        let mut others = self.parameters.norms.iter();
        let shares = |other: &&([_; 4], String)| {
            other.0 != all && other.0.iter().zip(&all).any(|(a, b)| a == b)
        };
        if let Some((_, other)) = others.find(shares) {
            return Err(format!(
                "it shares some tensors with {other} and not the others: the exporter kept one of \
                 several equal tensors; dynamo=True, optimize=False does not"
            )
            .into());
        }
        self.parameters.norms.push((all, node.node.name.clone()));
        let op = Op::BatchNorm {
            gamma: all[0],
            beta: all[1],
            mean: all[2],
            variance: all[3],
            batches: None,
            epsilon: node.float("epsilon", 1e-5)?,
            // PyTorch's is the share of the batch, ONNX's that of what was there.
            momentum: 1.0 - node.float("momentum", 0.9)?,
        };
        let name = layer(&self.graph.tensor(all[0]).name).to_owned();
        let value = self.add(&name, op, &[x])?;
        let view = self.input(node, 0)?;
        Ok(self.with_unused(node, Item::Data(View::plain(value, view.dims))))
    }

    pub(super) fn gemm(&mut self, node: &Reader<'_>) -> Items {
        let plain = node.float("alpha", 1.0)? == 1.0
            && node.float("beta", 1.0)? == 1.0
            && node.int("transA", 0)? == 0;
        if !plain {
            return Err("alpha and beta other than 1, or transA".into());
        }
        let turned = node.int("transB", 0)? == 0;
        let (value, out, fan_in) = self.linear(node, turned)?;
        if node.node.inputs.get(2).is_none_or(String::is_empty) {
            return Ok(vec![Item::Data(View::plain(value, vec![out]))]);
        }
        let bias = self.bias(node, 2, out, fan_in)?;
        let value = match bias {
            Some(bias) => self.with_bias(value, bias)?,
            None => value,
        };
        Ok(vec![Item::Data(View::plain(value, vec![out]))])
    }

    pub(super) fn matmul(&mut self, node: &Reader<'_>) -> Items {
        let (value, out, _) = self.linear(node, true)?;
        Ok(vec![Item::Data(View::plain(value, vec![out]))])
    }

    /// A linear layer without bias, whose weight in the file is [in, out] where it is `turned`; its
    /// outputs and inputs.
    fn linear(&mut self, node: &Reader<'_>, turned: bool) -> Result<(Value, usize, usize), Fault> {
        let view = self.input(node, 0)?;
        if view.dims.len() != 1 {
            let rank = view.dims.len() + 1;
            return Err(
                format!("a matrix is multiplied with a value of {rank} dimensions, not 2").into(),
            );
        }
        let x = self.value_of(&view)?;
        let name = node.node.inputs.get(1).map_or("", |name| name);
        let Some(Item::Stored(mut stored)) = self.item(name) else {
            return Err(format!("its matrix {name} is not stored, but computed").into());
        };
        if stored.dims.len() != 2 {
            return Err(format!("its matrix {name} is {:?}", stored.dims).into());
        }
        // The graph has [out, in].
        if turned {
            stored.dims.reverse();
            stored.transposed = !stored.transposed;
        }
        let (out, fan_in) = (stored.dims[0], stored.dims[1]);
        let dims = stored.dims.clone();
        let weight = self.stored_parameter(&stored, ("weight", &dims, uniform(fan_in)))?;
        let name = layer(&self.graph.tensor(weight).name).to_owned();
        let op = Op::Linear { weight, bias: None };
        Ok((self.add(&name, op, &[x])?, out, fan_in))
    }

    /// A layer's value with a bias that it did not have.
    pub(super) fn with_bias(&mut self, value: Value, new: TensorId) -> Result<Value, Fault> {
        let node = self.graph.nodes()[value.index()].clone();
        let mut op = node.op;
        match &mut op {
            Op::Linear { bias, .. } | Op::Convolution { bias, .. } if bias.is_none() => {
                *bias = Some(new);
            }
            _ => return Err("a stored tensor is added to what is no layer without a bias".into()),
        }
        self.replace(value, op)
    }

    /// A value as ONNX has it after a layer on maps.
    pub(super) fn map(&self, value: Value) -> Item {
        let shape = self.graph.shape(value);
        Item::Data(View::plain(
            value,
            vec![shape.channels, shape.height, shape.width],
        ))
    }

    /// The items of a node whose outputs after the first are not used.
    pub(super) fn with_unused(&self, node: &Reader<'_>, first: Item) -> Vec<Item> {
        let rest = node.node.outputs.iter().skip(1).map(|_| Item::Unknown);
        std::iter::once(first).chain(rest).collect()
    }
}

/// Rows and columns of zeros before and after.
pub(super) type Padding = ((usize, usize), (usize, usize));

fn plus(a: (usize, usize), b: (usize, usize)) -> (usize, usize) {
    (a.0.saturating_add(b.0), a.1.saturating_add(b.1))
}
