//! Pooling, means and resizing.

use super::import::Import;
use super::item::{Item, Items};
use super::node::Reader;
use super::view::View;
use crate::net::{Op, Window};

impl Import<'_> {
    pub(super) fn pool(&mut self, node: &Reader<'_>) -> Items {
        let (x, padding) = self.padded_input(node)?;
        let shape = self.graph.shape(x);
        if node.list("kernel_shape")?.is_none() {
            return Err("has no kernel_shape".into());
        }
        let kernel = node.pair("kernel_shape", 1)?;
        let mut window = self.window(node, kernel, shape)?;
        let is_padded = padding != ((0, 0), (0, 0));
        let op = match node.operator() {
            "MaxPool" => {
                if node
                    .node
                    .outputs
                    .iter()
                    .skip(1)
                    .any(|name| self.is_used(name))
                {
                    return Err("its indices are used".into());
                }
                if is_padded {
                    return Err("zeros around its input would count".into());
                }
                Op::MaxPool(window)
            }
            _ => {
                let mut count_padding = node.int("count_include_pad", 0)? != 0;
                if is_padded {
                    if (window.before, window.after) != ((0, 0), (0, 0)) || window.ceil {
                        return Err("zeros around its input, and padding of its own".into());
                    }
                    (window.before, window.after) = padding;
                    count_padding = true;
                }
                Op::AveragePool {
                    window,
                    count_padding,
                }
            }
        };
        let value = self.add(&node.node.name, op, &[x])?;
        let map = self.map(value);
        Ok(self.with_unused(node, map))
    }

    pub(super) fn global_pool(&mut self, node: &Reader<'_>) -> Items {
        let (x, shape) = self.input_value(node, 0)?;
        let op = match node.operator() {
            "GlobalMaxPool" => Op::MaxPool(Window {
                kernel: (shape.height, shape.width),
                ..Window::square(1)
            }),
            _ => MEAN,
        };
        let value = self.add(&node.node.name, op, &[x])?;
        Ok(vec![self.map(value)])
    }

    /// A mean over rows and columns is global pooling, whatever the layout.
    pub(super) fn mean(&mut self, node: &Reader<'_>) -> Items {
        let view = self.input(node, 0)?;
        let axes = node.axes(self.input_constant(node, 1)?.as_ref())?;
        let rank = view.dims.len() + 1;
        let mut reduced = Vec::new();
        for at in axes.unwrap_or_default() {
            match super::fold::axis(at, rank)? {
                0 => return Err("it takes the mean over the batch".into()),
                at => reduced.push(at - 1),
            }
        }
        let shape = self.graph.shape(view.value);
        if reduced.is_empty() || !view.are_pixels(&reduced, shape) {
            let dims = self.dims(&view);
            let reason =
                format!("the mean over dimensions other than rows and columns of {dims:?}");
            return Err(reason.into());
        }
        let value = self.add(&node.node.name, MEAN, &[view.value])?;
        let keep = node.int("keepdims", 1)? != 0;
        let dims = view.dims.iter().enumerate().filter_map(|(at, dim)| {
            match (reduced.contains(&at), keep) {
                (false, _) => Some(*dim),
                (true, true) => Some(1),
                (true, false) => None,
            }
        });
        Ok(vec![Item::Data(View::plain(value, dims.collect()))])
    }

    pub(super) fn resize(&mut self, node: &Reader<'_>) -> Items {
        let (x, shape) = self.input_value(node, 0)?;
        let mode = node.text("mode", "nearest")?;
        if mode != "linear" {
            return Err(format!("mode {mode}; known is linear").into());
        }
        if node.int("antialias", 0)? != 0 {
            return Err("antialias is not known".into());
        }
        if self.opset < 11 {
            return Err("known from opset 11 on".into());
        }
        let align_corners = match &node.text("coordinate_transformation_mode", "half_pixel")?[..] {
            "align_corners" => true,
            "half_pixel" | "pytorch_half_pixel" => false,
            other => return Err(format!("coordinate_transformation_mode {other}").into()),
        };
        let own = self.dims(&View::plain(
            x,
            vec![shape.channels, shape.height, shape.width],
        ));
        let (scales, sizes) = (self.input_constant(node, 2)?, self.input_constant(node, 3)?);
        let axes = match node.list("axes")? {
            Some(axes) => axes.to_vec(),
            None => vec![0, 1, 2, 3],
        };
        let mut target = own.clone();
        let given = sizes.filter(|sizes| sizes.len() > 0);
        let scales = scales.filter(|scales| scales.len() > 0);
        let wanted = match (&given, &scales) {
            (Some(sizes), _) => sizes.elements.to_floats(),
            (None, Some(scales)) => scales.elements.to_floats(),
            _ => return Err("has neither sizes nor scales".into()),
        };
        if wanted.len() != axes.len() {
            return Err("its sizes or scales are not one for each axis".into());
        }
        for (at, number) in axes.iter().zip(wanted) {
            let at = super::fold::axis(*at, 4)?;
            let size = match given {
                Some(_) => number,
                None => number * own[at] as f64,
            };
            // What is between two sizes would be mapped by the scale, not by the sizes.
            if size.fract() != 0.0 || !(1.0..1e9).contains(&size) {
                return Err(format!("{} times {number} is no whole size", own[at]).into());
            }
            target[at] = size as usize;
        }
        if target[..2] != own[..2] {
            return Err("it resizes batch or channels".into());
        }
        let op = Op::Resize {
            height: target[2],
            width: target[3],
            align_corners,
        };
        let value = self.add(&node.node.name, op, &[x])?;
        Ok(vec![self.map(value)])
    }
}

const MEAN: Op = Op::AdaptiveAveragePool {
    height: 1,
    width: 1,
};
