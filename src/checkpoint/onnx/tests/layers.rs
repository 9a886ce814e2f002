use super::{load, refusal, summary};

#[test]
fn a_gamma_merged_with_another_parameter_is_shared() {
    let merged = load("merged");
    assert_eq!(
        summary(&merged),
        [
            (
                "bn1",
                "its γ bn1.weight is also running variance of BatchNormalization /bn2/bn",
                true
            ),
            ("bn2", "", false),
            (
                "bn3",
                "its γ bn3.weight is also β of BatchNormalization /bn3/bn",
                true
            ),
        ]
    );
    assert!(
        merged
            .declared
            .norms
            .iter()
            .all(|norm| norm.gamma.is_some())
    );
}

#[test]
fn identity_nodes_are_followed_both_ways_and_a_gamma_of_two_nodes_is_one_layer() {
    let opened = load("identity");
    let shared = "its γ bn2.weight is also input 0 of Add /Add, input 1 of Add /Add";
    assert_eq!(
        summary(&opened),
        [
            ("bn1", "", false),
            ("bn2", shared, true),
            ("bn3", "", false)
        ]
    );
    assert_eq!(opened.declared.norms[0].node, "BatchNormalization /bn1/bn");
}

#[test]
fn a_layer_has_the_beta_of_each_of_its_nodes_and_knows_who_else_uses_it() {
    let betas = |opened: &super::Opened, layer: usize| -> Vec<(String, Option<String>)> {
        let betas = opened.declared.norms[layer].betas.iter();
        betas
            .map(|beta| {
                let name = &opened.tensors[beta.tensor.unwrap()].name;
                (name.clone(), beta.editable.clone().err())
            })
            .collect()
    };
    let identity = load("identity");
    let names = ["bn3.bias", "bn4.bias"].map(|name| (name.to_owned(), None));
    assert_eq!(betas(&identity, 2), names);
    let merged = load("merged");
    assert_eq!(betas(&merged, 0), [("bn1.bias".to_owned(), None)]);
    let shared = "its β bn3.weight is also γ of BatchNormalization /bn3/bn";
    let shared = ("bn3.weight".to_owned(), Some(shared.to_owned()));
    assert_eq!(betas(&merged, 2), [shared]);
}

#[test]
fn constants_are_layers_under_their_nodes_names() {
    let layers = [
        ("/bn1/Constant", "", false),
        ("/bn2/Constant", "", false),
        ("/bn3/c3", "", false),
    ];
    assert_eq!(summary(&load("constant")), layers);
}

#[test]
fn bodies_capture_gammas_and_have_their_own() {
    let carried = "its γ carried is an input of the body of a control-flow node";
    assert_eq!(
        summary(&load("bodies")),
        [
            ("bn1", "", false),
            ("bn2", "", false),
            ("bn3", "", false),
            ("carried", carried, false)
        ]
    );
}

#[test]
fn arguments_of_functions_are_resolved_at_each_call() {
    let bn2 = "its γ bn2.weight is also β of BatchNormalization inner";
    assert_eq!(
        summary(&load("functions")),
        [
            ("bn1", "", false),
            ("bn2", bn2, true),
            ("bn3", "", false),
            ("/twice/Constant", "", false),
            ("bn4", "", false),
        ]
    );
}

#[test]
fn gammas_that_are_not_stored_are_listed_with_the_reason() {
    let opened = load("unusual");
    assert_eq!(
        summary(&opened),
        [
            (
                "bn1",
                "its γ bn1.weight is also an output of the graph",
                true
            ),
            (
                "bn2.input",
                "its γ bn2.input is an input of the graph without initializer",
                false
            ),
            (
                "ones",
                "its γ ones is computed by ConstantOfShape /bn3/ConstantOfShape, not stored",
                false
            ),
            (
                "bn4.cast",
                "its γ bn4.cast is computed by Cast /bn4/Cast, not stored",
                false
            ),
            ("bn5", "its γ bn5.weight is a sparse initializer", false),
            // Both would have the name bn6.
            ("bn6", "", false),
            ("bn6.scale", "", false),
        ]
    );
    let without: Vec<bool> = opened
        .declared
        .norms
        .iter()
        .map(|norm| norm.gamma.is_none())
        .collect();
    assert_eq!(without, [false, true, true, true, true, false, false]);
}

#[test]
fn training_mode_is_batch_normalization_too() {
    assert_eq!(summary(&load("training")), [("bn1", "", false)]);
}

#[test]
fn a_model_with_convolutions_alone_is_folded() {
    assert!(load("folded").declared.folded);
    assert!(!load("training").declared.folded);
}

#[test]
fn statistics_of_another_length_are_an_error() {
    let message = refusal("invalid_shapes");
    assert!(message.contains("running mean of γ's shape [4], found bn1.running_mean of shape [3]"));
}

#[test]
fn a_name_defined_twice_is_an_error() {
    assert!(refusal("invalid_twice").contains(r#"value "bn1.weight": expected one definition"#));
}

#[test]
fn endless_and_exponential_graphs_are_given_up() {
    assert!(refusal("invalid_recursion").contains("function F: expected no recursion"));
    assert!(refusal("invalid_paths").contains("10000000 paths to follow"));
    assert!(refusal("invalid_cycle").contains("10000000 paths to follow"));
}
