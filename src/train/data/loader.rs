//! Batches, prepared by other threads while the step runs.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::normalise::normalise;
use super::transform::Workspace;
use super::{Dataset, Transform};
use crate::error::{Error, Result};

/// Prepares batches of one data set. What they hold depends on the order, the seed and the number
/// of the epoch, never on the number of threads.
pub struct Loader {
    job: Arc<Job>,
    batch: usize,
    threads: usize,
    size: (usize, usize),
    /// From the last epoch, to be filled again.
    buffers: Vec<Buffer>,
}

/// A batch: images `[N, C, H, W]`, the labels and the number of each.
#[derive(Debug, Clone, Copy)]
pub struct Prepared<'a> {
    /// Normalised; C is that of the [`Transform`].
    pub images: &'a [f32],
    /// The labels of each image, one after the other.
    pub labels: &'a [u32],
    /// The number of each image in its set.
    pub indices: &'a [usize],
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

struct Job {
    dataset: Arc<dyn Dataset>,
    transform: Transform,
    tables: [[f32; 256]; 3],
    size: (usize, usize),
}

#[derive(Default)]
struct Buffer {
    images: Vec<f32>,
    labels: Vec<u32>,
    indices: Vec<usize>,
}

/// What the threads of one epoch share.
struct Shared {
    order: Vec<usize>,
    batch: usize,
    seed: u64,
    epoch: u64,
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
        dataset: Arc<dyn Dataset>,
        transform: Transform,
        batch: usize,
        threads: usize,
    ) -> Result<Loader> {
        if batch == 0 || threads == 0 {
            let message =
                format!("batches of {batch} images by {threads} threads: expected 1 or more");
            return Err(Error::Usage(message));
        }
        if dataset.len() == 0 {
            return Err(Error::Usage("batches of a data set without images".into()));
        }
        let size = check(&*dataset, &transform)?;
        let tables = transform.normalisation.tables();
        Ok(Loader {
            job: Arc::new(Job {
                dataset,
                transform,
                tables,
                size,
            }),
            batch,
            threads,
            size,
            buffers: Vec::new(),
        })
    }

    /// Width and height of the images in the batches.
    pub fn size(&self) -> (usize, usize) {
        self.size
    }

    /// The data set.
    pub fn dataset(&self) -> &dyn Dataset {
        &*self.job.dataset
    }

    /// Begins an epoch over the images `order`; the last batch holds what is left. `seed` and `epoch`
    /// decide, with an image's number, what random steps do to it.
    ///
    /// # Panics
    /// `order` has a number that is no image's.
    pub fn epoch(&mut self, order: &[usize], seed: u64, epoch: u64) -> Epoch<'_> {
        let len = self.job.dataset.len();
        assert!(
            order.iter().all(|index| *index < len),
            "an image past {len}"
        );
        // One is with the caller, one waits for it, and each thread fills one.
        let mut free = std::mem::take(&mut self.buffers);
        free.resize_with(self.threads + 2, Buffer::default);
        let shared = Arc::new(Shared {
            order: order.to_vec(),
            batch: self.batch,
            seed,
            epoch,
            state: Mutex::new(State {
                free,
                ..State::default()
            }),
            freed: Condvar::new(),
            ready: Condvar::new(),
        });
        let workers = (0..self.threads).map(|_| {
            let (job, shared) = (Arc::clone(&self.job), Arc::clone(&shared));
            std::thread::spawn(move || work(&job, &shared))
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
        self.shared.batches()
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
        if self.at >= self.shared.batches() {
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
    fn batches(&self) -> usize {
        self.order.len().div_ceil(self.batch)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A free buffer and the number of the batch that it is for; `None` when there is no more work.
    fn take(&self) -> Option<(usize, Buffer)> {
        let mut state = self.lock();
        loop {
            if state.stopped || state.next >= self.batches() {
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

fn work(job: &Job, shared: &Shared) {
    let _alarm = Alarm(shared);
    let mut work = Workspace::default();
    while let Some((number, mut buffer)) = shared.take() {
        let order = shared
            .order
            .chunks(shared.batch)
            .nth(number)
            .unwrap_or_default();
        let result = job.fill(order, shared, &mut buffer, &mut work);
        shared.put(number, result.map(|()| buffer));
    }
}

impl Job {
    fn fill(
        &self,
        order: &[usize],
        shared: &Shared,
        buffer: &mut Buffer,
        work: &mut Workspace,
    ) -> Result<()> {
        let len = self.transform.channels() * self.size.0 * self.size.1;
        buffer.indices.clear();
        buffer.indices.extend_from_slice(order);
        buffer.labels.clear();
        buffer.images.resize(order.len() * len, 0.0);
        for (index, planes) in order.iter().zip(buffer.images.chunks_exact_mut(len)) {
            self.dataset.read(*index, &mut work.image)?;
            let name = || self.dataset.name(*index);
            let size = self
                .transform
                .size((work.image.width(), work.image.height()));
            let size = size.map_err(|reason| Error::refused(&name(), reason))?;
            if size != self.size {
                return Err(mixed(&name(), self.size, size));
            }
            let place = (shared.seed, shared.epoch, *index);
            self.transform.apply(place, work);
            normalise(&work.image, &self.tables, planes);
            let target = self.dataset.target(*index);
            buffer.labels.extend_from_slice(target.labels());
        }
        Ok(())
    }
}

/// The size of every image after the transform.
fn check(dataset: &dyn Dataset, transform: &Transform) -> Result<(usize, usize)> {
    let after = |index: usize, size| {
        let size = transform.size(size);
        size.map_err(|reason| Error::refused(&dataset.name(index), reason))
    };
    let first = match dataset.size(0) {
        Some(size) => size,
        None => {
            let image = dataset.image(0)?;
            (image.width(), image.height())
        }
    };
    let expected = after(0, first)?;
    for index in 1..dataset.len() {
        if let Some(size) = dataset.size(index) {
            let size = after(index, size)?;
            if size != expected {
                return Err(mixed(&dataset.name(index), expected, size));
            }
        }
    }
    Ok(expected)
}

fn mixed(name: &std::path::Path, expected: (usize, usize), found: (usize, usize)) -> Error {
    let show = |(width, height)| format!("{width}×{height} pixels");
    let expected = format!("{}, as the first image of the set has", show(expected));
    Error::malformed(name, "size", expected, show(found))
}

#[cfg(test)]
mod tests;
