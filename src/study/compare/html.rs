//! A comparison as a page.

use std::io;

use super::terminal::{interval, signed, with_deviation};
use super::{Comparison, Sample};
use crate::render::canvas::Figure;
use crate::render::chart::{Interval, Intervals, Marks};
use crate::render::page::{Along, ChartLine, Page, color, curve, figure, key};
use crate::render::{Html, Render, Rgb, SERIES, escaped};
use crate::study::measure::{Measure, measure};

impl Render<Comparison> for Html {
    fn render(&self, comparison: &Comparison, out: &mut dyn io::Write) -> io::Result<()> {
        let seeds = comparison.seeds.len();
        let names: Vec<&str> = comparison.arms.iter().map(|arm| &arm.name[..]).collect();
        let mut body = format!(
            "<header>\n<p class=\"kind\">The same recipe, over {seeds} seed{}</p>\n<h1>{}</h1>\n\
             <p class=\"said\">{} · {} · {} epochs</p>\n</header>\n<section>\n",
            if seeds == 1 { "" } else { "s" },
            escaped(&names.join(", ")),
            escaped(&comparison.network),
            escaped(&comparison.data),
            comparison.epochs.len(),
        );
        body += &table(comparison);
        body += &scenes(comparison);
        body += &accuracies(comparison);
        body += &differences(comparison);
        body += &curves(comparison);
        body += &by_seed(comparison);
        body += "</section>\n";
        Page {
            title: &names.join(", "),
            data: &serde_json::to_value(comparison)?,
            body: &body,
        }
        .write(out)
    }
}

fn percent(sample: &Sample) -> String {
    with_deviation(sample).unwrap_or_else(|| "–".to_owned())
}

fn table(comparison: &Comparison) -> String {
    let mut rows = String::new();
    for (i, arm) in comparison.arms.iter().enumerate() {
        let (difference, sure) = match i.checked_sub(1).map(|i| &comparison.differences[i].last) {
            Some(sample) => (
                sample.mean.map_or_else(String::new, signed),
                interval(sample),
            ),
            None => (String::new(), String::new()),
        };
        rows += &format!(
            "<tr><th scope=\"row\" class=\"text\"><span class=\"key k{}\">{}</span></th>\
             <td>{}</td><td>{}</td><td>{}</td><td>{difference}</td><td>{sure}</td></tr>\n",
            i % SERIES.len(),
            escaped(&arm.name),
            arm.last.n,
            percent(&arm.last),
            percent(&arm.best),
        );
    }
    let Measure { accuracy, best, .. } = measure(comparison.is_of_scenes());
    format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Arms\">\
         <table class=\"rules\">\n<thead><tr><th scope=\"col\" class=\"text\">arm</th>\
         <th scope=\"col\">n</th><th scope=\"col\">{accuracy}, %</th>\
         <th scope=\"col\">{best}, %</th><th scope=\"col\">difference</th>\
         <th scope=\"col\">95 % interval</th></tr></thead>\n<tbody>\n{rows}</tbody></table></div>\n\
         <p class=\"note\">Test accuracy after the last epoch: mean ± standard deviation over n seeds. \
         Differences to {}, seed by seed, with their 95 % confidence interval by Student’s t with \
         n − 1 degrees of freedom. The best epoch is chosen by the test images, so that what it reaches \
         is a little too high.</p>\n",
        escaped(&comparison.arms[0].name)
    )
}

/// Of segmentation: mean IoU and score of every arm, and their differences.
fn scenes(comparison: &Comparison) -> String {
    if !comparison.is_of_scenes() {
        return String::new();
    }
    let cells = |sample: &Option<Sample>, difference: Option<&Sample>| {
        format!(
            "<td>{}</td><td>{}</td><td>{}</td>",
            sample.as_ref().map_or_else(|| "–".to_owned(), percent),
            difference
                .and_then(|sample| sample.mean)
                .map_or_else(String::new, signed),
            difference.map_or_else(String::new, interval),
        )
    };
    let mut rows = String::new();
    for (i, arm) in comparison.arms.iter().enumerate() {
        let difference = i.checked_sub(1).map(|i| &comparison.differences[i]);
        rows += &format!(
            "<tr><th scope=\"row\" class=\"text\"><span class=\"key k{}\">{}</span></th>{}{}</tr>\n",
            i % SERIES.len(),
            escaped(&arm.name),
            cells(&arm.miou, difference.and_then(|pair| pair.miou.as_ref())),
            cells(&arm.score, difference.and_then(|pair| pair.score.as_ref())),
        );
    }
    format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Classes of pixels\">\
         <table class=\"rules\">\n<thead><tr><th scope=\"col\" class=\"text\">arm</th>\
         <th scope=\"col\">mean IoU, %</th><th scope=\"col\">difference</th>\
         <th scope=\"col\">95 % interval</th><th scope=\"col\">score, %</th>\
         <th scope=\"col\">difference</th><th scope=\"col\">95 % interval</th></tr></thead>\n\
         <tbody>\n{rows}</tbody></table></div>\n\
         <p class=\"note\">The score is the mean of pixel accuracy and mean IoU.</p>\n"
    )
}

fn row<'r>(name: &'r str, sample: &Sample, color: Rgb) -> Interval<'r> {
    Interval {
        name,
        samples: sample.values.clone(),
        mean: sample.mean,
        interval: sample.interval.map(|[low, high]| (low, high)),
        color,
    }
}

fn intervals((rows, caption, label): (&str, &str, &str), drawn: &Intervals<'_>) -> String {
    let terms = "[{\"name\":\"n\",\"key\":\"last/n\"},{\"name\":\"mean\",\"key\":\"last/mean\"},\
                 {\"name\":\"deviation\",\"key\":\"last/deviation\"},\
                 {\"name\":\"95 % interval\",\"key\":\"last/interval\"}]";
    let attributes = format!(
        "data-chart=\"intervals\" data-rows=\"{rows}\" data-terms=\"{}\"",
        escaped(terms)
    );
    figure(&attributes, caption, |width| {
        Figure::draw((width, drawn.height()), label, |canvas, frame| {
            drawn.draw(canvas, frame)
        })
    })
}

fn accuracies(comparison: &Comparison) -> String {
    let arms = comparison.arms.iter().enumerate();
    let Measure { accuracy, .. } = measure(comparison.is_of_scenes());
    let drawn = Intervals {
        rows: arms
            .map(|(i, arm)| row(&arm.name, &arm.last, color(i)))
            .collect(),
        x_name: &format!("{accuracy} after the last epoch, %"),
        level: None,
    };
    let caption = "<h3>Test accuracy</h3><p>A dot for each seed, the mean, and the 95 % interval of the \
                   mean, where there is more than one seed.</p>";
    intervals(("/arms", caption, "accuracy by arm"), &drawn)
}

fn differences(comparison: &Comparison) -> String {
    if comparison.differences.is_empty() {
        return String::new();
    }
    // On a phone, names of both would leave no room.
    let others = comparison.arms.iter().skip(1);
    let all = comparison.differences.iter().zip(others).enumerate();
    let Measure { accuracy, .. } = measure(comparison.is_of_scenes());
    let drawn = Intervals {
        rows: all
            .map(|(i, (difference, arm))| row(&arm.name, &difference.last, color(i + 1)))
            .collect(),
        x_name: &format!("points of {accuracy} above {}", comparison.arms[0].name),
        level: Some(0.0),
    };
    let caption = "<h3>Differences, seed by seed</h3><p>An interval that contains 0 shows no \
                   difference.</p>";
    intervals(
        ("/differences", caption, "differences between arms"),
        &drawn,
    )
}

fn curves(comparison: &Comparison) -> String {
    let along = Along::epochs(&comparison.epochs);
    let arms = comparison.arms.iter().enumerate();
    let lines: Vec<ChartLine> = arms
        .clone()
        .map(|(i, arm)| ChartLine {
            name: arm.name.clone(),
            values: arm.top1.iter().copied().map(Some).collect(),
            color: color(i),
            at: format!("/arms/{i}/top1"),
        })
        .collect();
    let marks: Vec<Marks> = arms
        .filter(|(_, arm)| !arm.regenerations.is_empty())
        .map(|(i, arm)| Marks {
            at: arm
                .regenerations
                .iter()
                .map(|epoch| *epoch as f64)
                .collect(),
            color: color(i),
        })
        .collect();
    let caption = format!(
        "<h3>Test accuracy over time</h3><p>Mean over the seeds. The strokes above: \
         regenerations.</p>{}",
        key(comparison.arms.iter().map(|arm| &arm.name[..]))
    );
    let label = "mean accuracy over the epochs";
    curve(
        &along,
        &marks,
        (&caption, label, measure(comparison.is_of_scenes()).axis),
        &lines,
        &[],
    )
}

fn by_seed(comparison: &Comparison) -> String {
    let names: String = comparison
        .arms
        .iter()
        .map(|arm| format!("<th scope=\"col\">{}</th>", escaped(&arm.name)))
        .collect();
    let row = |(i, seed): (usize, &u64)| {
        let cells: String = comparison
            .arms
            .iter()
            .map(|arm| format!("<td>{:.2} %</td>", arm.last.values[i]))
            .collect();
        format!("<tr><th scope=\"row\">{seed}</th>{cells}</tr>\n")
    };
    let rows: String = comparison.seeds.iter().enumerate().map(row).collect();
    format!(
        "<h3>Seed by seed</h3>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" \
         aria-label=\"Seeds\"><table class=\"rules\">\n<thead><tr><th scope=\"col\">seed</th>{names}\
         </tr></thead>\n<tbody>\n{rows}</tbody></table></div>\n"
    )
}
