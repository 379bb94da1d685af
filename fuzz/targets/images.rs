//! Files of pictures: decoded, turned, resized and scaled, or refused with a message.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use seaworthy::image::{Limits, Recipe, RecipeSpec, probe};

static RECIPES: LazyLock<Vec<Recipe>> = LazyLock::new(|| {
    let specs: Vec<RecipeSpec> = serde_json::from_str(include_str!("../images.recipes.json")).expect("recipes");
    specs.into_iter().map(|spec| Recipe::load(spec).expect("a sound recipe")).collect()
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
