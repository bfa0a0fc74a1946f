//! The page as text: families by name, each with its samples together, as the format wants it.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};

use pando_routing::Latency;

use super::families::{Family, Kind};
use crate::stats::counters::{FIRST_OCTAVE, OCTAVES};

/// A label's value by its name.
pub(super) type Label<'a> = (&'static str, &'a str);

#[derive(Debug, Default)]
pub(super) struct Page(BTreeMap<&'static str, Held>);

#[derive(Debug)]
struct Held {
    kind: Kind,
    help: &'static str,
    samples: String,
}

impl Page {
    /// Adds a sample. `labels` are those of the family, in its order.
    pub(super) fn add(&mut self, family: &Family, labels: &[Label<'_>], value: impl Display) {
        debug_assert!(labels.iter().map(|(name, _)| name).eq(family.labels), "{}", family.name);
        self.sample(family, "", &written(labels), value);
    }

    /// By first digit of the status, which is the family's last label.
    pub(super) fn classes(&mut self, family: &Family, labels: &[Label<'_>], by_class: [u64; 5]) {
        for (class, count) in ["1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().zip(by_class) {
            let all: Vec<Label<'_>> = labels.iter().copied().chain([("class", class)]).collect();
            self.add(family, &all, count);
        }
    }

    pub(super) fn latency(&mut self, family: &Family, labels: &[Label<'_>], latency: &Latency, sum: u64) {
        let mut octaves = [0; OCTAVES + 1];
        for (n, count) in latency.buckets.iter().enumerate() {
            let upper = Latency::upper_micros(n);
            let octave = (0..OCTAVES).find(|octave| upper <= bound(*octave)).unwrap_or(OCTAVES);
            octaves[octave] += count;
        }
        self.octaves(family, labels, &octaves, sum);
    }

    /// Counts by octave; the sum is in microseconds.
    pub(super) fn octaves(
        &mut self,
        family: &Family,
        labels: &[Label<'_>],
        octaves: &[u64; OCTAVES + 1],
        sum: u64,
    ) {
        debug_assert!(labels.iter().map(|(name, _)| name).eq(family.labels), "{}", family.name);
        let labels = written(labels);
        let mut below = 0;
        for (octave, count) in octaves.iter().enumerate() {
            below += count;
            let le = if octave < OCTAVES { seconds(bound(octave)).to_string() } else { "+Inf".to_owned() };
            self.sample(family, "_bucket", &format!("{labels},le=\"{le}\""), below);
        }
        self.sample(family, "_sum", &labels, seconds(sum));
        self.sample(family, "_count", &labels, below);
    }

    fn sample(&mut self, family: &Family, suffix: &str, labels: &str, value: impl Display) {
        let Family { name, kind, help, .. } = *family;
        let held = self.0.entry(name).or_insert_with(|| Held { kind, help, samples: String::new() });
        // Writing to a string doesn't fail.
        let _ = match labels {
            "" => writeln!(held.samples, "{name}{suffix} {value}"),
            labels => writeln!(held.samples, "{name}{suffix}{{{labels}}} {value}"),
        };
    }

    pub(super) fn render(self) -> String {
        let mut text = String::new();
        for (name, Held { kind, help, samples }) in self.0 {
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {}\n{samples}", kind.name());
        }
        text
    }
}

/// In microseconds.
fn bound(octave: usize) -> u64 {
    u32::try_from(octave).map_or(u64::MAX, |octave| 1 << (FIRST_OCTAVE + octave))
}

#[allow(clippy::cast_precision_loss)]
fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

fn written(labels: &[Label<'_>]) -> String {
    let written: Vec<String> =
        labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    written.join(",")
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Family = Family { name: "a", kind: Kind::Gauge, labels: &[], help: "A." };
    const B: Family = Family { name: "b", kind: Kind::Counter, labels: &["x"], help: "B." };
    const H: Family = Family { name: "h", kind: Kind::Histogram, labels: &["pool"], help: "H." };

    #[test]
    fn samples_of_a_family_stand_together_under_its_head() {
        let mut page = Page::default();
        page.add(&B, &[("x", "1")], 1);
        page.add(&A, &[], 2);
        page.add(&B, &[("x", "2")], 3);
        let expected =
            "# HELP a A.\n# TYPE a gauge\na 2\n# HELP b B.\n# TYPE b counter\nb{x=\"1\"} 1\nb{x=\"2\"} 3\n";
        assert_eq!(page.render(), expected);
    }

    #[test]
    fn histogram_counts_add_up() {
        let mut latency = Latency { buckets: vec![0; Latency::BUCKETS] };
        for micros in [100, 255, 256, 1_000_000, 1_000_000_000] {
            latency.buckets[Latency::bucket_of(micros)] += 1;
        }
        let mut page = Page::default();
        page.latency(&H, &[("pool", "p")], &latency, 1_001_000_611);
        let text = page.render();
        assert!(text.contains("le=\"0.000256\"} 2\n"), "{text}");
        assert!(text.contains("le=\"1.048576\"} 4\n"), "{text}");
        assert!(text.contains("le=\"134.217728\"} 4\n"), "{text}");
        assert!(text.contains("le=\"+Inf\"} 5\n") && text.contains("_count{pool=\"p\"} 5\n"), "{text}");
        assert!(text.contains("_sum{pool=\"p\"} 1001.000611\n"), "{text}");
    }

    #[test]
    fn labels_cannot_break_the_page() {
        assert_eq!(written(&[("x", "a\"b\\c\nd"), ("y", "")]), "x=\"a\\\"b\\\\c\\nd\",y=\"\"");
    }
}
