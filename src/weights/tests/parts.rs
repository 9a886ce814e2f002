//! Files that hold a part of a network: encoder, decoder or backbone.

use super::*;
use crate::net::zoo;

fn network(name: &str) -> Graph {
    let options = zoo::Options {
        classes: 3,
        resolution: 32.into(),
        ..zoo::defaults(name).unwrap()
    };
    zoo::build(name, &options).unwrap()
}

fn segmenter() -> Graph {
    network("mobilenetv2dilated-c1_deepsup")
}

/// A file of the tensors below `part`, named as the part alone has them.
fn part_file(graph: &Graph, part: &str) -> (tempfile::TempDir, PathBuf) {
    file(graph, |tensors| {
        *tensors = tensors
            .drain()
            .filter_map(|(name, t)| Some((name.strip_prefix(part)?.to_owned(), t)))
            .collect();
    })
}

fn partly() -> LoadOptions {
    LoadOptions {
        root: None,
        partial: true,
    }
}

fn open(paths: &[&PathBuf]) -> Vec<Checkpoint> {
    let opened = paths.iter().map(|path| Checkpoint::open(path).unwrap());
    opened.collect()
}

/// The f32 values that [`file`] and [`part_file`] have.
fn written(graph: &Graph) -> BTreeMap<String, Vec<f64>> {
    values(&initialize(graph, 7, DType::F32).unwrap())
}

#[test]
fn an_encoder_alone_fits_under_its_own_names_and_leaves_the_decoder() {
    let graph = segmenter();
    let (_dir, path) = part_file(&graph, "encoder.");
    let vars = initialize(&graph, 1, DType::F32).unwrap();
    let before = values(&vars);
    let refused = strict(&graph, &path, &vars).unwrap_err().to_string();
    let expected = "fits the encoder of mobilenetv2dilated-c1_deepsup (255 tensors), and holds nothing \
                    of the network but its encoder";
    assert!(refused.ends_with(expected), "{refused}");
    assert!(values(&vars) == before);
    let fit = load(&graph, &Checkpoint::open(&path).unwrap(), &partly(), &vars).unwrap();
    assert_eq!((&fit.part[..], fit.is_complete()), ("encoder.", true));
    let (after, written) = (values(&vars), written(&graph));
    for name in after.keys() {
        let expected = if name.starts_with("encoder.") {
            &written[name]
        } else {
            &before[name]
        };
        assert!(after[name] == *expected, "{name}");
    }
}

#[test]
fn an_encoder_and_a_decoder_are_the_whole_network() {
    let graph = segmenter();
    let (_first, encoder) = part_file(&graph, "encoder.");
    let (_second, decoder) = part_file(&graph, "decoder.");
    let vars = initialize(&graph, 1, DType::F32).unwrap();
    let load = |paths: &[&PathBuf], options: &LoadOptions| {
        load_parts(&graph, &open(paths), options, &vars)
    };
    let twice = load(&[&encoder, &encoder], &partly()).unwrap_err();
    let twice = twice.to_string();
    assert!(
        twice.contains("holds encoder.features.0.0.weight, as "),
        "{twice}"
    );
    let fits = load(&[&encoder, &decoder], &LoadOptions::default()).unwrap();
    let parts: Vec<&str> = fits.iter().map(|fit| &fit.part[..]).collect();
    assert_eq!(parts, ["encoder.", "decoder."]);
    assert!(values(&vars) == written(&graph));
}

#[test]
fn what_two_files_lack_is_refused_unless_a_part_is_enough() {
    let graph = segmenter();
    let (_first, encoder) = part_file(&graph, "encoder.");
    let (_second, head) = file(&graph, |tensors| {
        tensors.retain(|name, _| name.starts_with("decoder.conv_last"));
    });
    let vars = initialize(&graph, 1, DType::F32).unwrap();
    let load =
        |options: &LoadOptions| load_parts(&graph, &open(&[&encoder, &head]), options, &vars);
    let err = load(&LoadOptions::default()).unwrap_err().to_string();
    assert!(err.contains("missing     decoder.cbr.0.weight"), "{err}");
    let fits = load(&partly()).unwrap();
    assert_eq!((&fits[0].part[..], &fits[1].part[..]), ("encoder.", ""));
    assert_eq!(fits[1].fitting, 4);
}

#[test]
fn of_a_classifiers_file_the_backbone_is_taken_and_the_rest_is_named() {
    let fit_of = |graph: &Graph, other: &str| {
        let (_dir, path) = file(&network(other), |_| {});
        fit(graph, &Checkpoint::open(&path).unwrap(), None).unwrap()
    };
    // MobileNetV2 but for its last convolution and the classifier.
    let fit = fit_of(&segmenter(), "mobilenet_v2");
    assert_eq!(
        (&fit.part[..], fit.fitting, fit.tensors),
        ("encoder.", 255, 255)
    );
    assert!(fit.missing.is_empty() && fit.misfits.is_empty());
    assert_eq!(fit.unexpected.len(), 7);

    // The deep stem of the dilated ResNets is not torchvision's.
    let fit = fit_of(&network("resnet18dilated-ppm_deepsup"), "resnet18");
    let misfits: Vec<&str> = fit.misfits.iter().map(|misfit| &misfit.name[..]).collect();
    let stem = ["encoder.conv1.weight", "encoder.layer1.0.conv1.weight"];
    assert_eq!(misfits, stem);
    let missing: Vec<&str> = fit
        .missing
        .iter()
        .map(|missing| &missing.name[..])
        .collect();
    let expected = ["conv2", "bn2", "conv3", "bn3", "layer1.0.downsample"];
    assert!(missing.iter().all(|name| {
        let own = name.strip_prefix("encoder.").unwrap();
        expected.iter().any(|layer| own.starts_with(layer))
    }));
    assert_eq!(missing.len(), 15);
    let shown = fit.to_string();
    let counts = "does not fit the encoder of resnet18dilated-ppm_deepsup (115 tensors): 15 missing, 2 \
                  unexpected, 2 of another shape or type";
    assert!(shown.starts_with(counts), "{shown}");
    assert!(
        shown.contains("unexpected  fc.weight F32 [3, 512]"),
        "{shown}"
    );

    // DeepLabV3's backbone has the names of the features alone.
    let fit = fit_of(
        &network("deeplabv3_mobilenet_v3_large"),
        "mobilenet_v3_large",
    );
    assert_eq!((&fit.part[..], &fit.prefix[..]), ("backbone.", "features."));
    assert_eq!((fit.fitting, fit.unexpected.len()), (fit.tensors, 4));
}

#[test]
fn a_whole_network_is_never_taken_for_a_part() {
    let graph = segmenter();
    for prefix in ["", "module.", "model.encoder."] {
        let (_dir, path) = file(&graph, |tensors| under(tensors, prefix));
        let vars = initialize(&graph, 1, DType::F32).unwrap();
        let fit = strict(&graph, &path, &vars).unwrap();
        assert_eq!((&fit.part[..], &fit.prefix[..]), ("", prefix));
    }
    // Other classes are found in front of the auxiliary head, too.
    let options = zoo::Options {
        classes: 5,
        ..zoo::defaults(graph.name()).unwrap()
    };
    let other = zoo::build(graph.name(), &options).unwrap();
    let (_dir, path) = file(&other, |_| {});
    let fit = fit(&graph, &Checkpoint::open(&path).unwrap(), None).unwrap();
    assert_eq!((fit.classes, fit.misfits.len()), (Some((5, 3)), 4));
}
