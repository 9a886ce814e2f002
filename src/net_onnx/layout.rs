//! What moves numbers and computes none: other dimensions, another order, parts and joints.

use super::import::Import;
use super::item::{Fault, Item, Items, Piece, PieceKind};
use super::node::Reader;
use super::view::View;
use crate::net::{Op, Window};

/// Parts that a value is cut into.
const MAX_PARTS: usize = 1 << 12;

impl Import<'_> {
    pub(super) fn same(&mut self, node: &Reader<'_>) -> Items {
        if node.operator() == "Cast" && !matches!(node.int("to", 1)?, 1 | 10 | 11 | 16) {
            return Err("a value becomes a number that is no float".into());
        }
        let name = node.node.inputs.first().map_or("", |name| name);
        match self.item(name) {
            Some(item @ (Item::Data(_) | Item::Piece(_) | Item::Sequence(_))) => Ok(vec![item]),
            _ => Ok(vec![Item::Data(self.view(name)?)]),
        }
    }

    pub(super) fn dropout(&mut self, node: &Reader<'_>) -> Items {
        let view = self.input(node, 0)?;
        if node
            .node
            .outputs
            .iter()
            .skip(1)
            .any(|name| self.is_used(name))
        {
            return Err("its mask is used".into());
        }
        let p = match self.input_constant(node, 1)? {
            Some(ratio) => ratio.as_number().ok_or("a ratio that is no number")?,
            None => node.float("ratio", 0.5)?,
        };
        // The number that was meant, as of an attribute.
        let p = (p as f32).to_string().parse().unwrap_or(p);
        if p == 0.0 {
            return Ok(self.with_unused(node, Item::Data(view)));
        }
        let value = self.add(&node.node.name, Op::Dropout { p }, &[view.value])?;
        Ok(self.with_unused(node, Item::Data(view.of(value))))
    }

    pub(super) fn reshape(&mut self, node: &Reader<'_>) -> Items {
        let view = self.input(node, 0)?;
        let second = self.input_constant(node, 1)?;
        let own = self.dims(&view);
        let dims = super::operators::moved_dims(node, &own, second.as_ref())?;
        let view = match dims.split_first() {
            Some((batch, rest)) if *batch == self.batch => view.reshaped(rest.to_vec()),
            _ => {
                return Err(
                    format!("{own:?} becomes {dims:?}, in which the batch is not first").into(),
                );
            }
        };
        Ok(vec![Item::Data(self.kept(view))])
    }

    pub(super) fn transpose(&mut self, node: &Reader<'_>) -> Items {
        let view = self.input(node, 0)?;
        let order = node.order(view.dims.len() + 1)?;
        if order.first() != Some(&0) {
            return Err("it moves the batch".into());
        }
        let order: Vec<usize> = order[1..].iter().map(|at| at - 1).collect();
        let view = view
            .transposed(&order)
            .ok_or("the order of its dimensions cannot be followed")?;
        Ok(vec![Item::Data(self.kept(view))])
    }

    /// One number a channel, repeated over a map; or what changes nothing.
    pub(super) fn expand(&mut self, node: &Reader<'_>) -> Items {
        let view = self.input(node, 0)?;
        let target = self.input_constant(node, 1)?.ok_or("has no target")?;
        let own = self.dims(&view);
        let sizes = super::fold::ints(&target)?.iter();
        let sizes: Option<Vec<usize>> = sizes.map(|size| usize::try_from(*size).ok()).collect();
        let sizes = sizes.ok_or("a size below 0")?;
        let dims = super::constant::broadcast(&own, &sizes)?;
        if dims == own {
            return Ok(vec![Item::Data(view)]);
        }
        let gate = matches!(view.dims[..], [_, 1, 1]);
        if !gate || dims[..2] != own[..2] || dims.len() != own.len() {
            return Err(format!(
                "{own:?} becomes {dims:?}; known is a number a channel over a map"
            )
            .into());
        }
        let (kind, by) = (PieceKind::Expanded, self.at);
        Ok(vec![Item::Piece(Piece { view, kind, by })])
    }

    /// Zeros around rows and columns belong to the layer behind; zeros as channels are a step.
    pub(super) fn pad(&mut self, node: &Reader<'_>) -> Items {
        let view = self.input(node, 0)?;
        let value = self.value_of(&view)?;
        let mode = node.text("mode", "constant")?;
        if mode != "constant" {
            return Err(format!("mode {mode}; known is constant").into());
        }
        let pads = match self.input_constant(node, 1)? {
            Some(pads) => super::fold::ints(&pads)?.to_vec(),
            None => node.list("pads")?.ok_or("has no pads")?.to_vec(),
        };
        let filling = match self.input_constant(node, 2)? {
            Some(filling) => filling.as_number().ok_or("a filling that is no number")?,
            None => node.float("value", 0.0)?,
        };
        let rank = view.dims.len() + 1;
        let mut all = vec![(0, 0); rank];
        let axes: Vec<usize> = match self.input_constant(node, 3)? {
            Some(axes) => {
                let axes = super::fold::ints(&axes)?.iter();
                axes.map(|at| super::fold::axis(*at, rank))
                    .collect::<Result<_, _>>()?
            }
            None => (0..rank).collect(),
        };
        if pads.len() != 2 * axes.len() {
            return Err(format!("{} pads for {} axes", pads.len(), axes.len()).into());
        }
        for (number, at) in axes.iter().enumerate() {
            let size = |pad: i64| usize::try_from(pad).map_err(|_| format!("a pad of {pad}"));
            all[*at] = (size(pads[number])?, size(pads[axes.len() + number])?);
        }
        if all.iter().all(|pad| *pad == (0, 0)) {
            return Ok(vec![Item::Data(view)]);
        }
        if filling != 0.0 || all[0] != (0, 0) || rank == 3 {
            return Err("known are zeros around rows, columns and channels".into());
        }
        let channels = all.get(1).copied().unwrap_or((0, 0));
        let value = match channels {
            (0, 0) => value,
            (before, after) => {
                let op = Op::PadChannels { before, after };
                self.add(&node.node.name, op, &[value])?
            }
        };
        if all[2..].iter().all(|pad| *pad == (0, 0)) {
            let shape = self.graph.shape(value);
            let mut dims = view.dims.clone();
            dims[0] = shape.channels;
            return Ok(vec![Item::Data(View::plain(value, dims))]);
        }
        let Item::Data(view) = self.map(value) else {
            return Err(Fault::Behind);
        };
        let kind = PieceKind::Padded((all[2].0, all[3].0), (all[2].1, all[3].1));
        let by = self.at;
        Ok(vec![Item::Piece(Piece { view, kind, by })])
    }

    pub(super) fn concat(&mut self, node: &Reader<'_>) -> Items {
        let mut views = Vec::new();
        for at in 0..node.node.inputs.len() {
            views.push(self.input(node, at)?);
        }
        let first = views.first().ok_or("needs inputs")?.dims.clone();
        let at = super::fold::axis(node.int("axis", 1)?, first.len() + 1)?;
        if at != 1 {
            return Err("it joins along another dimension than the channels".into());
        }
        if let [only] = &views[..] {
            return Ok(vec![Item::Data(only.clone())]);
        }
        let values = views.iter().map(|view| self.value_of(view));
        let values: Vec<_> = values.collect::<Result<_, _>>()?;
        let value = self.add(&node.node.name, Op::Concat, &values)?;
        let mut dims = first;
        dims[0] = self.graph.shape(value).channels;
        Ok(vec![Item::Data(View::plain(value, dims))])
    }

    /// Parts of the channels, one after the other.
    pub(super) fn split(&mut self, node: &Reader<'_>) -> Items {
        let sequence = node.operator() == "SplitToSequence";
        let view = self.input(node, 0)?;
        let default = 0;
        let at = super::fold::axis(node.int("axis", default)?, view.dims.len() + 1)?;
        if at != 1 {
            return Err("it parts another dimension than the channels".into());
        }
        if sequence && node.int("keepdims", 1)? == 0 {
            return Err("keepdims 0".into());
        }
        let channels = view.dims[0];
        let given = match self.input_constant(node, 1)? {
            Some(sizes) => Some((super::fold::ints(&sizes)?.to_vec(), sizes.dims.is_empty())),
            None => node.list("split")?.map(|list| (list.to_vec(), false)),
        };
        let equal = |size: usize| -> Vec<usize> {
            let whole = (channels / size.max(1)).min(MAX_PARTS);
            let rest = channels - whole.saturating_mul(size).min(channels);
            let sizes = std::iter::repeat_n(size, whole);
            sizes.chain((rest > 0).then_some(rest)).collect()
        };
        let sizes: Vec<usize> = match given {
            // A scalar is the size of each part.
            Some((sizes, true)) if sequence => match usize::try_from(sizes[0]) {
                Ok(size @ 1..) => equal(size),
                _ => return Err("parts of no channels".into()),
            },
            Some((sizes, _)) => {
                let sizes = sizes.iter().map(|size| usize::try_from(*size).ok());
                sizes.collect::<Option<_>>().ok_or("parts below 0")?
            }
            None if sequence => return Err("parts of one channel each".into()),
            None => equal(channels.div_ceil(node.node.outputs.len().max(1))),
        };
        let all = sizes
            .iter()
            .try_fold(0, |sum: usize, size| sum.checked_add(*size));
        if all != Some(channels) || sizes.contains(&0) {
            return Err(format!("parts of {sizes:?} of {channels} channels").into());
        }
        if !sequence && sizes.len() != node.node.outputs.len() {
            return Err(
                format!("{} parts, {} outputs", sizes.len(), node.node.outputs.len()).into(),
            );
        }
        let mut start = 0;
        let mut items = Vec::new();
        for len in sizes {
            items.push(self.channels(node, &view, start, len)?);
            start += len;
        }
        Ok(if sequence {
            vec![Item::Sequence(items)]
        } else {
            items
        })
    }

    fn channels(
        &mut self,
        node: &Reader<'_>,
        view: &View,
        start: usize,
        len: usize,
    ) -> Result<Item, Fault> {
        if len == view.dims[0] {
            return Ok(Item::Data(view.clone()));
        }
        let x = self.value_of(view)?;
        let value = self.add(&node.node.name, Op::Slice { start, len }, &[x])?;
        let mut dims = view.dims.clone();
        dims[0] = len;
        Ok(Item::Data(View::plain(value, dims)))
    }

    pub(super) fn sequence_at(&mut self, node: &Reader<'_>) -> Items {
        let name = node.node.inputs.first().map_or("", |name| name);
        let Some(Item::Sequence(items)) = self.item(name) else {
            return Err(format!("{name} is no list of values").into());
        };
        let at = self.input_constant(node, 1)?.ok_or("has no position")?;
        let at = at.as_number().ok_or("a position that is no number")? as i64;
        let at = super::fold::axis(at, items.len())?;
        Ok(vec![items[at].clone()])
    }

    /// Channels from one on, or every n-th row and column.
    pub(super) fn slice(&mut self, node: &Reader<'_>) -> Items {
        let mut view = self.input(node, 0)?;
        let mut inputs = vec![None];
        for at in 1..node.node.inputs.len() {
            inputs.push(self.input_constant(node, at)?);
        }
        let given: Vec<_> = inputs.iter().map(Option::as_ref).collect();
        let dims = self.dims(&view);
        let mut stride = (1, 1);
        for cut in node.cuts(&given, &dims)? {
            let (start, len, step) = cut.resolve(dims[cut.axis]);
            if (start, len, step) == (0, dims[cut.axis], 1) {
                continue;
            }
            let whole = start == 0 && step > 1 && len == dims[cut.axis].div_ceil(step as usize);
            match cut.axis {
                1 if step == 1 && len > 0 => match self.channels(node, &view, start, len)? {
                    Item::Data(part) => view = part,
                    other => return Ok(vec![other]),
                },
                2 if whole && dims.len() == 4 => stride.0 = step as usize,
                3 if whole && dims.len() == 4 => stride.1 = step as usize,
                axis => {
                    let reason = format!(
                        "elements {start} to {} of {} along dimension {axis}; known are channels, \
                         and every n-th row or column",
                        start + len,
                        dims[axis]
                    );
                    return Err(reason.into());
                }
            }
        }
        if stride != (1, 1) {
            let x = self.value_of(&view)?;
            // Of windows of one pixel.
            let op = Op::AveragePool {
                window: Window {
                    stride,
                    ..Window::square(1)
                },
                count_padding: true,
            };
            let value = self.add(&node.node.name, op, &[x])?;
            return Ok(vec![self.map(value)]);
        }
        Ok(vec![Item::Data(view)])
    }
}
