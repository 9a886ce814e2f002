//! The batches of an epoch, and which of them make up one update.

use super::data::{self, Draw, Loader};
use super::settings::Settings;

/// The images of one epoch, in batches and groups of batches that make up one update.
#[derive(Debug)]
pub(super) struct Course {
    pub(super) batches: Vec<Vec<Draw>>,
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
    /// A last batch of one image is left out: BatchNorm may have nothing to normalise a single value by.
    pub(super) fn new(settings: &Settings, loader: &Loader, epoch: u64) -> Course {
        let images = loader.dataset().len();
        let (batch, group) = (settings.batch_size, settings.accumulate);
        let mut gatherer = Gatherer {
            loader,
            batch,
            waiting: [Vec::new(), Vec::new()],
        };
        let pass = |pass: u64| {
            let order = data::shuffled(images, settings.seed, pass);
            order.into_iter().map(move |index| Draw { index, pass })
        };
        let batches = match settings.epoch_updates {
            None => {
                let full: Vec<Vec<Draw>> =
                    pass(epoch).filter_map(|draw| gatherer.add(draw)).collect();
                let alone = |rest: &Vec<Draw>| rest.len() == 1 && images > 1;
                let rest = gatherer.waiting.into_iter();
                let rest = rest.filter(|rest| !rest.is_empty() && !alone(rest));
                full.into_iter().chain(rest).collect()
            }
            Some(updates) => {
                let updates = usize::try_from(updates).unwrap_or(usize::MAX);
                let count = updates.saturating_mul(group);
                let before = count.saturating_mul(usize::try_from(epoch - 1).unwrap_or(usize::MAX));
                let all = (1..).flat_map(pass).filter_map(|draw| gatherer.add(draw));
                all.skip(before).take(count).collect()
            }
        };
        Course { batches, group }
    }

    /// Images in the epoch.
    pub(super) fn images(&self) -> usize {
        self.batches.iter().map(Vec::len).sum()
    }

    /// Updates in the epoch.
    pub(super) fn updates(&self) -> u64 {
        self.batches.len().div_ceil(self.group) as u64
    }

    /// Images of the group of batches that batch number `batch` belongs to.
    pub(super) fn group_images(&self, batch: usize) -> usize {
        let first = batch / self.group * self.group;
        let group = self.batches.iter().skip(first).take(self.group);
        group.map(Vec::len).sum()
    }

    /// Whether an update follows batch number `batch`.
    pub(super) fn ends_group(&self, batch: usize) -> bool {
        (batch + 1).is_multiple_of(self.group) || batch + 1 == self.batches.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::Recipe;
    use crate::train::data::{Normalisation, Split, Transform, open};

    fn loader() -> Loader {
        let transform = Transform {
            steps: Vec::new(),
            normalisation: Normalisation::DIGITS,
        };
        let digits = open("digits", Split::Train).unwrap();
        Loader::new(digits.into(), transform, 100, 1).unwrap()
    }

    fn settings(batch_size: usize, epoch_updates: Option<u64>) -> Settings {
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
        let course = Course::new(&settings(100, None), &loader, 3);
        assert_eq!(
            (course.images(), course.batches.len(), course.updates()),
            (1348, 14, 7)
        );
        assert_eq!(
            (course.group_images(11), course.group_images(13)),
            (200, 148)
        );
        assert!(!course.ends_group(12) && course.ends_group(13));
        let order: Vec<usize> = course
            .batches
            .iter()
            .flatten()
            .map(|draw| draw.index)
            .collect();
        assert_eq!(order, data::shuffled(1348, 0, 3));
        // 1348 = 449 · 3 + 1.
        let course = Course::new(&settings(3, None), &loader, 3);
        assert_eq!((course.images(), course.updates()), (1347, 225));
    }

    #[test]
    fn epochs_of_updates_go_on_where_the_one_before_ended() {
        let loader = loader();
        let settings = settings(100, Some(5));
        let epochs: Vec<Course> = (1..=3)
            .map(|epoch| Course::new(&settings, &loader, epoch))
            .collect();
        assert!(
            epochs
                .iter()
                .all(|course| course.updates() == 5 && course.images() == 1000)
        );
        let drawn: Vec<Draw> = epochs
            .iter()
            .flat_map(|course| course.batches.concat())
            .collect();
        let pass = |pass| data::shuffled(1348, 0, pass).into_iter();
        let expected: Vec<usize> = (1..=3).flat_map(pass).take(3000).collect();
        assert!(drawn.iter().map(|draw| draw.index).eq(expected));
        assert!(
            drawn
                .iter()
                .map(|draw| draw.pass)
                .eq((0..3000).map(|at| 1 + at / 1348))
        );
    }
}
