//! Adding a layer with its tensors at once, named as PyTorch names them and initialised as PyTorch
//! does unless said otherwise.

use super::graph::{Graph, Value};
use super::op::{Activation, Op, Window};
use super::tensor::{Init, Kind};
use crate::error::Result;

/// A convolution layer; stride and dilation 1, no padding, one group, no bias at first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Convolution {
    out: usize,
    window: Window,
    groups: usize,
    bias: Option<Init>,
    init: Option<Init>,
}

impl Convolution {
    /// `out` channels, a kernel of `kernel` × `kernel`.
    pub fn new(out: usize, kernel: usize) -> Convolution {
        Convolution {
            out,
            window: Window::square(kernel),
            groups: 1,
            bias: None,
            init: None,
        }
    }

    /// The same stride both ways.
    pub fn stride(mut self, stride: usize) -> Convolution {
        self.window.stride = (stride, stride);
        self
    }

    /// The same padding on all sides.
    pub fn padding(mut self, padding: usize) -> Convolution {
        self.window.before = (padding, padding);
        self.window.after = (padding, padding);
        self
    }

    /// The same dilation both ways.
    pub fn dilation(mut self, dilation: usize) -> Convolution {
        self.window.dilation = (dilation, dilation);
        self
    }

    /// Number of groups.
    pub fn groups(mut self, groups: usize) -> Convolution {
        self.groups = groups;
        self
    }

    /// How the weight starts.
    pub fn init(mut self, init: Init) -> Convolution {
        self.init = Some(init);
        self
    }

    /// With a bias that starts so.
    pub fn bias(mut self, init: Init) -> Convolution {
        self.bias = Some(init);
        self
    }

    /// He et al. 2015 for ReLU, over the fan-out: normal, with deviation √(2 / (out · kernel²)).
    /// Groups do not enter, as they do not in PyTorch's `kaiming_normal_`.
    pub fn kaiming_fan_out(self) -> Convolution {
        let (height, width) = self.window.kernel;
        let fan_out = self.out as f64 * height as f64 * width as f64;
        let deviation = (2.0 / fan_out).sqrt();
        self.init(Init::Normal { deviation })
    }
}

/// A BatchNorm layer's constants, PyTorch's at first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchNorm {
    /// ε.
    pub epsilon: f64,
    /// Share of a batch in the running statistics.
    pub momentum: f64,
}

impl Default for BatchNorm {
    fn default() -> BatchNorm {
        BatchNorm {
            epsilon: 1e-5,
            momentum: 0.1,
        }
    }
}

/// A pooling's window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pool {
    /// Kernel, both ways.
    pub kernel: usize,
    /// Stride, both ways.
    pub stride: usize,
    /// Padding, on all sides.
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
    /// A convolution with `NAME.weight` and, if asked for, `NAME.bias`. Without an explicit start
    /// the weight is drawn as in PyTorch, uniformly within 1 / √fan-in.
    ///
    /// # Errors
    /// The layer does not fit `x`; so for all methods here.
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

    /// A BatchNorm with PyTorch's constants.
    ///
    /// # Errors
    /// As [`Graph::convolution`].
    pub fn batch_norm(&mut self, name: &str, x: Value) -> Result<Value> {
        self.batch_norm_with(name, x, BatchNorm::default())
    }

    /// A BatchNorm with `NAME.weight` (γ = 1), `NAME.bias`, and its statistics.
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
            beta: tensor("bias", &channels, Kind::Parameter(Init::Constant(0.0)))?,
            mean: tensor("running_mean", &channels, Kind::RunningMean)?,
            variance: tensor("running_var", &channels, Kind::RunningVariance)?,
            batches: Some(tensor("num_batches_tracked", &[], Kind::BatchCount)?),
            epsilon: layer.epsilon,
            momentum: layer.momentum,
        };
        self.add(name, op, &[x])
    }

    /// A linear layer, with PyTorch's start: weight and bias uniform within 1 / √fan-in.
    ///
    /// # Errors
    /// As [`Graph::convolution`].
    pub fn linear(&mut self, name: &str, x: Value, out: usize, bias: bool) -> Result<Value> {
        let bound = 1.0 / (self.shape(x).len() as f64).sqrt();
        let init = Init::Uniform { bound };
        self.linear_with(name, x, out, init, bias.then_some(init))
    }

    /// A linear layer with `NAME.weight` and, if asked for, `NAME.bias`, started as given.
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

    /// An activation.
    ///
    /// # Errors
    /// As [`Graph::convolution`].
    pub fn activation(&mut self, name: &str, x: Value, activation: Activation) -> Result<Value> {
        self.add(name, Op::Activation(activation), &[x])
    }

    /// Max pooling.
    ///
    /// # Errors
    /// As [`Graph::convolution`].
    pub fn max_pool(&mut self, name: &str, x: Value, pool: Pool) -> Result<Value> {
        self.add(name, Op::MaxPool(pool.window()), &[x])
    }

    /// The mean of each channel.
    ///
    /// # Errors
    /// As [`Graph::convolution`].
    pub fn global_average_pool(&mut self, name: &str, x: Value) -> Result<Value> {
        let (height, width) = (1, 1);
        self.add(name, Op::AdaptiveAveragePool { height, width }, &[x])
    }
}
