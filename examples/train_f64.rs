//! The trainer's loop on the plain engine in f64, as a program: what it computes can be compared
//! with any other program's float64 to the last digits.
//!
//! `train_f64 OUT [--resume=WEIGHTS] KEY=VALUE…` trains a run of these settings (the rest is recipe cifar's,
//! where no other is named), without dropout, and prints the loss and the numbers of the images of each batch as JSON.
#![allow(clippy::print_stdout, reason = "it is a program")]

use ckpt_regen::Result;
use ckpt_regen::engine::plain::Plain;
use ckpt_regen::train::{self, Event, Request};

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let out = args.next().expect("the directory of the run comes first");
    let (weights, settings): (Vec<_>, Vec<_>) = args.partition(|arg| arg.starts_with("--resume="));
    let settings = settings.join("\n");
    let resume = weights
        .first()
        .and_then(|arg| arg.strip_prefix("--resume="));
    let changes: toml::Table = settings.parse().expect("settings are KEY=VALUE");
    let recipe = (!changes.contains_key("recipe")).then_some(train::Recipe::Cifar);
    let request = Request {
        out: Some(out.into()),
        resume: resume.map(Into::into).into_iter().collect(),
        changes: vec![changes],
        recipe,
        ..Request::default()
    };
    let engine = |graph: ckpt_regen::net::Graph, task| -> Result<_> {
        Ok(Box::new(Plain::<f64>::with_task(graph.without_noise(), task)?) as _)
    };
    let mut trainer = train::open(&request, &engine)?;
    trainer.run(None, &mut |event| {
        if let Event::Training(progress) = event {
            let (loss, images) = (progress.batch_loss, progress.indices);
            println!("{{\"loss\": {loss:?}, \"images\": {images:?}}}");
        }
    })?;
    Ok(())
}
