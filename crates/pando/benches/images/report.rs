//! The figures as a page.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::subject::Subject;
use crate::{Cost, Costs};

const WHEN: [&str; 3] = ["first deploy", "one line changed", "nothing changed"];

pub(crate) fn write(subject: &Subject, rows: &[(&str, usize, Costs)]) {
    let mut text = format!(
        "# Images\n\nOne machine, release build, network namespaces as servers, each with an engine of its own and its disk in memory. An image of {} \
         in three layers: the app, libraries of the system, a file of one line. `script/bench images` measures again.\n\n\
         *Sent* is what leaves the machine that deploys. *Brought* is when it has nothing more to do, *everywhere* when every server has the image; with \
         Pando, when a new replica serves on each of them and the old one is gone.\n",
        megabytes(subject.bytes)
    );
    for (step, when) in WHEN.iter().enumerate() {
        let _ = write!(
            text,
            "\n## {}\n\n| to servers | by | sent | brought | everywhere |\n|---|---|---|---|---|\n",
            capital(when)
        );
        for (way, servers, costs) in rows {
            let Cost { bytes, brought, everywhere } = costs[step];
            let (brought, everywhere) = (seconds(brought), seconds(everywhere));
            let _ = writeln!(text, "| {servers} | {way} | {} | {brought} | {everywhere} |", megabytes(bytes));
        }
    }
    text.push_str(&aims(subject, rows));
    println!("{text}");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bench/results");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("images.md"), &text).unwrap();
}

/// What was meant to be reached, and what was.
fn aims(subject: &Subject, rows: &[(&str, usize, Costs)]) -> String {
    let of = |servers: usize| {
        rows.iter().find(|(way, of, _)| way.starts_with("`pando") && *of == servers).unwrap().2
    };
    let (one, ten) = (of(1), of(10));
    let share = 100.0 * one[1].bytes as f64 / subject.bytes as f64;
    format!(
        "\n## Aims\n\n| aim | measured |\n|---|---|\n\
         | a changed line sends less than 1 % of the image | {share:.3} % |\n\
         | it is brought within `docker save` to nowhere and one second | {}, and `docker save` takes {} |\n\
         | ten servers cost who deploys what one does | {} and {} |\n",
        seconds(one[1].brought),
        seconds(subject.save),
        megabytes(ten[0].bytes),
        megabytes(one[0].bytes),
    )
}

fn capital(text: &str) -> String {
    let (first, rest) = text.split_at(1);
    first.to_uppercase() + rest
}

fn megabytes(bytes: u64) -> String {
    match bytes {
        0..100_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}
