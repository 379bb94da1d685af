//! Bodies of requests, by a schema with every kind of field: decoded twice, the second time with the keys of the first known, to the same.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use seaworthy::image;
use seaworthy::schema::{DecodeOptions, Schema, UnknownFields};

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let fields = serde_json::from_str(include_str!("../rows.schema.json")).expect("fields");
    Schema::load(fields).expect("a sound schema")
});

fuzz_target!(|body: &[u8]| {
    let images = image::Limits { max_bytes: 1 << 16, max_pixels: 1 << 16, max_request_pixels: 1 << 18 };
    for unknown_fields in [UnknownFields::Ignore, UnknownFields::Reject] {
        let options = DecodeOptions { unknown_fields, max_rows: 100, max_errors: 5, images };
        let mut frame = SCHEMA.frame();
        let first = SCHEMA.decode(body, &options, &mut frame);
        let n_rows = frame.n_rows();
        let second = SCHEMA.decode(body, &options, &mut frame);
        assert_eq!(format!("{first:?}"), format!("{second:?}"));
        assert_eq!(n_rows, frame.n_rows());
        if let Ok(decoded) = first {
            assert!(n_rows <= decoded.n_rows.min(100));
            // All rows are counted, and one too many refuses the request, whatever else is wrong with it.
            let is_refused = decoded.errors.iter().any(|error| error.row.is_none());
            assert!(decoded.n_rows <= 100 || is_refused);
            assert!(decoded.errors.len() <= 5 && decoded.errors.len() <= decoded.n_errors);
            // What is read was JSON, by the judgement of others.
            let text = std::str::from_utf8(body).expect("decoded text is UTF-8");
            let inputs = text.get(decoded.inputs.clone()).expect("the inputs are a part of the text");
            if decoded.n_rows > 0 && n_rows > 0 {
                let parsed = serde_json::from_str::<&serde_json::value::RawValue>(inputs);
                assert!(parsed.is_ok(), "{parsed:?}: {inputs}");
            }
        }
    }
});
