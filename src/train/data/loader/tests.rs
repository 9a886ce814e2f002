use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::super::{Image, Normalisation, Split, Step, open, shuffled};
use super::*;

fn transform() -> Transform {
    Transform {
        steps: vec![
            Step::RandomCrop {
                size: 8.into(),
                padding: 2,
            },
            Step::RandomHorizontalFlip,
        ],
        normalisation: Normalisation::DIGITS,
    }
}

fn digits() -> Arc<dyn Classified> {
    open("digits", Split::Train).unwrap().into()
}

type Owned = (Vec<f32>, Vec<u32>, Vec<usize>);

fn all(mut epoch: Epoch<'_>) -> Vec<Owned> {
    let mut batches = Vec::new();
    while let Some(batch) = epoch.next() {
        let batch = batch.unwrap();
        batches.push((
            batch.images.to_vec(),
            batch.labels.to_vec(),
            batch.indices.to_vec(),
        ));
    }
    assert_eq!(batches.len(), epoch.len());
    batches
}

#[test]
fn batches_come_in_order_whatever_the_number_of_threads() {
    let order = shuffled(1348, 7, 3);
    let mut one = Loader::new(digits(), transform(), 100, 1).unwrap();
    let prepared = all(one.epoch(batches(&order, 100, 3), 7));
    assert_eq!(prepared.len(), 14);
    let indices: Vec<usize> = prepared.iter().flat_map(|(_, _, i)| i.clone()).collect();
    assert_eq!(indices, order);
    let set = digits();
    for (images, labels, indices) in &prepared {
        assert_eq!(images.len(), 3 * 64 * indices.len());
        assert!(labels.iter().zip(indices).all(|(l, i)| *l == set.class(*i)));
    }
    let mut four = Loader::new(digits(), transform(), 100, 4).unwrap();
    assert!(all(four.epoch(batches(&order, 100, 3), 7)) == prepared);
}

#[test]
fn what_happens_to_an_image_does_not_depend_on_its_place_in_the_epoch() {
    let mut loader = Loader::new(digits(), transform(), 10, 2).unwrap();
    let forward: Vec<usize> = (0..50).collect();
    let backward: Vec<usize> = (0..50).rev().collect();
    let images = |batches: Vec<Owned>| -> Vec<Vec<f32>> {
        let images = batches.iter().flat_map(|(images, ..)| images.chunks(192));
        images.map(<[f32]>::to_vec).collect()
    };
    let first = images(all(loader.epoch(batches(&forward, 10, 1), 1)));
    let mut second = images(all(loader.epoch(batches(&backward, 10, 1), 1)));
    second.reverse();
    assert!(first == second);
    for (seed, epoch) in [(1, 2), (2, 1)] {
        let other = images(all(loader.epoch(batches(&forward, 10, epoch), seed)));
        let changed = first.iter().zip(&other).filter(|(a, b)| a != b).count();
        assert!(changed > 40, "{changed} of 50");
    }
}

#[test]
fn the_same_memory_is_filled_again() {
    let mut loader = Loader::new(digits(), transform(), 100, 2).unwrap();
    let order: Vec<usize> = (0..1348).collect();
    let mut seen = std::collections::BTreeSet::new();
    for number in 0..3 {
        let mut epoch = loader.epoch(batches(&order, 100, number), 0);
        while let Some(batch) = epoch.next() {
            seen.insert(batch.unwrap().images.as_ptr());
        }
    }
    assert!(seen.len() <= 4, "{} places in memory", seen.len());
}

/// Images of which one cannot be read, and how many were read.
struct Broken(AtomicUsize, usize);

impl Dataset for Broken {
    fn len(&self) -> usize {
        10_000
    }

    fn classes(&self) -> &[String] {
        &[]
    }

    fn name(&self, index: usize) -> PathBuf {
        index.to_string().into()
    }

    fn size(&self, _index: usize) -> Option<(usize, usize)> {
        Some((8, 8))
    }

    fn read(&self, index: usize, into: &mut Image) -> Result<()> {
        self.0.fetch_add(1, Ordering::Relaxed);
        assert!(index != 6000, "a data set that panics");
        if index == self.1 {
            return Err(Error::refused(&self.name(index), "is broken"));
        }
        into.reshape(if index == 7000 { 9 } else { 8 }, 8);
        Ok(())
    }
}

impl Classified for Broken {
    fn class(&self, _index: usize) -> u32 {
        0
    }
}

fn plain() -> Transform {
    Transform {
        steps: Vec::new(),
        ..transform()
    }
}

#[test]
fn an_image_that_cannot_be_read_ends_the_epoch_at_its_batch() {
    let set = Arc::new(Broken(AtomicUsize::new(0), 25));
    let mut loader = Loader::new(set, plain(), 10, 3).unwrap();
    let order: Vec<usize> = (0..1000).collect();
    let mut epoch = loader.epoch(batches(&order, 10, 0), 0);
    assert!(epoch.next().unwrap().is_ok());
    assert!(epoch.next().unwrap().is_ok());
    assert_eq!(
        epoch.next().unwrap().unwrap_err().to_string(),
        "25: is broken"
    );
    assert!(epoch.next().is_none());
}

#[test]
fn an_image_whose_size_turns_out_another_is_named() {
    let set = Arc::new(Broken(AtomicUsize::new(0), usize::MAX));
    let mut loader = Loader::new(set, plain(), 10, 1).unwrap();
    let mut epoch = loader.epoch(batches(&[1, 7000], 10, 0), 0);
    let message = epoch.next().unwrap().unwrap_err().to_string();
    assert!(
        message.starts_with("7000: size: expected 8×8 pixels"),
        "{message}"
    );
}

#[test]
fn only_a_few_batches_are_prepared_ahead_and_a_dropped_epoch_ends_its_threads() {
    let set = Arc::new(Broken(AtomicUsize::new(0), usize::MAX));
    let mut loader = Loader::new(Arc::clone(&set) as _, plain(), 10, 2).unwrap();
    let order: Vec<usize> = (0..5000).collect();
    let mut epoch = loader.epoch(batches(&order, 10, 0), 0);
    assert!(epoch.next().unwrap().is_ok());
    let begin = Instant::now();
    while set.0.load(Ordering::Relaxed) < 40 && begin.elapsed() < Duration::from_secs(30) {
        std::thread::yield_now();
    }
    std::thread::sleep(Duration::from_millis(20));
    // Four buffers, one of which is in use.
    assert_eq!(set.0.load(Ordering::Relaxed), 40);
    drop(epoch);
    // The threads are joined: nobody else holds what they shared, and another epoch begins anew.
    assert_eq!(Arc::strong_count(&loader.job), 1);
    assert_eq!(loader.buffers.len(), 4);
    assert_eq!(all(loader.epoch(batches(&order[..30], 10, 0), 0)).len(), 3);
}

#[test]
#[should_panic(expected = "has panicked")]
fn a_thread_that_panics_does_not_leave_the_step_waiting() {
    let set = Arc::new(Broken(AtomicUsize::new(0), usize::MAX));
    let mut loader = Loader::new(set, plain(), 10, 1).unwrap();
    let _ = loader.epoch(batches(&[6000], 10, 0), 0).next();
}

#[test]
fn what_makes_no_batch_is_refused_beforehand() {
    let refused = |transform, batch, threads| {
        let loader = Loader::new(digits(), transform, batch, threads);
        loader.err().expect("refused").to_string()
    };
    refused(plain(), 0, 1);
    refused(plain(), 1, 0);
    let large = Step::RandomCrop {
        size: 32.into(),
        padding: 4,
    };
    let message = refused(
        Transform {
            steps: vec![large],
            ..plain()
        },
        1,
        1,
    );
    assert!(message.contains("is 8×8 pixels: too small"), "{message}");
    assert!(message.starts_with(&Path::new("digits").join("0").display().to_string()));
}
