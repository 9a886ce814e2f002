use std::collections::BTreeMap;
use std::fs;

use super::super::layout::Layout;
use super::*;
use crate::Checkpoint;
use crate::checkpoint::Role;
use crate::checkpoint::optimizer::map_optimizer;
use crate::dtype::Dtype;

type Table = BTreeMap<String, (Dtype, Vec<u64>, Vec<u8>)>;

fn table(source: &Source, tensors: &[Tensor]) -> Table {
    let entry = |t: &Tensor| {
        assert_eq!(t.fixed, None, "{}", t.name);
        (
            t.name.clone(),
            (t.dtype, t.shape.clone(), bytes_of(source, t)),
        )
    };
    tensors.iter().map(entry).collect()
}

#[test]
fn zip_and_legacy_hold_the_same_tensors_as_their_safetensors_twin() {
    let Some(folder) = material() else { return };
    let folder = folder.join("fixtures/mobilenet_v2_025");
    let twin = Checkpoint::open(folder.join("model.safetensors")).unwrap();
    let expected = table(&twin.sources()[0], &twin.dicts()[0].tensors);
    for file in ["model.pth", "model.legacy.th"] {
        let (source, opened) = open_path(&folder.join(file)).unwrap();
        assert_eq!(
            (opened.dicts.len(), opened.layout),
            (1, Layout::Plain),
            "{file}"
        );
        assert_eq!(opened.zip.is_some(), file == "model.pth");
        let dict = dict(&opened, "");
        assert_eq!(dict.tensors.len(), 314);
        assert_eq!(dict.tensors[1].name, "features.0.1.weight");
        assert_eq!(table(&source, &dict.tensors), expected, "{file}");
    }
}

#[test]
fn the_training_file_has_raw_and_ema_weights_and_one_mapping_of_its_momentum() {
    let Some(folder) = material() else { return };
    let path = folder.join("fixtures/mobilenet_v2_025/training.pth");
    let (source, opened) = open_path(&path).unwrap();
    let roots: Vec<&str> = opened.dicts.iter().map(|dict| &dict.root[..]).collect();
    assert_eq!(roots, ["model", "model_ema"]);
    let roles: Vec<Role> = opened.dicts.iter().map(|dict| dict.role).collect();
    assert_eq!(roles, [Role::Raw, Role::Ema]);
    assert_eq!(
        (opened.layout, opened.finished()),
        (Layout::Torchvision, Some(25))
    );
    assert_eq!(
        dict(&opened, "model_ema").tensors[1].name,
        "module.features.0.0.weight"
    );
    let model = dict(&opened, "model");
    let optimizer = opened.optimizers[0].as_ref().unwrap();
    assert_eq!((optimizer.kind(), optimizer.parameters.len()), ("SGD", 158));
    let mapped = map_optimizer(optimizer, model, None, &mut Vec::new()).unwrap();
    assert_eq!(mapped.len(), 158);
    let (_, first) = &mapped[0].slots[0];
    assert!(first.fixed.as_ref().unwrap().contains("not contiguous"));
    for kept in &mapped {
        let gamma = tensor(model, &kept.name);
        let (_, momentum) = &kept.slots[0];
        if gamma.channels().is_some() {
            assert_eq!((momentum.fixed.as_ref(), momentum.len), (None, gamma.len));
            assert!(floats(&source, momentum).iter().all(|v| v.is_finite()));
        }
    }
}

#[test]
fn resnet20_lies_under_state_dict_with_names_under_module() {
    let Some(folder) = material() else { return };
    let path = folder.join("checkpoints/resnet20-legacy/resnet20-12fca82f.th");
    let (source, opened) = open_path(&path).unwrap();
    assert_eq!(opened.layout, Layout::Other);
    let dict = dict(&opened, "state_dict");
    assert_eq!(dict.tensors[0].name, "module.conv1.weight");
    let gammas: Vec<f64> = dict
        .tensors
        .iter()
        .filter(|t| t.name.contains("bn") && t.name.ends_with(".weight"))
        .flat_map(|t| floats(&source, t))
        .collect();
    assert_eq!(gammas.len(), 688);
    assert_eq!(gammas.iter().filter(|g| **g < 0.0).count(), 26);
}

#[test]
fn fastestdet_and_ultraface_have_the_channels_that_are_known() {
    let Some(folder) = material() else { return };
    for (file, layers, channels) in [
        (
            "checkpoints/fastestdet-shufflenetv2/shufflenetv2.pth",
            55,
            2952,
        ),
        ("checkpoints/ultraface-slim/version-slim-320.pth", 25, 2272),
    ] {
        let (_, opened) = open_path(&folder.join(file)).unwrap();
        let [dict] = &opened.dicts[..] else {
            panic!("{file}")
        };
        let means: Vec<u64> = dict
            .tensors
            .iter()
            .filter(|t| t.name.ends_with(".running_mean"))
            .map(|t| t.shape[0])
            .collect();
        assert_eq!(
            (means.len(), means.iter().sum()),
            (layers, channels),
            "{file}"
        );
    }
}

#[test]
fn saved_on_another_device_and_with_other_strides_opens() {
    let Some(folder) = material() else { return };
    open_path(&folder.join("checkpoints/burn-mnist/mnist.pt")).unwrap();
    let suite = folder.join("suites/candle-pth");
    for (file, root) in [("test.pt", ""), ("test_with_key.pt", "model_state_dict")] {
        let (_, opened) = open_path(&suite.join(file)).unwrap();
        assert_eq!(opened.dicts[0].root, root, "{file}");
        assert_eq!(opened.dicts[0].tensors[0].dtype, Dtype::I64);
    }
    let (_, opened) = open_path(&suite.join("fortran_tensor_3d.pth")).unwrap();
    let transposed = &opened.dicts[0].tensors[0];
    assert_eq!((transposed.shape.len(), transposed.len), (3, 192));
    assert!(transposed.fixed.is_some());
    let arrays = Checkpoint::open(suite.join("test.npz")).unwrap();
    assert_eq!(arrays.format().name(), "npz");
}

#[test]
fn every_zip_that_is_no_checkpoint_is_an_error_and_no_panic() {
    let Some(folder) = material() else { return };
    let mut tried = 0;
    let mut folders = vec![folder.join("suites/zip-yauzl")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "zip") {
                message(open_path(&path));
                tried += 1;
            }
        }
    }
    assert!(tried > 40, "{tried}");
}
