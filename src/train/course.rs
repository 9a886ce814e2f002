//! The batches of an epoch, and which of them make up one update.

use super::data::{self, Draw, Loader};
use super::settings::Settings;
use crate::error::{Error, Result};

/// The images of one epoch, in batches and groups of batches that make up one update.
#[derive(Debug)]
pub(super) struct Course {
    pub(super) batches: Vec<Vec<Draw>>,
    /// Images of each batch.
    sizes: Vec<usize>,
    group: usize,
}

/// Gathers images into batches of one kind each: of scenes, those that are higher than wide are one.
struct Gatherer<'a> {
    loader: &'a Loader,
    batch: usize,
    /// What is gathered so far, by kind.
    waiting: [Vec<Draw>; 2],
}

impl Gatherer<'_> {
    /// Adds an image; a batch that is full with it is given out.
    fn add(&mut self, draw: Draw) -> Option<Vec<Draw>> {
        let waiting = &mut self.waiting[usize::from(self.loader.is_portrait(draw.index))];
        waiting.push(draw);
        (waiting.len() == self.batch).then(|| std::mem::take(waiting))
    }
}

impl Course {
    /// All images once, shuffled; or, where the settings give an epoch a number of updates, so many: image
    /// after image of one pass after the other, each shuffled, from where the epoch before ended.
    ///
    /// A last batch of one image, of either kind, is left out: BatchNorm may have nothing to normalise a
    /// single value by.
    ///
    /// # Errors
    /// No batch is left.
    pub(super) fn new(settings: &Settings, loader: &Loader, epoch: u64) -> Result<Course> {
        let images = loader.dataset().len();
        let (batch, group) = (settings.batch_size, settings.accumulate);
        let mut gatherer = Gatherer {
            loader,
            batch,
            waiting: [Vec::new(), Vec::new()],
        };
        let pass = |pass: u64| {
            let order = data::shuffled(images, settings.seed, pass);
            order.into_iter().map(move |index| Draw {
                index,
                pass,
                scale: 0,
            })
        };
        let batches: Vec<Vec<Draw>> = if settings.epoch_updates == 0 {
            let full: Vec<_> = pass(epoch).filter_map(|draw| gatherer.add(draw)).collect();
            let alone = |rest: &Vec<Draw>| rest.len() == 1 && images > 1;
            let rest = gatherer.waiting.into_iter();
            let rest = rest.filter(|rest| !rest.is_empty() && !alone(rest));
            full.into_iter().chain(rest).collect()
        } else {
            let count = settings.epoch_updates.saturating_mul(group as u64);
            let (first, before) = gatherer.begin((epoch - 1).saturating_mul(count));
            let all = (first..).flat_map(pass);
            let all = all.filter_map(|draw| gatherer.add(draw));
            all.skip(before).take(count as usize).collect()
        };
        if batches.is_empty() {
            return Err(Error::Usage(format!(
                "{images} training images make no batch of {batch}: of each orientation one image is left out"
            )));
        }
        Ok(Course {
            sizes: batches.iter().map(Vec::len).collect(),
            batches,
            group,
        })
    }

    /// Images in the epoch.
    pub(super) fn images(&self) -> usize {
        self.sizes.iter().sum()
    }

    /// Updates in the epoch.
    pub(super) fn updates(&self) -> u64 {
        self.sizes.len().div_ceil(self.group) as u64
    }

    /// Images of the group of batches that batch number `batch` belongs to.
    pub(super) fn group_images(&self, batch: usize) -> usize {
        let first = batch / self.group * self.group;
        self.sizes.iter().skip(first).take(self.group).sum()
    }

    /// Whether an update follows batch number `batch`.
    pub(super) fn ends_group(&self, batch: usize) -> bool {
        (batch + 1).is_multiple_of(self.group) || batch + 1 == self.sizes.len()
    }
}

impl Gatherer<'_> {
    /// Goes to where so many batches of the passes from 1 on have been given out, without going through all
    /// of them: the pass to go on with, and how many of its batches come before. What waits is filled up by
    /// draws that stand for earlier ones, which only those batches hold.
    fn begin(&mut self, batches: u64) -> (u64, usize) {
        let images = self.loader.dataset().len();
        let portraits = (0..images).filter(|index| self.loader.is_portrait(*index));
        let portraits = portraits.count();
        let kinds = [images - portraits, portraits].map(|count| count as u64);
        let batch = self.batch as u64;
        let given = |passes: u64| -> u64 {
            let of = |count: u64| passes.saturating_mul(count) / batch;
            kinds.into_iter().map(of).sum()
        };
        // The last whole pass that is over, by halving.
        let (mut over, mut beyond) = (0, batches.saturating_mul(2).saturating_add(2 * batch));
        while beyond - over > 1 {
            let middle = over + (beyond - over) / 2;
            if given(middle) <= batches {
                over = middle;
            } else {
                beyond = middle;
            }
        }
        // So many passes have a batch of every kind, which takes all that waits.
        let rarest = kinds.into_iter().filter(|count| *count > 0).min();
        let back = batch.div_ceil(rarest.unwrap_or(1));
        let skipped = over.saturating_sub(back);
        for (waiting, count) in self.waiting.iter_mut().zip(kinds) {
            let left = skipped.saturating_mul(count) % batch;
            let stand_in = Draw {
                index: 0,
                pass: 0,
                scale: 0,
            };
            waiting.resize(left as usize, stand_in);
        }
        (skipped + 1, (batches - given(skipped)) as usize)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;

    use super::*;
    use crate::train::Recipe;
    use crate::train::data::scenes::{LabelPad, Sizes};
    use crate::train::data::{
        Dataset, Image, LabelMap, Normalisation, SceneTransform, Scenes, Split, Transform, open,
    };

    fn loader() -> Loader {
        let transform = Transform {
            steps: Vec::new(),
            normalisation: Normalisation::DIGITS,
        };
        let digits = open("digits", Split::Train).unwrap();
        Loader::new(digits.into(), transform, 100, 1).unwrap()
    }

    fn settings(batch_size: usize, epoch_updates: u64) -> Settings {
        Settings {
            batch_size,
            epoch_updates,
            accumulate: 2,
            ..Recipe::Digits.settings()
        }
    }

    #[test]
    fn an_epoch_is_all_images_but_a_last_one_that_is_alone() {
        let loader = loader();
        let course = Course::new(&settings(100, 0), &loader, 3).unwrap();
        let found = (course.images(), course.batches.len(), course.updates());
        assert_eq!(found, (1348, 14, 7));
        let groups = (course.group_images(11), course.group_images(13));
        assert_eq!(groups, (200, 148));
        assert!(!course.ends_group(12) && course.ends_group(13));
        let order = course.batches.iter().flatten().map(|draw| draw.index);
        assert!(order.eq(data::shuffled(1348, 0, 3)));
        // 1348 = 449 · 3 + 1.
        let course = Course::new(&settings(3, 0), &loader, 3).unwrap();
        assert_eq!((course.images(), course.updates()), (1347, 225));
    }

    #[test]
    fn epochs_of_updates_go_on_where_the_one_before_ended() {
        let loader = loader();
        let settings = settings(100, 5);
        let epoch = |epoch| Course::new(&settings, &loader, epoch).unwrap();
        let epochs = [1, 2, 3].map(epoch);
        let whole = |course: &Course| (course.updates(), course.images()) == (5, 1000);
        assert!(epochs.iter().all(whole));
        let drawn: Vec<Draw> = epochs
            .iter()
            .flat_map(|course| course.batches.concat())
            .collect();
        let pass = |pass| data::shuffled(1348, 0, pass).into_iter();
        let expected = (1..=3).flat_map(pass).take(3000);
        assert!(drawn.iter().map(|draw| draw.index).eq(expected));
        let passes = (0..3000).map(|at| 1 + at / 1348);
        assert!(drawn.iter().map(|draw| draw.pass).eq(passes));
    }

    /// Scenes of which some are higher than wide.
    struct Turned(usize, IsPortrait);

    type IsPortrait = fn(usize) -> bool;

    impl Dataset for Turned {
        fn len(&self) -> usize {
            self.0
        }

        fn classes(&self) -> &[String] {
            &[]
        }

        fn name(&self, index: usize) -> PathBuf {
            index.to_string().into()
        }

        fn size(&self, index: usize) -> Option<(usize, usize)> {
            Some(if (self.1)(index) { (8, 16) } else { (16, 8) })
        }

        fn read(&self, _: usize, _: &mut Image) -> Result<()> {
            unreachable!("no batch is prepared")
        }
    }

    impl Scenes for Turned {
        fn read_labels(&self, _: usize, _: &mut LabelMap) -> Result<()> {
            unreachable!("no batch is prepared")
        }
    }

    fn turned(count: usize, portrait: IsPortrait) -> Loader {
        let transform = SceneTransform {
            split: Split::Train,
            sizes: Sizes::default(),
            flip: false,
            stride: 8,
            pad: LabelPad::Ignore,
            normalisation: Normalisation::IMAGENET,
        };
        Loader::scenes(Arc::new(Turned(count, portrait)), transform, 3, 1).unwrap()
    }

    #[test]
    fn batches_have_one_orientation_and_later_epochs_are_reached_without_the_earlier_ones() {
        let kinds: [(usize, IsPortrait); 4] = [
            (40, |index| index % 5 == 0),
            (40, |index| index == 7),
            (2, |index| index == 1),
            (5, |_| true),
        ];
        for (count, portrait) in kinds {
            let loader = turned(count, portrait);
            let settings = settings(3, 4);
            // As it is said: from the first pass on.
            let mut gatherer = Gatherer {
                loader: &loader,
                batch: 3,
                waiting: [Vec::new(), Vec::new()],
            };
            let pass = |pass: u64| {
                let order = data::shuffled(count, 0, pass).into_iter();
                order.map(move |index| Draw {
                    index,
                    pass,
                    scale: 0,
                })
            };
            let all = (1..).flat_map(pass).filter_map(|draw| gatherer.add(draw));
            let mut all = all.take(8 * 30);
            for epoch in 1..=30 {
                let course = Course::new(&settings, &loader, epoch).unwrap();
                let expected: Vec<Vec<Draw>> = all.by_ref().take(8).collect();
                assert_eq!(course.batches, expected, "{count} images, epoch {epoch}");
                for batch in &course.batches {
                    let mut kinds = batch.iter().map(|draw| portrait(draw.index));
                    assert!(kinds.all(|kind| kind == portrait(batch[0].index)));
                }
            }
        }
    }

    #[test]
    fn a_far_epoch_is_found_at_once_and_images_without_a_batch_are_refused() {
        let loader = turned(40, |index| index % 5 == 0);
        let course = Course::new(&settings(3, 4), &loader, 1 << 40).unwrap();
        assert!(
            course
                .batches
                .iter()
                .flatten()
                .all(|draw| draw.pass > 1 << 30)
        );
        let alone = turned(2, |index| index == 1);
        let refused = Course::new(&settings(3, 0), &alone, 1)
            .unwrap_err()
            .to_string();
        assert!(
            refused.contains("2 training images make no batch of 3"),
            "{refused}"
        );
    }
}
