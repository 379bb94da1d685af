//! The rows of the table in docs/reliability.md: each test that provokes a fault leaves one when it has passed.

use std::io::Write as _;
use std::path::Path;

use serde_json::json;

/// Writes the row of a test down, as the last thing that the test does: what was seen is what it has just asserted.
pub(crate) fn record(test: &str, [fault, provoked, expected, seen]: [&str; 4]) {
    // `api::hygiene::two_lengths::{{closure}}::here` is the test `hygiene::two_lengths` of `tests/api`.
    let path: Vec<&str> =
        test.split("::").filter(|part| !part.starts_with('{') && *part != "here").collect();
    let (area, name) = (path[0], path[1..].join("::"));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/faults");
    std::fs::create_dir_all(&folder).expect("target/ can be written to");
    let row = json!({
        "test": format!("{area}::{name}"),
        "fault": fault, "provoked": provoked, "expected": expected, "seen": seen,
    });
    let file = folder.join(format!("{area}-{}.json", name.replace("::", "-")));
    let mut file = std::fs::File::create(file).expect("target/ can be written to");
    writeln!(file, "{row}").expect("target/ can be written to");
}

/// `fault!("the fault", "how it is provoked", "what is expected", "what was seen")`; the last may be formatted with arguments.
macro_rules! fault {
    ($fault:literal, $provoked:literal, $expected:literal, $($seen:tt)+) => {{
        fn here() {}
        $crate::fault::record(
            std::any::type_name_of_val(&here),
            [$fault, $provoked, $expected, &format!($($seen)+)],
        );
    }};
}
pub(crate) use fault;
