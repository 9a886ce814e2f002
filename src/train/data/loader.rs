//! Batches, prepared by other threads while the step runs.

mod classified;

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::scenes::SceneJob;
use super::transform::Workspace;
use super::{Classified, Dataset, Draw, SceneTransform, Scenes, Transform, batches};
use crate::error::{Error, Result};
use crate::net::Resolution;
use classified::ClassifiedJob;

/// Prepares batches of one data set. What they hold depends on the images, the pass that each is drawn
/// in and the seed, never on the number of threads.
pub struct Loader {
    job: Arc<dyn Job>,
    batch: usize,
    threads: usize,
    /// From the last epoch, to be filled again.
    buffers: Vec<Buffer>,
}

/// A batch: images `[N, C, H, W]`, the labels and the number of each.
#[derive(Debug, Clone, Copy)]
pub struct Prepared<'a> {
    /// Normalised.
    pub images: &'a [f32],
    /// H and W.
    pub resolution: Resolution,
    /// The labels of each image, one after the other: one a pixel of the network's output for
    /// [scenes](super::Scenes) in training; in a test one a pixel of the label map, with the batch of the last scale.
    pub labels: &'a [u32],
    /// The number of each image in its set.
    pub indices: &'a [usize],
}

/// What a batch is made of, and how.
pub(super) trait Job: Send + Sync {
    fn dataset(&self) -> &dyn Dataset;

    /// Into which of two kinds of batches an image goes, where not all go into one.
    fn is_portrait(&self, _index: usize) -> bool {
        false
    }

    /// How often a test sees each image.
    fn scales(&self) -> usize {
        1
    }

    /// The batches of a test, of up to `size` images each.
    fn tested(&self, size: usize) -> Vec<Vec<Draw>> {
        let order: Vec<usize> = (0..self.dataset().len()).collect();
        batches(&order, size, 0)
    }

    /// Prepares a batch; `buffer` holds what another one left.
    fn fill(
        &self,
        batch: &[Draw],
        seed: u64,
        buffer: &mut Buffer,
        work: &mut Workspace,
    ) -> Result<()>;
}

/// The batches of one epoch, in order. Threads prepare them from its making to its drop, a few
/// ahead and no more.
pub struct Epoch<'a> {
    loader: &'a mut Loader,
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    current: Option<Buffer>,
    /// The number of the next batch.
    at: usize,
}

pub(super) struct Buffer {
    pub(super) images: Vec<f32>,
    pub(super) resolution: Resolution,
    pub(super) labels: Vec<u32>,
    pub(super) indices: Vec<usize>,
}

impl Default for Buffer {
    fn default() -> Buffer {
        Buffer {
            images: Vec::new(),
            resolution: 0.into(),
            labels: Vec::new(),
            indices: Vec::new(),
        }
    }
}

/// What the threads of one epoch share.
struct Shared {
    batches: Vec<Vec<Draw>>,
    seed: u64,
    state: Mutex<State>,
    /// A buffer is free, or work is over.
    freed: Condvar,
    /// A batch is ready, or a thread is gone.
    ready: Condvar,
}

#[derive(Default)]
struct State {
    /// The batch that is prepared next. A thread takes it together with a free buffer, so that the
    /// batch that is waited for has always got one.
    next: usize,
    free: Vec<Buffer>,
    ready: BTreeMap<usize, Result<Buffer>>,
    stopped: bool,
    panicked: bool,
}

impl Loader {
    /// Batches of `batch` images of `dataset` after `transform`, prepared by `threads` threads.
    ///
    /// # Errors
    /// No image in a batch or in the set, no thread; an image that `transform` cannot be applied to, or that comes
    /// out of it in another size than the first one, as far as sizes are known beforehand.
    pub fn new(
        dataset: Arc<dyn Classified>,
        transform: Transform,
        batch: usize,
        threads: usize,
    ) -> Result<Loader> {
        check(&*dataset, batch, threads)?;
        let job = Arc::new(ClassifiedJob::new(dataset, transform)?);
        Ok(Loader::with(job, batch, threads))
    }

    /// Batches of up to `batch` scenes, prepared by `threads` threads.
    ///
    /// # Errors
    /// No scene in a batch or in the set, no thread; a scene of unknown size, or one that would be scaled to more
    /// pixels than are decoded.
    pub fn scenes(
        dataset: Arc<dyn Scenes>,
        transform: SceneTransform,
        batch: usize,
        threads: usize,
    ) -> Result<Loader> {
        check(&*dataset, batch, threads)?;
        let job = Arc::new(SceneJob::new(dataset, transform)?);
        Ok(Loader::with(job, batch, threads))
    }

    fn with(job: Arc<dyn Job>, batch: usize, threads: usize) -> Loader {
        Loader {
            job,
            batch,
            threads,
            buffers: Vec::new(),
        }
    }

    /// The data set.
    pub fn dataset(&self) -> &dyn Dataset {
        self.job.dataset()
    }

    /// Whether an image goes into batches of its own kind: of [scenes](super::Scenes) those that are higher
    /// than wide.
    pub fn is_portrait(&self, index: usize) -> bool {
        self.job.is_portrait(index)
    }

    /// How many scales a test of [scenes](super::Scenes) has; else 1.
    pub fn scales(&self) -> usize {
        self.job.scales()
    }

    /// Begins a test: every image of the set, in order. Of [scenes](super::Scenes) the batches hold images of
    /// one size, once for each scale, one after the other.
    pub fn test(&mut self) -> Epoch<'_> {
        let batches = self.job.tested(self.batch);
        self.epoch(batches, 0)
    }

    /// Begins an epoch of these batches. `seed` decides, with an image's number and pass, what random
    /// steps do to it.
    ///
    /// # Panics
    /// A number that is no image's.
    pub fn epoch(&mut self, batches: Vec<Vec<Draw>>, seed: u64) -> Epoch<'_> {
        let len = self.dataset().len();
        assert!(
            batches.iter().flatten().all(|draw| draw.index < len),
            "an image past {len}"
        );
        // One is with the caller, one waits for it, and each thread fills one.
        let mut free = std::mem::take(&mut self.buffers);
        free.resize_with(self.threads + 2, Buffer::default);
        let shared = Arc::new(Shared {
            batches,
            seed,
            state: Mutex::new(State {
                free,
                ..State::default()
            }),
            freed: Condvar::new(),
            ready: Condvar::new(),
        });
        let workers = (0..self.threads).map(|_| {
            let (job, shared) = (Arc::clone(&self.job), Arc::clone(&shared));
            std::thread::spawn(move || work(&*job, &shared))
        });
        Epoch {
            workers: workers.collect(),
            shared,
            loader: self,
            current: None,
            at: 0,
        }
    }
}

impl Epoch<'_> {
    /// How many batches the epoch has.
    #[allow(clippy::len_without_is_empty, reason = "a count, not a collection")]
    pub fn len(&self) -> usize {
        self.shared.batches.len()
    }

    /// The next batch, once it is ready; `None` after the last one.
    ///
    /// # Errors
    /// The first image of the batch that cannot be read. The epoch is over then.
    #[allow(
        clippy::should_implement_trait,
        reason = "a batch borrows from the epoch"
    )]
    pub fn next(&mut self) -> Option<Result<Prepared<'_>>> {
        let mut state = self.shared.lock();
        if let Some(buffer) = self.current.take() {
            state.free.push(buffer);
            self.shared.freed.notify_one();
        }
        if self.at >= self.shared.batches.len() {
            return None;
        }
        let result = loop {
            if let Some(result) = state.ready.remove(&self.at) {
                break result;
            }
            assert!(
                !state.panicked,
                "a thread that prepares batches has panicked"
            );
            state = wait(&self.shared.ready, state);
        };
        drop(state);
        match result {
            Ok(buffer) => {
                self.at += 1;
                let buffer = self.current.insert(buffer);
                Some(Ok(Prepared {
                    images: &buffer.images,
                    resolution: buffer.resolution,
                    labels: &buffer.labels,
                    indices: &buffer.indices,
                }))
            }
            Err(err) => {
                self.at = usize::MAX;
                Some(Err(err))
            }
        }
    }
}

impl Drop for Epoch<'_> {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.freed.notify_all();
        for worker in self.workers.drain(..) {
            // It has said so where it panicked.
            let _ = worker.join();
        }
        let mut state = self.shared.lock();
        let ready = std::mem::take(&mut state.ready);
        let buffers = &mut self.loader.buffers;
        buffers.append(&mut state.free);
        buffers.extend(ready.into_values().filter_map(Result::ok));
        buffers.extend(self.current.take());
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A free buffer and the number of the batch that it is for; `None` when there is no more work.
    fn take(&self) -> Option<(usize, Buffer)> {
        let mut state = self.lock();
        loop {
            if state.stopped || state.next >= self.batches.len() {
                return None;
            }
            if let Some(buffer) = state.free.pop() {
                state.next += 1;
                return Some((state.next - 1, buffer));
            }
            state = wait(&self.freed, state);
        }
    }

    fn put(&self, number: usize, result: Result<Buffer>) {
        let mut state = self.lock();
        state.stopped |= result.is_err();
        state.ready.insert(number, result);
        self.ready.notify_one();
    }
}

fn wait<'a>(condition: &Condvar, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
    condition
        .wait(state)
        .unwrap_or_else(PoisonError::into_inner)
}

/// Tells the others when its thread panics.
struct Alarm<'a>(&'a Shared);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.lock().panicked = true;
            self.0.ready.notify_one();
        }
    }
}

fn work(job: &dyn Job, shared: &Shared) {
    let _alarm = Alarm(shared);
    let mut work = Workspace::default();
    while let Some((number, mut buffer)) = shared.take() {
        let batch = &shared.batches[number];
        buffer.indices.clear();
        buffer.indices.extend(batch.iter().map(|draw| draw.index));
        buffer.labels.clear();
        let result = job.fill(batch, shared.seed, &mut buffer, &mut work);
        shared.put(number, result.map(|()| buffer));
    }
}

fn check(dataset: &dyn Dataset, batch: usize, threads: usize) -> Result<()> {
    if batch == 0 || threads == 0 {
        let message = format!("batches of {batch} images by {threads} threads: expected 1 or more");
        return Err(Error::Usage(message));
    }
    if dataset.len() == 0 {
        return Err(Error::Usage("batches of a data set without images".into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
