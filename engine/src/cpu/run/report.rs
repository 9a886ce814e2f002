//! The plan for people: which steps there are, what they do in one go, and the memory they take.

use crate::cpu::Cpu;
use crate::cpu::kernels::layout::{Images, stride};
use crate::cpu::plan::passes::expand::NARROW;
use crate::cpu::plan::program::Work;
use crate::cpu::plan::step::{Kind, Step};
use crate::cpu::run::parameter::Parameter;
use crate::cpu::run::plan::Plan;
use crate::error::Result;
use crate::net::{Graph, Op, Shape, Window};

/// What an engine does for a batch of one size, and what memory that takes.
///
/// Bytes are those of all numbers that the plan holds; tables of sizes and places are left out.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanReport {
    /// Images in a batch.
    pub images: usize,
    /// Whether it can run backward too.
    pub training: bool,
    /// The images as the first step reads them.
    pub input: PlannedValue,
    /// The steps, in the order of the network. Forward, a normalisation is computed when it is needed,
    /// which may be in a later segment.
    pub steps: Vec<PlannedStep>,
    /// Forward ones, and behind them those of backward.
    pub segments: Vec<PlannedSegment>,
    /// Parts that the batch is cut into; each goes through a segment on one thread.
    pub tasks: usize,
    /// Threads that tasks run on.
    pub threads: usize,
    /// Bytes of the memory for values and gradients of all images. Those share a place that live one
    /// after the other.
    pub shared: usize,
    /// Bytes of that for blocks of images, which each thread has.
    pub blocks: usize,
    /// Bytes that all values and gradients would take if each had a place for all images.
    pub unshared: usize,
    /// Bytes of the network's tensors, as the engine keeps them: with padding.
    pub tensors: usize,
    /// Bytes of the parameters' gradients; an engine holds them in evaluation too.
    pub tensor_gradients: usize,
    /// Bytes of one number for each parameter, of which SGD with momentum keeps one and AdamW two
    /// from the first update on; 0 in evaluation.
    pub slot: usize,
    /// Bytes of what steps use while they run, and of the statistics of normalisations.
    pub scratch: usize,
}

/// Steps that some images go through one after the other before the next images do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlannedSegment {
    /// Whether it belongs to backward.
    pub backward: bool,
    /// Images that go through at a time.
    pub images: usize,
}

/// Where a value or gradient is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// All images of it; so many bytes of all images lie before.
    Behind(usize),
    /// A block's images at a time: nothing outside of one segment needs it.
    Block,
}

/// A step of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedStep {
    /// The node it computes, or begins with, as [`StepTime::node`](crate::cpu::StepTime::node).
    pub node: usize,
    /// What kind of step it is.
    pub kind: &'static str,
    /// All nodes that it computes in one go, in their order: indices into [`Graph::nodes`]. Where
    /// channels only change places, several steps may share a node.
    pub nodes: Vec<usize>,
    /// The nodes whose values it reads.
    pub inputs: Vec<usize>,
    /// The segment that computes it forward: an index into [`PlanReport::segments`].
    pub segment: usize,
    /// Whether backward computes it again, where its value is needed there.
    pub again: bool,
    /// What it computes.
    pub value: PlannedValue,
}

/// A value of a plan, and how it lies in memory: image by image, row by row, pixel by pixel, channels
/// last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlannedValue {
    /// The value of one image.
    pub shape: Shape,
    /// Rows of an image in memory.
    pub rows: usize,
    /// Pixels of a row.
    pub columns: usize,
    /// Numbers of a pixel: channels, and padding to whole vectors.
    pub channels: usize,
    /// Whether rows and columns include the padding of the convolution that reads it.
    pub framed: bool,
    /// Bytes of all images, were they kept.
    pub bytes: usize,
    /// Where it is.
    pub place: Place,
    /// Where its gradient is put; `None` where there is no gradient.
    pub gradient: Option<Place>,
}

impl PlanReport {
    /// Bytes of everything, with one slot for the optimizer.
    pub fn total(&self) -> usize {
        self.shared + self.blocks + self.tensors + self.tensor_gradients + self.slot + self.scratch
    }
}

impl Cpu {
    /// Plans for batches of this size, as running one does, and describes the plan.
    ///
    /// # Errors
    /// No images, or so many that their values cannot be had.
    pub fn plan(&mut self, images: usize, training: bool) -> Result<PlanReport> {
        self.check_size(images)?;
        let at = self.planned(images, training)?;
        Ok(report(&self.graph, &self.parameters, &self.plans[at]))
    }

    /// Whether the values that training keeps can be had at all: those that convolutions compute, but for such as may
    /// be expansions.
    fn check_size(&self, images: usize) -> Result<()> {
        let nodes = self.graph.nodes();
        let error = |reason| Err(self.graph.error(&nodes[0].name, reason));
        if images == 0 {
            return error("a batch has at least 1 image".to_owned());
        }
        let kept = nodes.iter().filter(|node| match &node.op {
            Op::Convolution { window, .. } => {
                let from = self.graph.shape(node.inputs[0]).channels;
                *window != Window::square(1) || from > NARROW
            }
            Op::Linear { .. } => true,
            _ => false,
        });
        let numbers = kept.map(|node| {
            let channels = node.shape.channels.checked_next_multiple_of(stride(1));
            let channels = channels.unwrap_or(usize::MAX) as u128;
            node.shape.pixels() as u128 * channels
        });
        let bytes =
            (numbers.sum::<u128>() * size_of::<f32>() as u128).saturating_mul(images as u128);
        let possible = usize::try_from(bytes)
            .is_ok_and(|bytes| Vec::<u8>::new().try_reserve_exact(bytes).is_ok());
        match possible {
            true => Ok(()),
            false => error(format!(
                "a batch of {images} images takes more memory than there is: {} GiB and more",
                bytes >> 30
            )),
        }
    }
}

fn report(graph: &Graph, parameters: &[Parameter], plan: &Plan) -> PlanReport {
    let images = plan.images;
    let slots = &plan.program.slots;
    let place = |slot: usize| match slots[slot].is_whole() {
        true => Place::Behind(images * slots[slot].at * size_of::<f32>()),
        false => Place::Block,
    };
    let bytes = |numbers: &[f32]| size_of_val(numbers);
    let value = |number: usize, shape: Shape, layout: Images| {
        let (rows, columns, channels, framed) = match layout {
            Images::Padded => (shape.height, shape.width, stride(shape.channels), false),
            Images::Framed { before, after } => (
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
            bytes: images * slots[number].len * size_of::<f32>(),
            place: place(number),
            gradient: plan.program.gradients[number].map(place),
        }
    };
    let (mut segment, mut again) = (vec![None; plan.steps.len()], vec![false; plan.steps.len()]);
    for (number, planned) in plan.program.segments.iter().enumerate() {
        for action in &planned.actions {
            if let Work::Forward { .. } = action.work {
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
        value: value(step.output, step.shape, Images::Padded),
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
                images: segment.block,
            })
            .collect(),
        tasks: plan.tasks.len(),
        threads: plan.workspaces.len(),
        shared: images * plan.extent.whole * size_of::<f32>(),
        blocks: plan.workspaces.len() * plan.extent.near * size_of::<f32>(),
        unshared: unshared
            .map(|value| images * slots[value].len * size_of::<f32>())
            .sum(),
        tensors: parameters.iter().map(|kept| bytes(&kept.value)).sum(),
        tensor_gradients: parameters.iter().map(|kept| bytes(&kept.gradient)).sum(),
        slot: if plan.training { slot } else { 0 },
        scratch: plan.scratch(),
    }
}

/// The nodes between what a step reads and what it computes.
fn nodes(graph: &Graph, steps: &[Step], step: &Step) -> Vec<usize> {
    let is_move = |step: &Step| matches!(step.kind, Kind::Move(_));
    // Where a search ends: a step takes channels only past steps that move them.
    let mut ends = vec![false; step.output + 1];
    ends[0] = true;
    for other in steps.iter().filter(|other| other.output < step.output) {
        ends[other.output] = !is_move(other);
    }
    // For each node whether it leads to what the step reads.
    let mut leads: Vec<Option<bool>> = vec![None; step.output + 1];
    for input in &step.inputs {
        leads[input.value] = Some(true);
    }
    let mut found = Vec::new();
    let mut open = vec![step.output];
    while let Some(&node) = open.last() {
        if leads[node].is_some() {
            open.pop();
            continue;
        }
        if ends[node] {
            leads[node] = Some(false);
            continue;
        }
        let inputs = graph.nodes()[node].inputs.iter().map(|input| input.index());
        match inputs.clone().find(|input| leads[*input].is_none()) {
            Some(input) => open.push(input),
            None => {
                let leads_there = inputs.clone().any(|input| leads[input] == Some(true));
                leads[node] = Some(leads_there);
                if leads_there {
                    found.push(node);
                }
            }
        }
    }
    found.sort_unstable();
    found
}
