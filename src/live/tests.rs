use regex_lite::Regex;

use super::*;
use crate::Checkpoint;
use crate::regen::{Rule, Scope};

/// The tensors of the fixture as if they lay in memory, and the values of all γ.
fn fixture() -> (Vec<Tensor>, Vec<f64>) {
    let checkpoint = Checkpoint::open("fixtures/mobilenet_v2_025/model.safetensors").unwrap();
    let tensors = checkpoint.dicts()[0].tensors.iter().map(|tensor| Tensor {
        name: tensor.name.clone(),
        dtype: tensor.dtype,
        shape: tensor.shape.clone(),
        device: 0,
        address: tensor.offset,
        len: tensor.len,
    });
    let tensors: Vec<Tensor> = tensors.collect();
    let live = Live::find("net", tensors.clone(), Request::default()).unwrap();
    let read = |gamma: LiveGamma<'_>| {
        let tensors = &checkpoint.dicts()[0].tensors;
        let tensor = tensors
            .iter()
            .find(|tensor| tensor.name == gamma.tensor)
            .unwrap();
        tensor.dtype.decode(&checkpoint.read(tensor).unwrap())
    };
    let values = live.gammas().into_iter().flat_map(read).collect();
    (tensors, values)
}

#[test]
fn the_plan_is_that_of_the_file() {
    let checkpoint = Checkpoint::open("fixtures/mobilenet_v2_025/model.safetensors").unwrap();
    let (tensors, values) = fixture();
    for rule in Rule::ALL {
        for scope in [Scope::Network, Scope::Each, Scope::Layer] {
            let options = Options {
                rule,
                scope,
                ..Options::default()
            };
            let request = Request {
                options,
                ..Request::default()
            };
            let live = Live::find("net", tensors.clone(), request).unwrap();
            let in_file = edit::Request {
                change: edit::Change::Rule(options),
                ..edit::Request::default()
            };
            let in_file = edit::plan(&checkpoint, &in_file).unwrap().plan;
            let mut in_memory = live.plan(&values).unwrap().plan;
            // In the order of the state dict here, of names there.
            let by_name =
                |layer: &regen::LayerPlan| in_file.layers.iter().position(|l| l.name == layer.name);
            in_memory.layers.sort_by_key(by_name);
            assert_eq!(in_memory.layers, in_file.layers);
            assert_eq!(in_memory.threshold, in_file.threshold);
        }
    }
}

/// The γ, and whether each is counted.
fn names(live: &Live) -> Vec<(&str, bool)> {
    let gammas = live.gammas().into_iter();
    gammas.map(|gamma| (gamma.tensor, gamma.counted)).collect()
}

/// One BatchNorm of `n` channels, its tensors from `address` on.
fn norm(name: &str, n: u64, address: u64) -> Vec<Tensor> {
    let tensor = |(number, part): (u64, &str)| Tensor {
        name: format!("{name}.{part}"),
        dtype: Dtype::F32,
        shape: vec![n],
        device: 0,
        address: address + number * n * 4,
        len: n * 4,
    };
    let parts = ["weight", "bias", "running_mean", "running_var"];
    (0..).zip(parts).map(tensor).collect()
}

#[test]
fn a_gamma_of_two_names_is_counted_once() {
    let mut tensors = norm("a", 4, 0);
    let mut second = norm("b", 4, 1000);
    second[0].address = tensors[0].address;
    tensors.extend(second);
    let live = Live::find("net", tensors, Request::default()).unwrap();
    assert_eq!(names(&live), [("a.weight", true)]);
    assert_eq!(live.plan(&[0.0, 1.0, 2.0, 3.0]).unwrap().plan.counted, 4);
}

#[test]
fn a_gamma_whose_memory_another_tensor_uses_is_refused_and_can_be_skipped() {
    let mut tensors = norm("a", 4, 0);
    tensors.extend(norm("b", 4, 1000));
    tensors[1].address = tensors[0].address + 4;
    let refused = Live::find("net", tensors.clone(), Request::default());
    assert_eq!(
        refused.unwrap_err().to_string(),
        "net: a.weight cannot be edited: its memory is also used by a.bias"
    );
    // On another device the address is another place.
    let mut apart = tensors.clone();
    apart[1].device = 1;
    Live::find("net", apart, Request::default()).unwrap();
    let request = Request {
        skip_shared: true,
        ..Request::default()
    };
    let live = Live::find("net", tensors, request).unwrap();
    assert_eq!(names(&live), [("a.weight", false), ("b.weight", true)]);
}

#[test]
fn an_average_beside_the_network_is_left_alone() {
    let mut tensors = norm("net.bn", 2, 0);
    tensors.extend(norm("net_ema.bn", 2, 1000));
    let live = Live::find("net", tensors, Request::default()).unwrap();
    assert_eq!(names(&live), [("net.bn.weight", true)]);
    let notes = live.plan(&[0.5, 1.0]).unwrap().notes;
    assert!(notes[0].contains("averaged weights"), "{notes:?}");
}

#[test]
fn wrong_input_is_refused_with_the_place() {
    let (tensors, mut values) = fixture();
    let found = |tensors: Vec<Tensor>| Live::find("Net", tensors, Request::default());
    let none = found(tensors[..1].to_vec()).unwrap_err().to_string();
    assert!(
        none.starts_with("Net: BatchNorm: expected layers"),
        "{none}"
    );
    let mut request = Request::default();
    request.filter.include = vec![Regex::new("feature.1.conv").unwrap()];
    let near = Live::find("Net", tensors.clone(), request)
        .unwrap_err()
        .to_string();
    assert!(near.contains("did you mean features.1.conv"), "{near}");
    values[3] = f64::NAN;
    let live = found(tensors).unwrap();
    let nan = live.plan(&values).unwrap_err().to_string();
    assert!(
        nan.ends_with(".weight: expected finite γ, found NaN in channel 3"),
        "{nan}"
    );
}

#[test]
fn what_an_optimizer_keeps_is_reset_in_its_type() {
    let kept = |values: &[f64]| Kept {
        values: values.to_vec(),
        regenerated: vec![0],
    };
    let mut all = [kept(&[3.0, 1.0]), kept(&[7.0])];
    reset("momentum_buffer", &mut all, &[Dtype::F32, Dtype::F32]).unwrap();
    assert_eq!(all, [kept(&[0.0, 1.0]), kept(&[0.0])]);
    let mut all = [kept(&[0.0, 1.0 + 1.0 / 4096.0]), kept(&[0.0])];
    reset("exp_avg_sq", &mut all, &[Dtype::F32, Dtype::BF16]).unwrap();
    assert_eq!(all[1].values, [1.0]);
    let unknown = reset("hessian", &mut all, &[Dtype::F32]).unwrap_err();
    assert!(unknown.to_string().contains("it keeps hessian"));
}
