use super::super::network::split;
use super::*;
use crate::batchnorm::Schema;
use crate::checkpoint::Tensor;
use crate::dtype::Dtype;

fn tensor(name: String, shape: &[u64]) -> Tensor {
    Tensor {
        name,
        dtype: Dtype::F32,
        shape: shape.to_vec(),
        source: 0,
        offset: 0,
        len: 0,
        fixed: None,
        scattered: None,
        strides: None,
    }
}

/// A state dict of BatchNorm layers, as `name` or `name:channels`, and of other tensors, as `=name`.
/// Its networks, as root, role and number of layers, the raw one first.
fn networks(names: &[&str]) -> Vec<(String, Role, usize)> {
    let (mut tensors, mut layers) = (Vec::new(), Vec::new());
    for name in names {
        if let Some(other) = name.strip_prefix('=') {
            tensors.push(tensor(other.to_owned(), &[]));
            continue;
        }
        let (name, channels) = name.split_once(':').unwrap_or((name, "8"));
        let channels = channels.parse().unwrap();
        layers.push(Layer {
            name: name.to_owned(),
            kind: Default::default(),
            dict: 0,
            gamma: Some(tensors.len()),
            channels,
            frozen: false,
            fixed: None,
            statistics: [None; 2],
            betas: Vec::new(),
        });
        tensors.push(tensor(format!("{name}.weight"), &[channels as u64]));
    }
    let dict = StateDict {
        root: String::new(),
        tensors,
        ordered: true,
        role: Role::Raw,
    };
    let mut networks = split(&dict, layers, &Schema::default());
    networks.sort_by_key(|network| network.role);
    let networks = networks.into_iter();
    networks.map(|n| (n.root, n.role, n.layers.len())).collect()
}

/// A network in training with this many layers, and a copy.
fn copy(names: &[&str], raw: usize, root: &str, role: Role, layers: usize) {
    let wanted = [
        (String::new(), Role::Raw, raw),
        (root.to_owned(), role, layers),
    ];
    assert_eq!(networks(names), wanted, "{names:?}");
}

fn one_network(names: &[&str]) {
    let layers = names.iter().filter(|name| !name.starts_with('=')).count();
    assert_eq!(
        networks(names),
        [(String::new(), Role::Raw, layers)],
        "{names:?}"
    );
}

#[test]
fn an_average_beside_its_original_is_a_network_of_its_own() {
    copy(
        &["bn1", "l.bn2", "ema.bn1", "ema.l.bn2"],
        2,
        "ema",
        Role::Ema,
        2,
    );
    copy(&["model.bn", "model.ema.bn"], 1, "model.ema", Role::Ema, 1);
    copy(&["net.bn", "ema_net.bn"], 1, "ema_net", Role::Ema, 1);
    copy(
        &["encoder.bn", "shadow_encoder.bn"],
        1,
        "shadow_encoder",
        Role::Ema,
        1,
    );
    copy(&["f.bn", "f-SWA.bn"], 1, "f-SWA", Role::Ema, 1);
    copy(&["netG", "netG_ema"], 1, "netG_ema", Role::Ema, 1);
    copy(&["net/bn", "ema/net/bn"], 1, "ema", Role::Ema, 1);
}

#[test]
fn an_average_beside_a_generator_and_a_discriminator_is_that_of_the_generator() {
    let names = [
        "netG.bn1",
        "netG.bn2",
        "netD.bn",
        "netG_ema.bn1",
        "netG_ema.bn2",
    ];
    copy(&names, 3, "netG_ema", Role::Ema, 2);
    let names = names.map(|name| format!("module.{name}"));
    copy(
        &names.each_ref().map(|n| &n[..]),
        3,
        "module.netG_ema",
        Role::Ema,
        2,
    );
}

#[test]
fn wrappers_hide_neither_a_copy_nor_its_original() {
    copy(
        &[
            "model.bn1",
            "model.bn2",
            "ema_model.module.bn1",
            "ema_model.module.bn2",
        ],
        2,
        "ema_model",
        Role::Ema,
        2,
    );
    copy(
        &["module.bn", "module.ema.bn"],
        1,
        "module.ema",
        Role::Ema,
        1,
    );
    copy(
        &["netG.module.bn", "_orig_mod.EMA_netG.bn"],
        1,
        "_orig_mod.EMA_netG",
        Role::Ema,
        1,
    );
}

#[test]
fn a_teacher_beside_a_student_is_one_whatever_it_is_made_of() {
    copy(
        &["student.bn", "teacher.bn"],
        1,
        "teacher",
        Role::Teacher,
        1,
    );
    copy(
        &["module.student.bn", "module.teacher.bn"],
        1,
        "module.teacher",
        Role::Teacher,
        1,
    );
    copy(
        &["student.bn", "teacher_net.a", "teacher_net.b:64"],
        1,
        "teacher_net",
        Role::Teacher,
        2,
    );
    copy(
        &["a.b.studentNet.x", "a.b.teacherNet.y"],
        1,
        "a.b.teacherNet",
        Role::Teacher,
        1,
    );
    copy(
        &["student.bn", "head.bn", "teacher.bn"],
        2,
        "teacher",
        Role::Teacher,
        1,
    );
}

#[test]
fn a_teacher_beside_the_network_it_copies_is_one_and_a_mean_teacher_is_an_average() {
    copy(&["model.bn", "teacher.bn"], 1, "teacher", Role::Teacher, 1);
    copy(
        &["student.bn", "mean_teacher.bn"],
        1,
        "mean_teacher",
        Role::Teacher,
        1,
    );
    copy(
        &["net.bn", "mean_teacher.bn"],
        1,
        "mean_teacher",
        Role::Ema,
        1,
    );
}

#[test]
fn a_counter_of_averages_makes_an_average_of_any_name() {
    copy(
        &["net.bn", "averaged.module.bn", "=averaged.n_averaged"],
        1,
        "averaged",
        Role::Ema,
        1,
    );
    copy(
        &["net.bn", "smooth.module.x", "=smooth.n_averaged"],
        1,
        "smooth",
        Role::Ema,
        1,
    );
    assert_eq!(
        networks(&["module.bn", "=n_averaged"]),
        [(String::new(), Role::Ema, 1)]
    );
}

#[test]
fn momentum_encoders_are_averages() {
    copy(
        &["encoder_q.bn", "encoder_k.bn"],
        1,
        "encoder_k",
        Role::Ema,
        1,
    );
    copy(
        &["module.query_encoder.bn", "module.key_encoder.bn"],
        1,
        "module.key_encoder",
        Role::Ema,
        1,
    );
    copy(
        &[
            "online_net.bn",
            "online_net.head.bn",
            "predictor.bn",
            "target_net.bn",
        ],
        3,
        "target_net",
        Role::Ema,
        1,
    );
    copy(
        &["base_encoder.bn", "momentum_encoder.bn"],
        1,
        "momentum_encoder",
        Role::Ema,
        1,
    );
}

#[test]
fn averages_of_one_mark_are_one_network() {
    copy(
        &[
            "encoder.bn",
            "decoder.bn",
            "encoder_ema.bn",
            "decoder_ema.bn",
        ],
        2,
        "ema",
        Role::Ema,
        2,
    );
    copy(
        &[
            "algo.backbone.bn",
            "algo.head.bn",
            "algo.momentum_backbone.bn",
            "algo.momentum_head.bn",
        ],
        2,
        "algo.momentum",
        Role::Ema,
        2,
    );
    let two = networks(&["bn", "ema.bn", "swa.bn"]);
    assert_eq!(
        two[1..].iter().map(|n| &n.0[..]).collect::<Vec<_>>(),
        ["ema", "swa"]
    );
}

#[test]
fn below_other_components_a_copy_has_half_of_what_is_in_training() {
    copy(
        &[
            "gan.G.a",
            "gan.G.b",
            "gan.D.a",
            "gan.G_ema.a",
            "gan.G_ema.b",
        ],
        3,
        "gan.G_ema",
        Role::Ema,
        2,
    );
    copy(
        &[
            "gan.G.a",
            "gan.G.b",
            "gan.D.a",
            "gan.D.b",
            "gan.G_ema.a",
            "gan.G_ema.b",
        ],
        4,
        "gan.G_ema",
        Role::Ema,
        2,
    );
    let two = [
        "a.actor.enc.bn",
        "a.critic.enc.bn",
        "a.actor.enc_ema.bn",
        "a.critic.enc_ema.bn",
    ];
    copy(&two, 2, "a.ema", Role::Ema, 2);
    let marks = ["g.G.a", "g.D.a", "g.G_ema.a", "g.G_swa.a"];
    assert_eq!(networks(&marks).len(), 3);
    one_network(&["a.head.bn", "a.head_ema.bn", "a.b1", "a.b2", "a.b3"]);
}

#[test]
fn a_marked_name_without_all_twins_is_a_name_like_any_other() {
    one_network(&["teacher.bn1", "head.bn2"]);
    one_network(&["ema.bn1", "ema.bn2", "bn1"]);
    one_network(&["ema.bn:16", "bn:8"]);
    one_network(&["ema.bn1", "xbn1"]);
    one_network(&["schema.bn", "bn"]);
}

#[test]
fn wrappers_never_split_a_network() {
    one_network(&["module.bn1", "backbone.bn1", "model.bn1", "bn1"]);
}

/// State dicts of real architectures whose names hold marks and that are one network.
#[test]
fn what_is_one_network_stays_one() {
    // CvT: a convolutional projection of queries, keys and values with a BatchNorm each.
    one_network(&[
        "stages.0.blocks.0.attn.conv_proj_q.bn",
        "stages.0.blocks.0.attn.conv_proj_k.bn",
        "stages.0.blocks.0.attn.conv_proj_v.bn",
    ]);
    // EfficientFormerV2.
    one_network(&["attn.q.bn", "attn.k.bn", "attn.v.bn", "attn.v_local.bn"]);
    one_network(&["q.proj.bn", "k.proj.bn", "=v.proj.weight"]);
    // OCRNet: query and key with two convolutions each, a value without BatchNorm.
    one_network(&[
        "head.key_project.0.bn",
        "head.key_project.1.bn",
        "head.query_project.0.bn",
        "head.query_project.1.bn",
        "=head.value_project.conv.weight",
    ]);
    one_network(&["key.bn", "query.bn", "value.bn"]);
    // MobileNetV4's multi-query attention.
    one_network(&[
        "blocks.1.attn.key.norm",
        "blocks.1.attn.value.norm",
        "blocks.0.bn",
    ]);
    // Keys and queries deep in a network, and nothing called value.
    one_network(&[
        "layers.0.norm_q",
        "layers.0.norm_k",
        "layers.1.bn",
        "stem.bn",
    ]);
    one_network(&["encoder_k.bn"]);
    // CBAM and its like.
    one_network(&["ca.avg_mlp.bn", "ca.max_mlp.bn"]);
    one_network(&["avg_mlp.bn", "max_mlp.bn"]);
    one_network(&["stage.avg_pool.bn", "stage.bn1", "stage.bn2", "stage.bn3"]);
    // A projection for an auxiliary loss.
    one_network(&["momentum_head.bn", "encoder.bn"]);
    // An attention module called EMA in every block.
    one_network(&[
        "blocks.0.bn",
        "blocks.0.ema.bn",
        "blocks.1.bn",
        "blocks.1.ema.bn",
        "blocks.2.bn",
        "blocks.2.ema.bn",
        "blocks.3.bn",
    ]);
    one_network(&[
        "backbone.layer1.ema.gn",
        "backbone.layer1.bn",
        "backbone.layer2.bn",
    ]);
    // Siamese pairs and trackers.
    one_network(&["left.bn", "right.bn"]);
    one_network(&["branch_a.bn", "branch_b.bn", "target_branch.bn"]);
    one_network(&["template.bn", "search.bn", "target.bn"]);
    // Detectors, whose parts share names.
    one_network(&["backbone.bn", "neck.bn", "head.cls.bn", "head.reg.bn"]);
    // Two networks of different structure.
    one_network(&["generator.bn1", "generator.bn2", "discriminator.bn1"]);
}

#[test]
fn names_made_to_cost_time_cost_little() {
    let deep = ["ema"; 100_000].join(".");
    one_network(&[&deep, "bn"]);
    let long = "_".repeat(1 << 20);
    one_network(&[&long, &format!("ema.{long}x")]);
    let many: Vec<String> = (0..20_000).map(|n| format!("x{n}.ema.bn")).collect();
    one_network(&many.iter().map(|n| &n[..]).collect::<Vec<_>>());
    let siblings: Vec<String> = (0..20_000).map(|n| format!("ema_{n}.bn")).collect();
    one_network(&siblings.iter().map(|n| &n[..]).collect::<Vec<_>>());
    let counted: Vec<String> = (0..20_000)
        .flat_map(|n| [format!("x{n}.bn"), format!("=x{n}.n_averaged")])
        .collect();
    let counted: Vec<&str> = counted.iter().map(|n| &n[..]).collect();
    assert_eq!(
        networks(&counted),
        [("n_averaged".to_owned(), Role::Ema, 20_000)]
    );
}
