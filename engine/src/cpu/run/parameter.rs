//! A tensor of the network as the engine stores it: filters packed for the kernels, all others as in the state dict.

use crate::net::{Graph, Kind, Op};

use crate::cpu::kernels::aligned_buffer::AlignedBuffer;
use crate::cpu::kernels::convolution::FilterLayout;
use crate::cpu::kernels::grouped::GroupedFilterLayout;

/// A tensor, its gradient, optimizer slots and average, all in one memory layout.
#[derive(Debug, Default)]
pub(in crate::cpu) struct Parameter {
    layout: Layout,
    /// Elements in the state dict, which has no padding.
    len: usize,
    /// Empty for a batch count, which is in `count`.
    pub(in crate::cpu) value: AlignedBuffer,
    /// Empty for tensors that are not trained.
    pub(in crate::cpu) gradient: AlignedBuffer,
    /// Optimizer state; empty before the first update.
    pub(in crate::cpu) slots: [AlignedBuffer; 2],
    /// The exponential moving average; empty before it begins.
    pub(in crate::cpu) average: AlignedBuffer,
    pub(in crate::cpu) count: u64,
    pub(in crate::cpu) average_count: u64,
}

/// The memory layout of a tensor.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
enum Layout {
    #[default]
    StateDict,
    Filters(FilterLayout),
    GroupedFilters(GroupedFilterLayout),
}

impl Layout {
    /// Elements of a tensor that has `len` elements in the state dict.
    fn len(self, len: usize) -> usize {
        match self {
            Layout::Filters(filters) => filters.len(),
            Layout::GroupedFilters(filters) => filters.len(),
            Layout::StateDict => len,
        }
    }

    /// The index of element `at` of the state dict.
    fn index(self, at: usize) -> usize {
        match self {
            Layout::StateDict => at,
            Layout::Filters(filters) => filters.index(at),
            Layout::GroupedFilters(filters) => filters.index(at),
        }
    }
}

impl Parameter {
    /// All tensors of a graph, set to 0.
    ///
    /// # Errors
    /// The name of a tensor that two nodes need in different layouts.
    pub(in crate::cpu) fn all(graph: &Graph) -> Result<Vec<Parameter>, String> {
        let mut layouts: Vec<Option<Layout>> = vec![None; graph.tensors().len()];
        for node in graph.nodes() {
            for id in node.op.tensors() {
                let shape = &graph.tensor(id).shape;
                let layout = match &node.op {
                    Op::Convolution { weight, groups, .. } if id == *weight => {
                        let filters = FilterLayout {
                            groups: *groups,
                            taps: shape[2] * shape[3],
                            in_channels: shape[1],
                            out_channels: shape[0] / groups,
                        };
                        match GroupedFilterLayout::of(&filters) {
                            Some(grouped) => Layout::GroupedFilters(grouped),
                            None => Layout::Filters(filters),
                        }
                    }
                    Op::Linear { weight, .. } if id == *weight => Layout::Filters(FilterLayout {
                        groups: 1,
                        taps: 1,
                        in_channels: shape[1],
                        out_channels: shape[0],
                    }),
                    _ => Layout::StateDict,
                };
                match layouts[id.index()] {
                    Some(other) if other != layout => {
                        return Err(graph.tensor(id).name.clone());
                    }
                    _ => layouts[id.index()] = Some(layout),
                }
            }
        }
        let parameter = |(spec, layout): (&crate::net::TensorSpec, Option<Layout>)| {
            let layout = layout.unwrap_or_default();
            let zeros = |wanted| {
                if wanted {
                    AlignedBuffer::new(layout.len(spec.len()))
                } else {
                    AlignedBuffer::default()
                }
            };
            Parameter {
                layout,
                len: spec.len(),
                value: zeros(spec.kind != Kind::BatchCount),
                gradient: zeros(spec.is_parameter()),
                ..Parameter::default()
            }
        };
        Ok(graph.tensors().iter().zip(layouts).map(parameter).collect())
    }

    /// Appends `stored`, a part of this parameter, in the order of the state dict; nothing if it is empty.
    pub(in crate::cpu) fn give(&self, stored: &[f32], into: &mut Vec<f64>) {
        if !stored.is_empty() {
            into.extend((0..self.len).map(|at| f64::from(stored[self.layout.index(at)])));
        }
    }

    /// Stores values in the order of the state dict in a part of this parameter; padding becomes 0.
    pub(in crate::cpu) fn take(
        &mut self,
        values: &[f64],
        part: impl FnOnce(&mut Self) -> &mut AlignedBuffer,
    ) {
        let (layout, len) = (self.layout, self.layout.len(self.len));
        let kept = part(self);
        kept.reset(len);
        for (at, value) in values.iter().enumerate() {
            kept[layout.index(at)] = *value as f32;
        }
    }

    pub(in crate::cpu) fn value(&mut self) -> &mut AlignedBuffer {
        &mut self.value
    }

    pub(in crate::cpu) fn gradient(&mut self) -> &mut AlignedBuffer {
        &mut self.gradient
    }
}
