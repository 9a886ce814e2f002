//! Builder methods that add a layer together with its tensors, named and by default initialised as in PyTorch.

use super::graph::{Graph, Value};
use super::op::{Activation, Op, Window};
use super::tensor::{Init, Kind};
use crate::error::Result;

/// The settings of a convolution layer. Defaults: stride and dilation 1, no padding, one group, no bias.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Convolution {
    out: usize,
    window: Window,
    groups: usize,
    bias: Option<Init>,
    init: Option<Init>,
}

impl Convolution {
    /// A convolution with `out` output channels and a kernel of `kernel` × `kernel`.
    pub fn new(out: usize, kernel: usize) -> Convolution {
        Convolution {
            out,
            window: Window::square(kernel),
            groups: 1,
            bias: None,
            init: None,
        }
    }

    /// Sets the stride of both axes.
    pub fn stride(mut self, stride: usize) -> Convolution {
        self.window.stride = (stride, stride);
        self
    }

    /// Sets the padding of all sides, in pixels.
    pub fn padding(mut self, padding: usize) -> Convolution {
        self.window.before = (padding, padding);
        self.window.after = (padding, padding);
        self
    }

    /// Sets the dilation of both axes.
    pub fn dilation(mut self, dilation: usize) -> Convolution {
        self.window.dilation = (dilation, dilation);
        self
    }

    /// Sets the number of groups.
    pub fn groups(mut self, groups: usize) -> Convolution {
        self.groups = groups;
        self
    }

    /// Sets the initial distribution of the weight.
    pub fn init(mut self, init: Init) -> Convolution {
        self.init = Some(init);
        self
    }

    /// Adds a bias with this initial distribution.
    pub fn bias(mut self, init: Init) -> Convolution {
        self.bias = Some(init);
        self
    }

    /// Initialises the weight as He et al. 2015 for ReLU, by fan-out: normal with deviation √(2 / (out · kernel²)). As in
    /// PyTorch's `kaiming_normal_`, the fan-out ignores groups.
    pub fn kaiming_fan_out(self) -> Convolution {
        self.kaiming(self.out)
    }

    /// As [`Convolution::kaiming_fan_out`], by fan-in: `channels` are those of the input, by the number of groups.
    pub fn kaiming_fan_in(self, channels: usize) -> Convolution {
        self.kaiming(channels)
    }

    /// Normal with deviation √(2 / (channels · kernel²)).
    fn kaiming(self, channels: usize) -> Convolution {
        let (height, width) = self.window.kernel;
        let fan = channels as f64 * height as f64 * width as f64;
        let deviation = (2.0 / fan).sqrt();
        self.init(Init::Normal { deviation })
    }
}

/// The constants of a BatchNorm layer. Defaults: PyTorch's, ε = 1e−5 and momentum 0.1, β initially 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchNorm {
    /// ε.
    pub epsilon: f64,
    /// Weight of a new batch in the running statistics, 0..1.
    pub momentum: f64,
    /// β at the start.
    pub beta: f64,
}

impl Default for BatchNorm {
    fn default() -> BatchNorm {
        BatchNorm {
            epsilon: 1e-5,
            momentum: 0.1,
            beta: 0.0,
        }
    }
}

/// The window of a pooling layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pool {
    /// Kernel size of both axes.
    pub kernel: usize,
    /// Stride of both axes.
    pub stride: usize,
    /// Padding of all sides, in pixels.
    pub padding: usize,
}

impl Pool {
    fn window(self) -> Window {
        Window {
            stride: (self.stride, self.stride),
            before: (self.padding, self.padding),
            after: (self.padding, self.padding),
            ..Window::square(self.kernel)
        }
    }
}

impl Graph {
    /// Adds a convolution with `NAME.weight` and, if it has a bias, `NAME.bias`. By default the weight is initialised as in
    /// PyTorch: uniform on ±1 / √fan-in.
    ///
    /// # Errors
    /// The layer does not fit `x`, or a tensor's name is taken.
    pub fn convolution(&mut self, name: &str, x: Value, layer: &Convolution) -> Result<Value> {
        let groups = layer.groups;
        let per_group = self.shape(x).channels.checked_div(groups).unwrap_or(0);
        let (height, width) = layer.window.kernel;
        let bound = 1.0 / (per_group as f64 * height as f64 * width as f64).sqrt();
        let init = layer.init.unwrap_or(Init::Uniform { bound });
        let shape = vec![layer.out, per_group, height, width];
        let weight = self.add_tensor(format!("{name}.weight"), shape, Kind::Parameter(init))?;
        let bias = match layer.bias {
            Some(init) => Some(self.add_tensor(
                format!("{name}.bias"),
                vec![layer.out],
                Kind::Parameter(init),
            )?),
            None => None,
        };
        let window = layer.window;
        let op = Op::Convolution {
            weight,
            bias,
            window,
            groups,
        };
        self.add(name, op, &[x])
    }

    /// Adds a BatchNorm with PyTorch's constants.
    ///
    /// # Errors
    /// As [`Graph::convolution`].
    pub fn batch_norm(&mut self, name: &str, x: Value) -> Result<Value> {
        self.batch_norm_with(name, x, BatchNorm::default())
    }

    /// Adds a BatchNorm with `NAME.weight` (γ, initially 1), `NAME.bias` (β) and its running statistics.
    ///
    /// # Errors
    /// As [`Graph::convolution`].
    pub fn batch_norm_with(&mut self, name: &str, x: Value, layer: BatchNorm) -> Result<Value> {
        let channels = vec![self.shape(x).channels];
        let mut tensor = |leaf: &str, shape: &[usize], kind| {
            self.add_tensor(format!("{name}.{leaf}"), shape.to_vec(), kind)
        };
        let op = Op::BatchNorm {
            gamma: tensor("weight", &channels, Kind::Parameter(Init::Constant(1.0)))?,
            beta: tensor(
                "bias",
                &channels,
                Kind::Parameter(Init::Constant(layer.beta)),
            )?,
            mean: tensor("running_mean", &channels, Kind::RunningMean)?,
            variance: tensor("running_var", &channels, Kind::RunningVariance)?,
            batches: Some(tensor("num_batches_tracked", &[], Kind::BatchCount)?),
            epsilon: layer.epsilon,
            momentum: layer.momentum,
        };
        self.add(name, op, &[x])
    }

    /// Adds a linear layer with PyTorch's initialisation: weight and bias uniform on ±1 / √fan-in.
    ///
    /// # Errors
    /// As [`Graph::convolution`].
    pub fn linear(&mut self, name: &str, x: Value, out: usize, bias: bool) -> Result<Value> {
        let bound = 1.0 / (self.shape(x).len() as f64).sqrt();
        let init = Init::Uniform { bound };
        self.linear_with(name, x, out, init, bias.then_some(init))
    }

    /// Adds a linear layer with `NAME.weight` and, if given, `NAME.bias`, with these initial distributions.
    ///
    /// # Errors
    /// As [`Graph::convolution`].
    pub fn linear_with(
        &mut self,
        name: &str,
        x: Value,
        out: usize,
        weight: Init,
        bias: Option<Init>,
    ) -> Result<Value> {
        let features = self.shape(x).len();
        let weight = self.add_tensor(
            format!("{name}.weight"),
            vec![out, features],
            Kind::Parameter(weight),
        )?;
        let bias = match bias {
            Some(init) => {
                Some(self.add_tensor(format!("{name}.bias"), vec![out], Kind::Parameter(init))?)
            }
            None => None,
        };
        self.add(name, Op::Linear { weight, bias }, &[x])
    }

    /// Adds an activation.
    ///
    /// # Errors
    /// As [`Graph::convolution`].
    pub fn activation(&mut self, name: &str, x: Value, activation: Activation) -> Result<Value> {
        self.add(name, Op::Activation(activation), &[x])
    }

    /// Adds max pooling.
    ///
    /// # Errors
    /// As [`Graph::convolution`].
    pub fn max_pool(&mut self, name: &str, x: Value, pool: Pool) -> Result<Value> {
        self.add(name, Op::MaxPool(pool.window()), &[x])
    }

    /// Adds global average pooling: the mean of each channel.
    ///
    /// # Errors
    /// As [`Graph::convolution`].
    pub fn global_average_pool(&mut self, name: &str, x: Value) -> Result<Value> {
        let (height, width) = (1, 1);
        self.add(name, Op::AdaptiveAveragePool { height, width }, &[x])
    }
}
