//! Files of pictures: decoded, turned, resized and scaled, or refused with a message.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use seaworthy::image::{Limits, Recipe, probe};
use serde_json::json;

static RECIPES: LazyLock<Vec<Recipe>> = LazyLock::new(|| {
    [
        json!({"decode": {"colour": "bgr", "orientation": "exif"},
               "operations": [{"resize": {"width": 7, "height": 5, "method": "bilinear", "like": "opencv"}},
                              {"affine": {"divide": 255.0}}],
               "layout": "hwc", "type": "float32"}),
        json!({"decode": {"colour": "rgb", "alpha": {"background": [1, 2, 3]}},
               "operations": [{"resize_shorter": {"size": 8, "method": "bicubic", "like": "pillow"}},
                              {"centre_crop": {"width": 6, "height": 6, "rounding": "even"}},
                              {"affine": {"subtract": [1.0, 2.0, 3.0], "divide": [4.0, 5.0, 6.0]}}],
               "layout": "chw", "type": "float32"}),
        json!({"decode": {"colour": "grey"},
               "operations": [{"pad_square": {"value": [7]}},
                              {"resize": {"width": 9, "height": 9, "method": "area", "like": "opencv"}},
                              {"invert": {}}],
               "layout": "hw", "type": "uint8"}),
        json!({"decode": {"colour": "rgb", "grey": "pillow"},
               "operations": [{"resize": {"width": 5, "height": 6, "method": "lanczos", "like": "pillow"}}],
               "layout": "hwc", "type": "uint8"}),
    ]
    .into_iter()
    .map(|recipe| Recipe::load(serde_json::from_value(recipe).expect("a recipe")).expect("a sound recipe"))
    .collect()
});

fuzz_target!(|file: &[u8]| {
    let limits = Limits { max_bytes: 1 << 20, max_pixels: 1 << 16, max_request_pixels: 1 << 16 };
    let header = probe(file, limits);
    for recipe in &*RECIPES {
        match recipe.run(file, limits) {
            // What can be decoded has a header that says so.
            Ok(_) => assert!(header.is_ok(), "{header:?}"),
            Err(error) => assert!(error.to_string().len() > 10, "{error}"),
        }
    }
});
