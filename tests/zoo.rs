//! The networks of the zoo are those of torchvision.
#![cfg(feature = "train")]

mod common;

use std::fmt;
use std::fs::{self, File};
use std::io::BufReader;

use ckpt_regen::net::zoo::{self, Options, Stem};
use common::*;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

/// What `fixtures/golden/generate.py` says of a network.
#[derive(Deserialize)]
struct Golden {
    resolution: usize,
    classes: usize,
    tensors: StateDict,
}

/// Names and shapes, in the file's order.
#[derive(Debug, PartialEq)]
struct StateDict(Vec<(String, Vec<usize>)>);

impl<'de> Deserialize<'de> for StateDict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<StateDict, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = StateDict;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a state dict")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<StateDict, A::Error> {
                let mut all = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    all.push(entry);
                }
                Ok(StateDict(all))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

fn state_dict(name: &str, options: &Options) -> StateDict {
    let graph = zoo::build(name, options).unwrap();
    let tensors = graph.tensors().iter();
    StateDict(tensors.map(|t| (t.name.clone(), t.shape.clone())).collect())
}

#[test]
fn every_reference_network_has_the_same_state_dict_in_the_same_order() {
    let mut seen = 0;
    for entry in fs::read_dir(repository("fixtures/golden")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let file = BufReader::new(File::open(&path).unwrap());
        let golden: Golden = serde_json::from_reader(file).unwrap();
        let key = path.file_stem().unwrap().to_str().unwrap();
        let (name, stem) = match key.strip_suffix("_cifar") {
            Some("resnet20") => ("resnet20", Stem::Native),
            Some("resnet56") => ("resnet56", Stem::Native),
            Some(name) => (name, Stem::Cifar),
            None => (key, Stem::Native),
        };
        let options = Options {
            classes: golden.classes,
            resolution: golden.resolution,
            stem,
            width: 1.0,
        };
        assert_eq!(state_dict(name, &options), golden.tensors, "{key}");
        seen += 1;
    }
    assert_eq!(seen, 17);
}
