//! The tensors of a network: each part of them a [`VarMap`] by state-dict names.

use candle_core::{DType, Device, Result, Tensor, Var};
use candle_nn::VarMap;

use super::number::{channel_sums, to_host, wide};
use crate::engine::Part;
use crate::net::{Graph, Kind, TensorId, TensorSpec};

/// Everything that is kept of the tensors of a network.
pub(super) struct Tensors {
    pub(super) values: Variables,
    /// Of parameters; so are the slots.
    pub(super) gradients: Variables,
    /// None before the optimizer needs them.
    pub(super) slots: [Variables; 2],
    /// None before there is an average.
    averages: Variables,
}

/// One part of the tensors: variables under their names, and by their place in the graph.
pub(super) struct Variables {
    map: VarMap,
    places: Vec<Option<Var>>,
    dtype: DType,
    device: Device,
}

impl Tensors {
    /// All values and gradients 0.
    pub(super) fn new(graph: &Graph, dtype: DType, device: &Device) -> Result<Tensors> {
        let none = || Variables {
            map: VarMap::new(),
            places: vec![None; graph.tensors().len()],
            dtype,
            device: device.clone(),
        };
        let mut tensors = Tensors {
            values: none(),
            gradients: none(),
            slots: [none(), none()],
            averages: none(),
        };
        for (id, spec) in graph.tensor_ids().zip(graph.tensors()) {
            tensors.values.made(id, spec)?;
            if spec.is_parameter() {
                tensors.gradients.made(id, spec)?;
            }
        }
        Ok(tensors)
    }

    pub(super) fn part(&self, part: Part) -> &Variables {
        match part {
            Part::Value => &self.values,
            Part::Gradient => &self.gradients,
            Part::Slot(slot) => &self.slots[slot],
            Part::Average => &self.averages,
        }
    }

    pub(super) fn part_mut(&mut self, part: Part) -> &mut Variables {
        match part {
            Part::Value => &mut self.values,
            Part::Gradient => &mut self.gradients,
            Part::Slot(slot) => &mut self.slots[slot],
            Part::Average => &mut self.averages,
        }
    }

    /// Adds to what was gathered of a parameter's gradient.
    pub(super) fn add_gradient(&self, id: TensorId, gradient: &Tensor) -> Result<()> {
        match self.gradients.get(id) {
            Some(sum) => sum.set(&(sum.as_detached_tensor() + gradient)?),
            None => Ok(()),
        }
    }

    /// Adds the sums of `dy` [N, C, H, W], one a channel, to the gradient of a bias.
    pub(super) fn add_channel_sums(&self, bias: TensorId, dy: &Tensor) -> Result<()> {
        self.add_gradient(bias, &channel_sums(dy)?.to_dtype(dy.dtype())?)
    }

    pub(super) fn begin_average(&mut self, graph: &Graph) -> Result<()> {
        for (id, spec) in graph.tensor_ids().zip(graph.tensors()) {
            let value = self.values.value(id)?;
            self.averages.made(id, spec)?.set(&value)?;
        }
        Ok(())
    }

    /// a ← decay · a + (1 − decay) · w, computed in the wide type.
    pub(super) fn follow_average(&mut self, graph: &Graph, decay: f64) -> Result<()> {
        for (id, spec) in graph.tensor_ids().zip(graph.tensors()) {
            let (Some(average), now) = (self.averages.get(id), self.values.value(id)?) else {
                continue;
            };
            if spec.kind == Kind::BatchCount {
                average.set(&now)?;
                continue;
            }
            let wide = wide(now.device());
            let old = average.as_detached_tensor().to_dtype(wide)?;
            let new = ((old * decay)? + (now.to_dtype(wide)? * (1.0 - decay))?)?;
            average.set(&new.to_dtype(now.dtype())?)?;
        }
        Ok(())
    }

    pub(super) fn exchange_average(&mut self, graph: &Graph) -> Result<()> {
        for id in graph.tensor_ids() {
            if let (Some(average), Some(value)) = (self.averages.get(id), self.values.get(id)) {
                let now = value.as_detached_tensor().copy()?;
                value.set(average)?;
                average.set(&now)?;
            }
        }
        Ok(())
    }
}

impl Variables {
    pub(super) fn map(&self) -> &VarMap {
        &self.map
    }

    pub(super) fn dtype(&self) -> DType {
        self.dtype
    }

    pub(super) fn device(&self) -> &Device {
        &self.device
    }

    pub(super) fn get(&self, id: TensorId) -> Option<&Var> {
        self.places[id.index()].as_ref()
    }

    /// The variable of what has this part.
    pub(super) fn var(&self, id: TensorId) -> Result<&Var> {
        match self.get(id) {
            Some(var) => Ok(var),
            None => candle_core::bail!("tensor {} has no such part", id.index()),
        }
    }

    /// The variable as a tensor that candle does not track.
    pub(super) fn value(&self, id: TensorId) -> Result<Tensor> {
        Ok(self.var(id)?.as_detached_tensor())
    }

    /// The variable, of zeros where there was none.
    pub(super) fn made(&mut self, id: TensorId, spec: &TensorSpec) -> Result<&Var> {
        let place = &mut self.places[id.index()];
        if let Some(var) = place {
            return Ok(var);
        }
        let dtype = match spec.kind {
            Kind::BatchCount => DType::I64,
            _ => self.dtype,
        };
        let var = Var::zeros(&spec.shape[..], dtype, &self.device)?;
        // A map that a panicking thread left behind still holds whole variables.
        let data = self.map.data().lock();
        let mut data = data.unwrap_or_else(std::sync::PoisonError::into_inner);
        data.insert(spec.name.clone(), var.clone());
        Ok(place.insert(var))
    }

    /// The numbers of a tensor; none where it has no such part.
    pub(super) fn read(&self, id: TensorId) -> Result<Vec<f64>> {
        self.get(id).map_or(Ok(Vec::new()), |var| to_host(var))
    }

    pub(super) fn write(&mut self, id: TensorId, spec: &TensorSpec, values: &[f64]) -> Result<()> {
        let var = self.made(id, spec)?;
        let tensor = Tensor::from_slice(values, &spec.shape[..], &Device::Cpu)?;
        var.set(&tensor.to_dtype(var.dtype())?.to_device(var.device())?)
    }
}
