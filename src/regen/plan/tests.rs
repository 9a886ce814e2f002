use super::*;
use crate::regen::LayerMask;

fn layer(name: &str, values: &[f64]) -> Gamma {
    Gamma {
        layer: name.into(),
        dtype: Dtype::F64,
        values: values.to_vec(),
    }
}

fn after(gammas: &[Gamma], plan: &Plan) -> Vec<Gamma> {
    let mut gammas = gammas.to_vec();
    for layer in &plan.layers {
        let gamma = gammas
            .iter_mut()
            .find(|gamma| gamma.layer == layer.name)
            .unwrap();
        for change in &layer.changes {
            gamma.values[change.channel] = change.new;
        }
    }
    gammas
}

fn values(gammas: &[Gamma]) -> Vec<f64> {
    gammas
        .iter()
        .flat_map(|gamma| gamma.values.clone())
        .collect()
}

fn run(list: &[f64], options: Options) -> (Plan, Vec<f64>) {
    let gammas = [layer("a", list)];
    let plan = plan(&gammas, &options, None).unwrap();
    let after = values(&after(&gammas, &plan));
    (plan, after)
}

const LIST: [f64; 6] = [-0.9, 0.0, 0.1, 0.4, -0.2, 0.8];

#[test]
fn paper_lifts_every_signed_gamma_up_to_the_lower_median() {
    // sorted: -0.9 -0.2 0.0 | 0.1 0.4 0.8; (6-1)/2 = 2
    let (plan, after) = run(&LIST, Options::default());
    assert_eq!(
        (plan.threshold, plan.target, plan.counted),
        (Some(0.0), Some(0.0), 6)
    );
    assert_eq!(after, [0.0, 0.0, 0.1, 0.4, 0.0, 0.8]);
    assert_eq!(plan.regenerated(), 2);
}

#[test]
fn reference_lifts_weak_magnitudes_to_the_upper_median() {
    // sorted |γ|: 0 0.1 0.2 0.4 0.8 0.9; floor(6/2) = 3
    let (plan, after) = run(
        &LIST,
        Options {
            rule: Rule::Reference,
            ..Options::default()
        },
    );
    assert_eq!(plan.threshold, Some(0.4));
    assert_eq!(after, [-0.9, 0.4, 0.4, 0.4, 0.4, 0.8]);
}

#[test]
fn keep_sign_lifts_magnitudes_and_gives_zero_a_plus() {
    let (_, after) = run(
        &[-0.9, 0.0, -0.0, 0.1, 0.4, -0.2, 0.8, 0.5],
        Options {
            rule: Rule::KeepSign,
            ..Options::default()
        },
    );
    assert_eq!(after, [-0.9, 0.4, 0.4, 0.4, 0.4, -0.4, 0.8, 0.5]);
}

#[test]
fn quantiles_and_numbers_are_thresholds() {
    let options = |below| Options {
        below,
        ..Options::default()
    };
    assert_eq!(
        run(&LIST, options(Below::Quantile(0.75))).0.threshold,
        Some(0.4)
    );
    assert_eq!(
        run(&LIST, options(Below::Quantile(0.0))).0.threshold,
        Some(-0.9)
    );
    let (plan, after) = run(&LIST, options(Below::Value(0.1)));
    assert_eq!((plan.threshold, plan.regenerated()), (Some(0.1), 3));
    assert_eq!(after, [0.1, 0.1, 0.1, 0.4, 0.1, 0.8]);
}

#[test]
fn the_target_is_of_the_list_before_the_edit() {
    let target = |rule, to| {
        run(
            &LIST,
            Options {
                rule,
                to,
                ..Options::default()
            },
        )
        .0
        .target
        .unwrap()
    };
    assert_eq!(target(Rule::Paper, To::Max), 0.8);
    assert_eq!(target(Rule::Reference, To::Max), 0.9);
    assert!((target(Rule::Paper, To::Mean) - 0.2 / 6.0).abs() < 1e-15);
    assert!((target(Rule::Reference, To::Mean) - 0.4).abs() < 1e-15);
    assert_eq!(target(Rule::Paper, To::Quantile(0.75)), 0.4);
    assert_eq!(target(Rule::Paper, To::Value(0.2)), 0.2);
    let below = Options {
        below: Below::Value(0.1),
        to: To::Median,
        ..Options::default()
    };
    assert_eq!(run(&LIST, below).0.target, Some(0.0));
}

#[test]
fn a_target_may_be_smaller_than_the_gamma_it_replaces() {
    let (_, after) = run(
        &LIST,
        Options {
            to: To::Value(-1.0),
            ..Options::default()
        },
    );
    assert_eq!(after, [-1.0, -1.0, 0.1, 0.4, -1.0, 0.8]);
}

#[test]
fn each_layer_by_itself_has_its_own_threshold() {
    let gammas = [layer("a", &[1.0, 2.0, 3.0]), layer("b", &[10.0, 30.0])];
    let plan = plan(
        &gammas,
        &Options {
            scope: Scope::Layer,
            ..Options::default()
        },
        None,
    )
    .unwrap();
    assert_eq!((plan.threshold, plan.target), (None, None));
    assert_eq!(values(&after(&gammas, &plan)), [2.0, 2.0, 3.0, 10.0, 30.0]);
    assert_eq!(plan.layers[1].threshold, 10.0);
}

#[test]
fn kept_zeros_leave_the_list_before_the_median() {
    let gammas = [layer("a", &[0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 3.0])];
    let options = Options {
        keep_zeros: true,
        ..Options::default()
    };
    let plan = plan(&gammas, &options, None).unwrap();
    assert_eq!((plan.counted, plan.threshold), (3, Some(2.0)));
    assert_eq!(
        values(&after(&gammas, &plan)),
        [0.0, 0.0, 0.0, 0.0, 2.0, 2.0, 3.0]
    );
}

#[test]
fn a_list_without_any_gamma_is_an_error() {
    let zeros = [layer("a", &[0.0])];
    let options = Options {
        keep_zeros: true,
        ..Options::default()
    };
    assert_eq!(plan(&zeros, &options, None), Err(PlanError::Empty(1)));
    assert_eq!(
        plan(&[], &Options::default(), None),
        Err(PlanError::Empty(0))
    );
}

#[test]
fn nan_and_infinity_are_refused_by_layer_and_channel() {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let err = plan(&[layer("x.bn", &[0.5, bad])], &Options::default(), None).unwrap_err();
        assert!(
            err.to_string().starts_with("layer x.bn: expected finite γ"),
            "{err}"
        );
        assert!(err.to_string().ends_with("in channel 1"), "{err}");
    }
}

#[test]
fn a_target_that_overflows_its_type_is_refused() {
    let gammas = [Gamma {
        layer: "a".into(),
        dtype: Dtype::F16,
        values: vec![1.0],
    }];
    let err = plan(
        &gammas,
        &Options {
            to: To::Value(1e6),
            ..Options::default()
        },
        None,
    )
    .unwrap_err();
    assert_eq!(
        err.to_string(),
        "layer a: the new γ 1000000 does not fit into F16"
    );
}

#[test]
fn a_mean_is_rounded_to_nearest_in_the_type_of_gamma() {
    let values = vec![0.25, 0.5, f64::from(0.1_f32)];
    let gammas = [Gamma {
        layer: "a".into(),
        dtype: Dtype::F32,
        values: values.clone(),
    }];
    let plan = plan(
        &gammas,
        &Options {
            to: To::Mean,
            ..Options::default()
        },
        None,
    )
    .unwrap();
    let mean = values.iter().sum::<f64>() / 3.0;
    assert_eq!(plan.target, Some(f64::from(mean as f32)));
}

#[test]
fn negative_zero_counts_as_changed_when_it_becomes_zero() {
    let (plan, _) = run(&[-0.0, 0.0, 1.0, 2.0], Options::default());
    assert_eq!(plan.threshold, Some(0.0));
    assert_eq!(plan.regenerated(), 1);
}

#[test]
fn strong_negatives_zero_layers_and_whole_layers_are_pointed_out() {
    let gammas = [
        layer("flip", &[-0.9, -0.6, 0.5, 0.7, 0.8, 0.9, 1.0, 1.1]),
        layer("zero", &[0.0, 0.0]),
        layer("low", &[0.1, 0.2]),
    ];
    let plan = plan(&gammas, &Options::default(), None).unwrap();
    assert_eq!(
        plan.cautions,
        [
            Caution::StrongNegatives {
                flipped: 2,
                weakened: 0,
                largest: -0.9
            },
            Caution::AllZero(vec!["zero".into()]),
            Caution::WhollyBelow(vec!["low".into()]),
        ]
    );
}

/// A small generator of lists: every rule, threshold, scope and mixture of types.
fn cases() -> impl Iterator<Item = (Vec<Gamma>, Options)> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..3000).map(move |_| {
        let dtypes = [Dtype::F16, Dtype::BF16, Dtype::F32, Dtype::F64];
        let mixed = random() % 2 == 0;
        let one = dtypes[random() as usize % 4];
        let gammas = (0..1 + random() % 4).map(|n| {
            let dtype = if mixed {
                dtypes[random() as usize % 4]
            } else {
                one
            };
            let value = |bits: u64| dtype.round((bits % 2001) as f64 / 1000.0 - 0.7);
            let values = (0..1 + random() % 9).map(|_| value(random())).collect();
            Gamma {
                layer: format!("l{n}"),
                dtype,
                values,
            }
        });
        let gammas: Vec<Gamma> = gammas.collect();
        let below = match random() % 4 {
            0 => Below::Quantile((random() % 100) as f64 / 100.0),
            1 => Below::Value((random() % 1000) as f64 / 1000.0),
            _ => Below::Median,
        };
        let rule = [Rule::Paper, Rule::Reference, Rule::KeepSign][random() as usize % 3];
        let scope = [Scope::Network, Scope::Layer][random() as usize % 2];
        (
            gammas,
            Options {
                rule,
                below,
                scope,
                ..Options::default()
            },
        )
    })
}

#[test]
fn a_second_plan_with_the_default_target_changes_nothing() {
    for (gammas, options) in cases() {
        let first = plan(&gammas, &options, None).unwrap();
        let second = plan(&after(&gammas, &first), &options, None).unwrap();
        assert_eq!(second.regenerated(), 0, "{gammas:?} {options:?}");
    }
}

#[test]
fn a_plan_changes_only_selected_channels_and_to_values_of_their_type() {
    for (gammas, options) in cases() {
        let plan = plan(&gammas, &options, None).unwrap();
        for (gamma, layer) in gammas.iter().zip(&plan.layers) {
            for change in &layer.changes {
                assert_eq!(gamma.values[change.channel].to_bits(), change.old.to_bits());
                assert_eq!(gamma.dtype.round(change.new), change.new);
                let selected = match options.rule {
                    Rule::Paper => change.old <= layer.threshold,
                    _ => change.old.abs() < layer.threshold,
                };
                assert!(selected, "{gammas:?} {options:?} {change:?}");
            }
        }
    }
}

#[test]
fn pruned_channels_are_in_no_list_and_do_not_change() {
    let gammas = [
        layer("a", &[0.0, 0.0, 0.2, 0.6]),
        layer("b", &[0.0, 0.4, 0.8]),
        layer("gone", &[0.0, 0.0]),
    ];
    let masked = |name: &str, channels, pruned| LayerMask {
        name: name.to_owned(),
        channels,
        pruned,
    };
    let mask = Mask::new([
        masked("a", 4, vec![0, 1]),
        masked("b", 3, vec![0]),
        masked("gone", 2, vec![0, 1]),
    ])
    .unwrap();
    let network = plan(&gammas, &Options::default(), Some(&mask)).unwrap();
    // 0.2 0.4 0.6 0.8
    assert_eq!((network.threshold, network.counted), (Some(0.4), 4));
    assert_eq!(
        values(&after(&gammas, &network)),
        [0.0, 0.0, 0.4, 0.6, 0.0, 0.4, 0.8, 0.0, 0.0]
    );
    assert!(
        network.cautions.is_empty(),
        "{:?} of channels that are pruned",
        network.cautions
    );
    let each = Options {
        scope: Scope::Layer,
        ..Options::default()
    };
    let each = plan(&gammas, &each, Some(&mask)).unwrap();
    assert_eq!(each.layers.len(), 2, "nothing of the third is counted");
    assert_eq!(each.layers[0].threshold, 0.2);
    let none = plan(&gammas[2..], &Options::default(), Some(&mask));
    assert_eq!(none, Err(PlanError::Empty(2)));
}
