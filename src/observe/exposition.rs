//! The text that a scrape gets: Prometheus's format 0.0.4, or `OpenMetrics` 1.0.

use std::fmt::Write as _;

use super::metrics::{Family, Kind};

/// How metrics are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus's own, which everybody reads.
    Prometheus,
    /// `OpenMetrics`.
    OpenMetrics,
}

impl Format {
    /// The format for a header `Accept`: `OpenMetrics` for those who ask for it.
    #[must_use]
    pub fn accepted(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    /// The content type of the answer.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Text that is being written.
#[derive(Debug)]
pub(super) struct Text {
    format: Format,
    text: String,
    name: &'static str,
}

impl Text {
    pub(super) fn new(format: Format) -> Self {
        Self { format, text: String::with_capacity(32 * 1024), name: "" }
    }

    /// Begins a metric; the samples that follow are its own.
    pub(super) fn family(&mut self, family: &Family) {
        self.name = family.name;
        let (name, kind) = match self.format {
            Format::Prometheus if family.kind == Kind::Info => (family.name, "gauge"),
            Format::Prometheus => (family.name, family.kind.as_str()),
            Format::OpenMetrics => {
                let end = match family.kind {
                    Kind::Counter => "_total",
                    Kind::Info => "_info",
                    Kind::Gauge | Kind::Histogram => "",
                };
                (family.name.strip_suffix(end).unwrap_or(family.name), family.kind.as_str())
            }
        };
        let _infallible = writeln!(self.text, "# HELP {name} {}", family.help);
        let _infallible = writeln!(self.text, "# TYPE {name} {kind}");
        if self.format == Format::OpenMetrics
            && let Some(unit) = ["seconds", "bytes"]
                .iter()
                .find(|unit| name.strip_suffix(*unit).is_some_and(|rest| rest.ends_with('_')))
        {
            let _infallible = writeln!(self.text, "# UNIT {name} {unit}");
        }
    }

    /// A sample with a whole number.
    pub(super) fn number(&mut self, labels: &[(&str, &str)], value: u64) {
        self.start("", labels, None);
        let _infallible = writeln!(self.text, " {value}");
    }

    /// A sample with any number.
    pub(super) fn float(&mut self, labels: &[(&str, &str)], value: f64) {
        self.start("", labels, None);
        let _infallible = if value == f64::INFINITY {
            writeln!(self.text, " +Inf")
        } else {
            writeln!(self.text, " {value:?}")
        };
    }

    /// The samples of a histogram; `below` are the counts between one bound and the next.
    pub(super) fn histogram(
        &mut self,
        labels: &[(&str, &str)],
        bounds: &[f64],
        below: &[u64],
        n: u64,
        sum: f64,
    ) {
        let mut so_far = 0;
        for (bound, count) in bounds.iter().zip(below) {
            so_far += count;
            self.start("_bucket", labels, Some(&format!("{bound:?}")));
            let _infallible = writeln!(self.text, " {so_far}");
        }
        self.start("_bucket", labels, Some("+Inf"));
        let _infallible = writeln!(self.text, " {n}");
        self.start("_sum", labels, None);
        let _infallible = writeln!(self.text, " {sum:?}");
        self.start("_count", labels, None);
        let _infallible = writeln!(self.text, " {n}");
    }

    pub(super) fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }

    fn start(&mut self, end: &str, labels: &[(&str, &str)], bound: Option<&str>) {
        self.text.push_str(self.name);
        self.text.push_str(end);
        let bound = bound.map(|bound| ("le", bound));
        let mut before = '{';
        for (name, value) in labels.iter().copied().chain(bound) {
            let _infallible = write!(self.text, "{before}{name}=\"");
            for character in value.chars() {
                match character {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    other => self.text.push(other),
                }
            }
            self.text.push('"');
            before = ',';
        }
        if before == ',' {
            self.text.push('}');
        }
    }
}
