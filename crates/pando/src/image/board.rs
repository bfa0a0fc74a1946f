//! How far each layer is, for people.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use pando_model::release::Digest;
use pando_model::resources::Bytes;

/// Digits of a digest that people compare.
const SHORT: usize = 12;

#[derive(Debug)]
pub(super) struct Board {
    /// Bytes that left, of all layers; what was sent twice counts twice.
    pub(super) sent: Arc<AtomicU64>,
    layers: Mutex<BTreeMap<Digest, Row>>,
}

/// In bytes of the layer's tar.
#[derive(Debug, Default, Clone)]
struct Row {
    bytes: u64,
    at: u64,
    note: Option<String>,
    done: bool,
    told: bool,
}

impl Board {
    pub(super) fn new(layers: &std::collections::BTreeSet<Digest>) -> Self {
        let rows = layers.iter().map(|layer| (layer.clone(), Row::default())).collect();
        Self { sent: Arc::default(), layers: Mutex::new(rows) }
    }

    pub(super) fn len(&self) -> usize {
        self.rows().len()
    }

    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    fn rows(&self) -> std::sync::MutexGuard<'_, BTreeMap<Digest, Row>> {
        self.layers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn row(&self, layer: &Digest, change: impl FnOnce(&mut Row)) {
        change(self.rows().entry(layer.clone()).or_default());
    }

    /// The upload goes on at `at` of `bytes`.
    pub(super) fn begin(&self, layer: &Digest, at: u64, bytes: u64) {
        self.row(layer, |row| (row.at, row.bytes, row.note) = (at, bytes, None));
    }

    pub(super) fn moved(&self, layer: &Digest, by: u64) {
        self.row(layer, |row| row.at += by);
    }

    /// It broke off, and is tried again.
    pub(super) fn broke(&self, layer: &Digest, why: &str) {
        self.row(layer, |row| row.note = Some(format!("broke off, trying again: {why}")));
    }

    pub(super) fn finish(&self, layer: &Digest) {
        self.row(layer, |row| (row.done, row.at) = (true, row.bytes));
    }

    /// A line for each layer that is on its way, and one for those that wait.
    pub(super) fn lines(&self) -> Vec<String> {
        let rows = self.rows();
        let under_way = rows.iter().filter(|(_, row)| !row.done && row.bytes > 0);
        let mut lines: Vec<String> = under_way.map(|(layer, row)| line(layer, row)).collect();
        let waiting = rows.values().filter(|row| row.bytes == 0).count();
        if waiting > 0 {
            lines.push(format!(
                "  reading the image; {}",
                crate::words::counted(waiting as u64, "layer") + " to find"
            ));
        }
        lines
    }

    /// A line for each layer that has arrived, once.
    pub(super) fn done(&self) -> Vec<String> {
        let mut rows = self.rows();
        let fresh = rows.iter_mut().filter_map(|(layer, row)| {
            let told = std::mem::replace(&mut row.told, row.done);
            (row.done && !told).then(|| format!("layer {}: {} arrived", short(layer), Bytes(row.bytes)))
        });
        fresh.collect()
    }
}

fn line(layer: &Digest, row: &Row) -> String {
    let percent = (row.at.min(row.bytes) * 100).checked_div(row.bytes).unwrap_or(100);
    let note = row.note.as_ref().map(|note| format!(", {note}")).unwrap_or_default();
    format!("  layer {}: {} of {} ({percent} %){note}", short(layer), Bytes(row.at), Bytes(row.bytes))
}

fn short(layer: &Digest) -> &str {
    &layer.as_str()[..SHORT]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_layer_has_a_line_until_it_has_arrived() {
        let [one, two] = ["a", "b"].map(|letter| Digest::new(letter.repeat(64)).unwrap());
        let board = Board::new(&[one.clone(), two.clone()].into());
        assert_eq!(board.lines(), ["  reading the image; 2 layers to find"]);
        board.begin(&one, 0, 4_000_000);
        board.moved(&one, 1_000_000);
        assert_eq!(
            board.lines(),
            ["  layer aaaaaaaaaaaa: 1 MB of 4 MB (25 %)", "  reading the image; 1 layer to find"]
        );
        board.broke(&one, "no route");
        assert_eq!(
            board.lines()[0],
            "  layer aaaaaaaaaaaa: 1 MB of 4 MB (25 %), broke off, trying again: no route"
        );
        board.begin(&two, 10, 10);
        board.finish(&one);
        assert_eq!(board.lines(), ["  layer bbbbbbbbbbbb: 10 B of 10 B (100 %)"]);
        assert_eq!(board.done(), ["layer aaaaaaaaaaaa: 4 MB arrived"]);
        assert_eq!(board.done(), [""; 0]);
    }
}
