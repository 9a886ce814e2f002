//! An ablation as a page.

use std::io;

use super::Ablation;
use crate::render::page::{Along, ChartLine, Page, color, curve, key};
use crate::render::{Html, Render, escaped, grouped};
use crate::study::measure::measure;

impl Render<Ablation> for Html {
    fn render(&self, ablation: &Ablation, out: &mut dyn io::Write) -> io::Result<()> {
        let mut body = format!(
            "<header>\n<p class=\"kind\">Ablation of the strongest channels</p>\n<h1>{}</h1>\n\
             <p class=\"said\">{} channels · {} test images</p>\n</header>\n<section>\n",
            escaped(&ablation.layer),
            grouped(ablation.channels as u64),
            grouped(ablation.images as u64),
        );
        body += &chart(ablation);
        body += "<h3>Numbers</h3>\n";
        body += &table(ablation);
        body += "</section>\n";
        Page {
            title: &format!("Ablation of {}", ablation.layer),
            data: &serde_json::to_value(ablation)?,
            body: &body,
        }
        .write(out)
    }
}

fn chart(ablation: &Ablation) -> String {
    let along = Along {
        x: ablation.points.iter().map(|point| *point as f64).collect(),
        name: "ablated channels",
        unit: "ablated channels:",
        at: "/points",
    };
    let checkpoints = ablation.checkpoints.iter().enumerate();
    let lines: Vec<ChartLine> = checkpoints
        .clone()
        .map(|(i, one)| ChartLine {
            name: one.name.clone(),
            values: one.top1.iter().copied().map(Some).collect(),
            color: color(i),
            at: format!("/checkpoints/{i}/top1"),
        })
        .collect();
    let loss = |(i, one): (usize, &super::Ablated)| {
        (
            format!("loss {}", one.name),
            format!("/checkpoints/{i}/loss"),
        )
    };
    let caption = format!(
        "<h3>Test accuracy without the strongest channels</h3><p>Weight and bias of the BatchNorm are \
         0 in so many channels of this layer, those of the largest γ (Figure 6 of the paper). The \
         slower it falls, the less the network relies on few of them.</p>{}",
        key(ablation.checkpoints.iter().map(|one| &one.name[..]))
    );
    let label = "accuracy over the number of ablated channels";
    let miou = |(i, one): (usize, &super::Ablated)| {
        let told = format!("mean IoU {}", one.name);
        (!one.miou.is_empty()).then(|| (told, format!("/checkpoints/{i}/miou")))
    };
    let more = checkpoints.clone().map(loss);
    let more: Vec<(String, String)> = more.chain(checkpoints.filter_map(miou)).collect();
    let axis = measure(ablation.is_of_scenes()).axis;
    curve(&along, &[], (&caption, label, axis), &lines, &more)
}

fn table(ablation: &Ablation) -> String {
    let names: String = ablation
        .checkpoints
        .iter()
        .map(|one| format!("<th scope=\"col\">{}</th>", escaped(&one.name)))
        .collect();
    let row = |(i, point): (usize, &usize)| {
        let cells: String = ablation
            .checkpoints
            .iter()
            .map(|one| format!("<td>{:.2} %</td>", one.top1[i]))
            .collect();
        format!("<tr><th scope=\"row\">{point}</th>{cells}</tr>\n")
    };
    let rows: String = ablation.points.iter().enumerate().map(row).collect();
    format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Numbers\">\
         <table class=\"rules\">\n<thead><tr><th scope=\"col\">ablated</th>{names}</tr></thead>\n\
         <tbody>\n{rows}</tbody></table></div>\n"
    )
}
