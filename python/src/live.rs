//! A network in memory, as a framework describes it.

use ckpt_regen::Result;
use ckpt_regen::checkpoint::Dtype;
use ckpt_regen::live::{self, Request, Tensor};
use ckpt_regen::regen::Kept;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use serde_json::json;

use crate::error::raise;
use crate::hints;
use crate::options::RuleOptions;

/// A tensor: name, type as safetensors spells it, shape, number of its device, address, length in bytes.
type Described = (String, String, Vec<u64>, usize, u64, u64);

/// The BatchNorm layers of a network in memory, found as in a file.
#[pyclass(frozen, module = "ckpt_regen._native")]
pub(crate) struct Live(live::Live);

#[pymethods]
impl Live {
    /// Finds them among the tensors of a state dict, in its order; tensors of a type that is not known
    /// are passed over.
    #[new]
    fn new(
        py: Python<'_>,
        owner: &str,
        tensors: Vec<Described>,
        options: RuleOptions,
    ) -> PyResult<Live> {
        let find = || -> Result<live::Live> {
            let request = Request {
                ordered: true,
                schema: options.schema()?,
                filter: options.filter()?,
                options: options.options()?,
                allow_dying: options.allow_dying,
                skip_shared: options.skip_shared,
            };
            let tensors = tensors.into_iter().filter_map(tensor);
            live::Live::find(owner, tensors.collect(), request)
        };
        let found = find().map_err(|err| raise(py, &err))?;
        Ok(Live(found))
    }

    /// The γ: the names of tensor and layer, and whether it is counted and edited.
    fn gammas(&self) -> Vec<(&str, &str, bool)> {
        let gammas = self.0.gammas().into_iter();
        gammas
            .map(|gamma| (gamma.tensor, gamma.layer, gamma.counted))
            .collect()
    }

    /// The plan for the values of the counted γ, one after another, as JSON.
    fn plan(&self, py: Python<'_>, values: PyBuffer<f64>) -> PyResult<String> {
        let values = values.to_vec(py)?;
        let planned = self.0.plan(&values).map_err(|err| raise(py, &err))?;
        let plan = &planned.plan;
        let value = json!({
            "rule": self.0.options().rule.to_string(),
            "threshold": plan.threshold,
            "target": plan.target,
            "counted": plan.counted,
            "regenerated": plan.regenerated(),
            "layers_touched": plan.layers_touched(),
            "layers": plan.layers,
            "warnings": hints::plan_warnings(&plan.cautions, planned.frozen.as_deref()),
            "notes": planned.notes,
        });
        Ok(value.to_string())
    }

    /// Resets what an optimizer keeps under `key`: of each layer the type, the values one after another,
    /// and the regenerated channels; the new values, in one list.
    #[staticmethod]
    fn reset(
        py: Python<'_>,
        key: &str,
        values: PyBuffer<f64>,
        layers: Vec<(String, usize, Vec<usize>)>,
    ) -> PyResult<Vec<f64>> {
        let values = values.to_vec(py)?;
        let (mut kept, mut dtypes, mut rest) = (Vec::new(), Vec::new(), &values[..]);
        for (dtype, channels, regenerated) in layers {
            let dtype = Dtype::from_name(&dtype).filter(|dtype| dtype.is_editable_float());
            dtypes.push(dtype.ok_or_else(|| PyValueError::new_err("a type that is no float"))?);
            let cut = rest.split_at_checked(channels);
            let (own, behind) = cut.ok_or_else(|| PyValueError::new_err("too few values"))?;
            rest = behind;
            kept.push(Kept {
                values: own.to_vec(),
                regenerated,
            });
        }
        live::reset(key, &mut kept, &dtypes).map_err(|err| raise(py, &err))?;
        Ok(kept.into_iter().flat_map(|kept| kept.values).collect())
    }
}

fn tensor((name, dtype, shape, device, address, len): Described) -> Option<Tensor> {
    Some(Tensor {
        name,
        dtype: Dtype::from_name(&dtype)?,
        shape,
        device,
        address,
        len,
    })
}
