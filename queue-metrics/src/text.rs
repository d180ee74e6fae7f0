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

fn escaped(text: &str) -> String {
    text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{BACKEND_UP, JOBS};

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
