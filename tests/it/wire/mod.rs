//! The wire format on Redis: `docs/wire-format.md` tells other languages the truth, and stored bytes stay readable.

mod examples;
mod frozen;
mod tables;

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn page() -> String {
    read("docs/wire-format.md")
}

/// The one block of the page in that language.
fn block(language: &str) -> String {
    let page = page();
    let opening = format!("```{language}\n");
    let [_, block] = page.split(&opening).collect::<Vec<_>>()[..] else {
        panic!("the page has not one block of {language}");
    };
    block.split("```").next().unwrap().to_owned()
}

/// The rows below the heads of the tables with these columns, as cells without the marks of code.
fn table(columns: &str) -> Vec<Vec<String>> {
    let cells = |row: &str| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let (page, head) = (page(), format!("| {columns} |"));
    let mut rows = Vec::new();
    for below in page.split(&head).skip(1) {
        rows.extend(below.lines().skip(2).take_while(|line| line.starts_with('|')).map(cells));
    }
    assert!(!rows.is_empty(), "the page has no table of {columns}");
    rows
}

/// A cell of code without its marks.
fn code(cell: &str) -> &str {
    cell.trim_matches('`')
}
