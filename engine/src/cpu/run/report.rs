//! A description of a plan, for users: its steps, what each fuses, and the memory it takes.

use crate::cpu::Cpu;
use crate::cpu::kernels::layout::{InputLayout, pixel_stride};
use crate::cpu::plan::passes::fused_pointwise::MAX_INPUT_CHANNELS;
use crate::cpu::plan::program::ActionKind;
use crate::cpu::plan::step::{Step, StepKind};
use crate::cpu::run::parameter::Parameter;
use crate::cpu::run::plan::Plan;
use crate::error::Result;
use crate::net::{Graph, Op, Shape, Window};

/// How the engine computes batches of one size: the steps, and the memory of values, gradients, tensors and scratch.
///
/// Bytes count all f32 and f64 arrays of the plan; its small tables are left out.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanReport {
    /// Images in a batch.
    pub images: usize,
    /// Whether it is a plan for training, which runs backward too.
    pub training: bool,
    /// The layout of the images as the first step reads them.
    pub input: PlannedValue,
    /// The steps, in the order of the network. A BatchNorm is computed when its value is first read, which may be in a
    /// later segment.
    pub steps: Vec<PlannedStep>,
    /// The segments of forward, then those of backward.
    pub segments: Vec<PlannedSegment>,
    /// Number of shards that the batch is cut into; each runs a segment on one thread.
    pub tasks: usize,
    /// Number of threads that run shards.
    pub threads: usize,
    /// Bytes of the arena for values and gradients of all images; buffers that are not needed at the same time share
    /// memory.
    pub shared: usize,
    /// Bytes of the arenas for values and gradients of a block of images, of all threads.
    pub blocks: usize,
    /// Bytes that all values and gradients would take, for all images and without sharing.
    pub unshared: usize,
    /// Bytes of the network's tensors as the engine stores them, padding included.
    pub tensors: usize,
    /// Bytes of the parameters' gradients, which an engine holds in evaluation too.
    pub tensor_gradients: usize,
    /// Bytes of one optimizer slot for all parameters, allocated at the first update: SGD with momentum has one, AdamW
    /// two. 0 in evaluation.
    pub slot: usize,
    /// Bytes of scratch memory, sums, prepared filters and BatchNorm coefficients.
    pub scratch: usize,
}

/// A sequence of steps that runs for a block of images before the next block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlannedSegment {
    /// Whether it belongs to backward.
    pub backward: bool,
    /// Images per block.
    pub images: usize,
}

/// Where in memory a value or gradient is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the arena for all images, at this byte offset.
    Behind(usize),
    /// In the arena for blocks: it is used within one segment only.
    Block,
}

/// A step of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedStep {
    /// The node that it computes, or the first one that it fuses, as [`StepTime::node`](crate::cpu::StepTime::node).
    pub node: usize,
    /// The kind of step, such as `convolution`, `winograd`, `norm` or `max pool`.
    pub kind: &'static str,
    /// All nodes that it computes, in their order: indices into [`Graph::nodes`]. Several channel copies may share a
    /// node.
    pub nodes: Vec<usize>,
    /// The nodes whose values it reads.
    pub inputs: Vec<usize>,
    /// The segment that computes it forward: an index into [`PlanReport::segments`].
    pub segment: usize,
    /// Whether backward recomputes the value instead of keeping it.
    pub again: bool,
    /// The value that it computes.
    pub value: PlannedValue,
}

/// A value of a plan, and its memory layout `[images, rows, columns, channels]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlannedValue {
    /// Shape of one image of the value.
    pub shape: Shape,
    /// Rows of an image in memory.
    pub rows: usize,
    /// Pixels of a row.
    pub columns: usize,
    /// Channels of a pixel, padding to whole vectors included.
    pub channels: usize,
    /// Whether rows and columns include the zero padding of the convolution that reads it.
    pub framed: bool,
    /// Bytes of the value for all images, whether or not all are kept.
    pub bytes: usize,
    /// Where it is.
    pub place: Place,
    /// Where its gradient is; `None` if it has none.
    pub gradient: Option<Place>,
}

impl PlanReport {
    /// Bytes in all, with one optimizer slot.
    pub fn total(&self) -> usize {
        self.shared + self.blocks + self.tensors + self.tensor_gradients + self.slot + self.scratch
    }
}

impl Cpu {
    /// Makes the plan for batches of this size, as running one does, and describes it.
    ///
    /// # Errors
    /// No images, or so many that there is not enough memory for their values.
    pub fn plan(&mut self, images: usize, training: bool) -> Result<PlanReport> {
        self.check_size(images)?;
        let at = self.planned(images, training)?;
        Ok(report(&self.graph, &self.parameters, &self.plans[at]))
    }

    /// Checks that there is memory for the values that training keeps at least: the outputs of convolutions that cannot
    /// become fused pointwise ones.
    fn check_size(&self, images: usize) -> Result<()> {
        let nodes = self.graph.nodes();
        let error = |reason| Err(self.graph.error(&nodes[0].name, reason));
        if images == 0 {
            return error("a batch has at least 1 image".to_owned());
        }
        let kept = nodes.iter().filter(|node| match &node.op {
            Op::Convolution { window, .. } => {
                let from = self.graph.shape(node.inputs[0]).channels;
                *window != Window::square(1) || from > MAX_INPUT_CHANNELS
            }
            Op::Linear { .. } => true,
            _ => false,
        });
        let numbers = kept.map(|node| {
            let channels = node
                .shape
                .channels
                .checked_next_multiple_of(pixel_stride(1));
            let channels = channels.unwrap_or(usize::MAX) as u128;
            node.shape.pixels() as u128 * channels
        });
        let bytes =
            (numbers.sum::<u128>() * size_of::<f32>() as u128).saturating_mul(images as u128);
        let possible = usize::try_from(bytes)
            .is_ok_and(|bytes| Vec::<u8>::new().try_reserve_exact(bytes).is_ok());
        if possible {
            return Ok(());
        }
        error(format!(
            "a batch of {images} images takes more memory than there is: {} GiB and more",
            bytes >> 30
        ))
    }
}

fn report(graph: &Graph, parameters: &[Parameter], plan: &Plan) -> PlanReport {
    let images = plan.images;
    let buffers = &plan.program.buffers;
    let place = |number: usize| {
        if buffers[number].holds_all_images() {
            Place::Behind(images * buffers[number].at * size_of::<f32>())
        } else {
            Place::Block
        }
    };
    let bytes = |numbers: &[f32]| size_of_val(numbers);
    let value = |number: usize, shape: Shape, layout: InputLayout| {
        let (rows, columns, channels, framed) = match layout {
            InputLayout::Padded => (
                shape.height,
                shape.width,
                pixel_stride(shape.channels),
                false,
            ),
            InputLayout::Framed { before, after } => (
                shape.height + before.0 + after.0,
                shape.width + before.1 + after.1,
                shape.channels,
                true,
            ),
        };
        PlannedValue {
            shape,
            rows,
            columns,
            channels,
            framed,
            bytes: images * buffers[number].len * size_of::<f32>(),
            place: place(number),
            gradient: plan.program.gradients[number].map(place),
        }
    };
    let (mut segment, mut again) = (vec![None; plan.steps.len()], vec![false; plan.steps.len()]);
    for (number, planned) in plan.program.segments.iter().enumerate() {
        for action in &planned.actions {
            if let ActionKind::Forward { .. } = action.kind {
                again[action.step] = segment[action.step].is_some();
                segment[action.step].get_or_insert(number);
            }
        }
    }
    let steps = plan.steps.iter().enumerate();
    let steps = steps.map(|(number, step)| PlannedStep {
        node: step.node,
        kind: step.kind.name(),
        nodes: nodes(graph, &plan.steps, step),
        inputs: step.inputs.iter().map(|input| input.value).collect(),
        segment: segment[number].unwrap_or(0),
        again: again[number],
        value: value(step.output, step.shape, InputLayout::Padded),
    });
    let segments = plan.program.segments.iter().enumerate();
    let trained = parameters.iter().filter(|kept| !kept.gradient.is_empty());
    let slot = trained.map(|kept| bytes(&kept.value)).sum();
    let gradients = plan.program.gradients.iter().enumerate();
    let gradients = gradients.filter(|(_, gradient)| gradient.is_some());
    let made = plan.steps.iter().map(|step| step.output).chain([0]);
    let unshared = made.chain(gradients.map(|(value, _)| value));
    PlanReport {
        images,
        training: plan.training,
        input: value(0, graph.input_shape(), plan.layout),
        steps: steps.collect(),
        segments: segments
            .map(|(number, segment)| PlannedSegment {
                backward: number >= plan.program.forward,
                images: segment.block_images,
            })
            .collect(),
        tasks: plan.tasks.len(),
        threads: plan.workspaces.len(),
        shared: images * plan.extent.shard * size_of::<f32>(),
        blocks: plan.workspaces.len() * plan.extent.block * size_of::<f32>(),
        unshared: unshared
            .map(|value| images * buffers[value].len * size_of::<f32>())
            .sum(),
        tensors: parameters.iter().map(|kept| bytes(&kept.value)).sum(),
        tensor_gradients: parameters.iter().map(|kept| bytes(&kept.gradient)).sum(),
        slot: if plan.training { slot } else { 0 },
        scratch: plan.scratch(),
    }
}

/// The nodes that a step computes: those on the paths from its inputs to its value.
fn nodes(graph: &Graph, steps: &[Step], step: &Step) -> Vec<usize> {
    let is_copy = |step: &Step| matches!(step.kind, StepKind::ChannelCopy(_));
    // Nodes at which the search ends: only channel copies are bypassed.
    let mut ends = vec![false; step.output + 1];
    ends[0] = true;
    for other in steps.iter().filter(|other| other.output < step.output) {
        ends[other.output] = !is_copy(other);
    }
    // For each node, whether it depends on an input of the step.
    let mut depends_on_input: Vec<Option<bool>> = vec![None; step.output + 1];
    for input in &step.inputs {
        depends_on_input[input.value] = Some(true);
    }
    let mut found = Vec::new();
    let mut open = vec![step.output];
    while let Some(&node) = open.last() {
        if depends_on_input[node].is_some() {
            open.pop();
            continue;
        }
        if ends[node] {
            depends_on_input[node] = Some(false);
            continue;
        }
        let inputs = graph.nodes()[node].inputs.iter().map(|input| input.index());
        match inputs
            .clone()
            .find(|input| depends_on_input[*input].is_none())
        {
            Some(input) => open.push(input),
            None => {
                let depends = inputs
                    .clone()
                    .any(|input| depends_on_input[input] == Some(true));
                depends_on_input[node] = Some(depends);
                if depends {
                    found.push(node);
                }
            }
        }
    }
    found.sort_unstable();
    found
}
