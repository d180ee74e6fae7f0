//! Prometheus' text format, for what is read when it is asked for.

use std::fmt::Write as _;

use crate::names::Metric;

/// Labels, and a value.
pub(crate) type Sample = (Vec<(&'static str, String)>, f64);

/// Samples, metric by metric.
#[derive(Debug, Default)]
pub(crate) struct Page(String);

impl Page {
    /// A metric with its samples; nothing without any.
    pub(crate) fn put(&mut self, metric: &Metric, samples: Vec<Sample>) {
        if samples.is_empty() {
            return;
        }
        let Metric { name, kind, help, .. } = *metric;
        // Writing to a text can't fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {}", kind.as_str());
        for (labels, value) in samples {
            self.0.push_str(name);
            for (at, (label, text)) in labels.iter().enumerate() {
                let _ = write!(self.0, "{}{label}=\"{}\"", if at == 0 { '{' } else { ',' }, escaped(text));
            }
            let end = if labels.is_empty() { "" } else { "}" };
            let _ = writeln!(self.0, "{end} {value}");
        }
        self.0.push('\n');
    }

    pub(crate) fn into_text(self) -> String {
        self.0
    }
}

/// A text of the format in order, so that two of them can be compared: metrics by name, and of a metric the series by their
/// labels, each whole and with its buckets as they come.
pub(crate) fn in_order(text: &str) -> String {
    let mut metrics: Vec<_> = text.split("\n\n").map(str::trim).filter(|metric| !metric.is_empty()).collect();
    metrics.sort_by_key(|metric| metric.split_whitespace().nth(2));
    let mut ordered = String::with_capacity(text.len());
    for metric in metrics {
        let (head, mut series): (Vec<_>, Vec<_>) = metric.lines().partition(|line| line.starts_with('#'));
        series.sort_by_key(|line| labels(line));
        for line in head.into_iter().chain(series) {
            ordered.push_str(line);
            ordered.push('\n');
        }
        ordered.push('\n');
    }
    ordered
}

/// The labels of a series, without the one of its buckets, which comes last.
fn labels(line: &str) -> &str {
    let labels = line.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}')).map_or("", |(labels, _)| labels);
    labels.rsplit_once("le=\"").map_or(labels, |(labels, _)| labels.trim_end_matches(','))
}

fn escaped(text: &str) -> String {
    text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{BACKEND_UP, JOBS};

    #[test]
    fn metrics_and_series_come_in_order_and_buckets_as_they_are() {
        let b = "x_bucket{task=\"b\",le=\"2\"} 1\nx_bucket{task=\"b\",le=\"10\"} 1\nx_sum{task=\"b\"} 2\nx_count{task=\"b\"} 1\n";
        let a = b.replace("\"b\"", "\"a\"");
        let n = ["n 1\n", "n{q=\"a\"} 2\n", "n{q=\"b\"} 3\n"];
        let mixed =
            format!("# TYPE x histogram\n{b}{a}\n# HELP n Of it.\n# TYPE n counter\n{}{}{}\n", n[2], n[0], n[1]);
        let ordered = format!("# HELP n Of it.\n# TYPE n counter\n{}\n# TYPE x histogram\n{a}{b}\n", n.concat());
        assert_eq!(in_order(&mixed), ordered);
        assert_eq!(in_order(&ordered), ordered);
        assert_eq!(in_order(""), "");
    }

    #[test]
    fn labels_are_escaped_and_what_has_no_samples_is_not_told() {
        let mut page = Page::default();
        page.put(&JOBS, vec![(vec![("queue", "a\"b\\c\nd".to_owned()), ("state", "ready".to_owned())], 1.5)]);
        page.put(&BACKEND_UP, vec![(Vec::new(), 1.0)]);
        page.put(&JOBS, Vec::new());
        let text = page.into_text();
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with("# HELP")).collect();
        let samples = r#"queue_jobs{queue="a\"b\\c\nd",state="ready"} 1.5"#;
        let expected =
            ["# TYPE queue_jobs gauge", samples, "", "# TYPE queue_backend_up gauge", "queue_backend_up 1", ""];
        assert_eq!(lines, expected);
    }
}
