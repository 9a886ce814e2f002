//! A table to sort and to filter.

use super::super::escaped;

/// A column of a table of class `sort`.
pub(crate) struct Column {
    /// HTML.
    pub(crate) heading: &'static str,
    /// Where its values stand in the data: a JSON pointer with `*` for the number of the row.
    pub(crate) at: String,
    /// A name, not a number.
    pub(crate) text: bool,
}

/// The table of `rows`, each with a cell of HTML for every column, under a filter for their names;
/// `what` they are.
pub(crate) fn table(
    what: &str,
    columns: &[Column],
    rows: impl Iterator<Item = Vec<String>>,
) -> String {
    let mut out = format!(
        "<div class=\"tools\"><label>{what} with <input type=\"search\" class=\"filter\" \
         placeholder=\"part of a name\" autocomplete=\"off\" spellcheck=\"false\"></label> \
         <output class=\"matches\"></output></div>\n\
         <div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{what}\">\
         <table class=\"sort\">\n<thead><tr>",
    );
    for column in columns {
        let class = if column.text { " class=\"text\"" } else { "" };
        out += &format!(
            "<th scope=\"col\"{class} data-at=\"{}\" aria-sort=\"none\"><button>{}</button></th>",
            escaped(&column.at),
            column.heading
        );
    }
    out += "</tr></thead>\n<tbody>\n";
    for (i, cells) in rows.enumerate() {
        out += &format!("<tr data-i=\"{i}\">");
        for (cell, column) in cells.iter().zip(columns) {
            let (tag, class) = if column.text {
                ("th", " scope=\"row\" class=\"text\"")
            } else {
                ("td", "")
            };
            out += &format!("<{tag}{class}>{cell}</{tag}>");
        }
        out += "</tr>\n";
    }
    out + "</tbody></table></div>\n"
}
