//! How the engine keeps a tensor: filters so that the channels of one pixel's result are side by
//! side, all else as it is.

use crate::net::{Graph, Kind, Op};

use crate::cpu::kernels::convolution::Filters;
use crate::cpu::kernels::grouped::Narrow;
use crate::cpu::kernels::lines::Lines;

/// A tensor with what training keeps of it, all in one layout.
#[derive(Debug, Default)]
pub(in crate::cpu) struct Parameter {
    layout: Layout,
    /// Numbers in the state dict, which has no padding.
    len: usize,
    /// Empty for a count.
    pub(in crate::cpu) value: Lines,
    /// Empty for what is not trained; so are the slots.
    pub(in crate::cpu) gradient: Lines,
    pub(in crate::cpu) slots: [Lines; 2],
    /// Empty before there is one.
    pub(in crate::cpu) average: Lines,
    pub(in crate::cpu) count: u64,
    pub(in crate::cpu) average_count: u64,
}

/// Where the number at [out][in][tap] of the state dict is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
enum Layout {
    #[default]
    AsItIs,
    Filters(Filters),
    Narrow(Narrow),
}

impl Layout {
    /// Numbers kept.
    fn len(self, len: usize) -> usize {
        match self {
            Layout::Filters(filters) => filters.len(),
            Layout::Narrow(filters) => filters.len(),
            Layout::AsItIs => len,
        }
    }

    /// Where the number at `at` in the state dict is kept.
    fn place(self, at: usize) -> usize {
        match self {
            Layout::AsItIs => at,
            Layout::Filters(filters) => filters.place(at),
            Layout::Narrow(filters) => filters.place(at),
        }
    }
}

impl Parameter {
    /// All tensors of a graph, 0.
    ///
    /// # Errors
    /// The name of a tensor that two nodes use in different ways.
    pub(in crate::cpu) fn all(graph: &Graph) -> Result<Vec<Parameter>, String> {
        let mut layouts: Vec<Option<Layout>> = vec![None; graph.tensors().len()];
        for node in graph.nodes() {
            for id in node.op.tensors() {
                let shape = &graph.tensor(id).shape;
                let layout = match &node.op {
                    Op::Convolution { weight, groups, .. } if id == *weight => {
                        let filters = Filters {
                            groups: *groups,
                            kernel: shape[2] * shape[3],
                            from: shape[1],
                            to: shape[0] / groups,
                        };
                        match Narrow::of(&filters) {
                            Some(narrow) => Layout::Narrow(narrow),
                            None => Layout::Filters(filters),
                        }
                    }
                    Op::Linear { weight, .. } if id == *weight => Layout::Filters(Filters {
                        groups: 1,
                        kernel: 1,
                        from: shape[1],
                        to: shape[0],
                    }),
                    _ => Layout::AsItIs,
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
            let zeros = |wanted| match wanted {
                true => Lines::new(layout.len(spec.len())),
                false => Lines::default(),
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

    /// Puts kept numbers in the order of the state dict.
    pub(in crate::cpu) fn give(&self, kept: &[f32], into: &mut Vec<f64>) {
        if !kept.is_empty() {
            into.extend((0..self.len).map(|at| f64::from(kept[self.layout.place(at)])));
        }
    }

    /// Puts the numbers of a state dict where they are kept.
    pub(in crate::cpu) fn take(
        &mut self,
        values: &[f64],
        part: impl FnOnce(&mut Self) -> &mut Lines,
    ) {
        let (layout, len) = (self.layout, self.layout.len(self.len));
        let kept = part(self);
        kept.reset(len);
        for (at, value) in values.iter().enumerate() {
            kept[layout.place(at)] = *value as f32;
        }
    }

    pub(in crate::cpu) fn value(&mut self) -> &mut Lines {
        &mut self.value
    }

    pub(in crate::cpu) fn gradient(&mut self) -> &mut Lines {
        &mut self.gradient
    }
}
