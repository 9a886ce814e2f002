//! Batches alone, without a step: CIFAR's augmentation from memory, and JPEG files.
//!
//! cargo bench --bench data -- [--data DIR] [--threads 1] [--side N]
//!
//! Without --data: 50,000 images of 32×32 pixels, cropped, flipped and normalised. With it: the
//! training images of DIR, cut and scaled to N×N where --side is given. Prints images a second.
#![expect(clippy::print_stdout, reason = "a benchmark's result")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use ckpt_regen::train::data::{
    Classified, Dataset, Image, Loader, Normalisation, Split, Step, Transform, batches, open,
    shuffled,
};

/// As many images as CIFAR has.
struct Cifar(Vec<Image>);

impl Dataset for Cifar {
    fn len(&self) -> usize {
        50_000
    }

    fn classes(&self) -> &[String] {
        &[]
    }

    fn name(&self, index: usize) -> PathBuf {
        index.to_string().into()
    }

    fn size(&self, _index: usize) -> Option<(usize, usize)> {
        Some((32, 32))
    }

    fn read(&self, index: usize, into: &mut Image) -> ckpt_regen::Result<()> {
        into.clone_from(&self.0[index % self.0.len()]);
        Ok(())
    }
}

impl Classified for Cifar {
    fn class(&self, _index: usize) -> u32 {
        0
    }
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let option = |name: &str| {
        let at = args.iter().position(|arg| arg == name)?;
        args.get(at + 1)
    };
    let number = |name: &str| option(name).map(|text| text.parse().expect("a number"));
    let crop = Step::RandomCrop {
        size: 32.into(),
        padding: 4,
    };
    let (set, steps): (Arc<dyn Classified>, _) = match option("--data") {
        Some(dir) => {
            let steps = number("--side").map(|side: usize| Step::RandomResizedCrop(side.into()));
            let set = open(dir, Split::Train).expect("a data set");
            (set.into(), steps.into_iter().collect())
        }
        None => {
            let image = |n: usize| Image::new(32, 32, (0..3072).map(|at| (at * n) as u8).collect());
            (Arc::new(Cifar((0..1000).map(image).collect())), vec![crop])
        }
    };
    let mut steps: Vec<Step> = steps;
    steps.push(Step::RandomHorizontalFlip);
    let transform = Transform {
        steps,
        normalisation: Normalisation::CIFAR100,
    };
    let threads = number("--threads").unwrap_or(1);
    let mut loader = Loader::new(set, transform, 128, threads).expect("a loader");
    let images = loader.dataset().len();
    let order = shuffled(images, 0, 0);
    let mut rates: Vec<f64> = (0..3)
        .map(|epoch| {
            let begin = Instant::now();
            let mut batches = loader.epoch(batches(&order, 128, epoch), 0);
            let mut seen = 0;
            while let Some(batch) = batches.next() {
                seen += batch.expect("a batch").labels.len();
            }
            assert_eq!(seen, images);
            images as f64 / begin.elapsed().as_secs_f64()
        })
        .collect();
    rates.sort_by(f64::total_cmp);
    println!(
        "{:.0} images/s by {threads} thread(s), the median of 3 epochs",
        rates[1]
    );
}
