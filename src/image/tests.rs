//! Small pictures whose results one can check by hand; `make parity-images` compares large ones with the originals.

use super::*;

/// A grey PNG.
fn png(width: u32, height: u32, values: &[u8]) -> Vec<u8> {
    let picture = image::GrayImage::from_raw(width, height, values.to_vec()).unwrap();
    let mut file = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut file, image::ImageFormat::Png).unwrap();
    file.into_inner()
}

fn recipe(json: &serde_json::Value) -> Recipe {
    Recipe::load(serde_json::from_value(json.clone()).unwrap()).unwrap()
}

fn grey(operations: &serde_json::Value) -> serde_json::Value {
    serde_json::json!({"decode": {"colour": "grey"}, "operations": operations, "layout": "hw", "type": "uint8"})
}

#[track_caller]
fn check(file: &[u8], operations: &serde_json::Value, expected: &[u8]) {
    let result = recipe(&grey(operations)).run(file, Limits::default()).unwrap();
    assert_eq!(result, Picture::Uint8(expected.to_vec()));
}

#[test]
fn opencv_skips_pixels_where_pillow_filters() {
    let file = png(5, 1, &[0, 0, 250, 0, 0]);
    let to = |method: &str, like: &str, width: usize| serde_json::json!([{"resize": {"width": width, "height": 1, "method": method, "like": like}}]);
    check(&file, &to("nearest", "opencv", 1), &[0]);
    check(&file, &to("nearest", "pillow", 1), &[250]);
    check(&file, &to("bilinear", "opencv", 1), &[250]);
    check(&file, &to("bilinear", "pillow", 1), &[66]);
    check(&file, &to("area", "opencv", 1), &[50]);
    check(&file, &to("area", "pillow", 1), &[50]);
    check(&file, &to("bicubic", "opencv", 10), &[0, 0, 0, 65, 220, 220, 65, 0, 0, 0]);
    check(&file, &to("bicubic", "opencv_ipp", 10), &[0, 0, 0, 65, 220, 220, 65, 0, 0, 0]);
    check(&file, &to("bicubic", "pillow", 10), &[0, 0, 0, 57, 217, 217, 57, 0, 0, 0]);
    check(&file, &to("lanczos", "opencv", 5), &[0, 0, 250, 0, 0]);
}

#[test]
fn a_crop_that_does_not_halve_rounds_as_it_is_told() {
    let file = png(4, 1, &[1, 2, 3, 4]);
    let crop = |width: usize, rounding: &str| serde_json::json!([{"centre_crop": {"width": width, "height": 1, "rounding": rounding}}]);
    check(&file, &crop(1, "down"), &[2]);
    check(&file, &crop(1, "even"), &[3]);
    check(&file, &crop(3, "even"), &[1, 2, 3]);
    check(&file, &crop(7, "down"), &[0, 1, 2, 3, 4, 0, 0]);
}

#[test]
fn margins_and_inversion() {
    let file = png(2, 1, &[1, 2]);
    check(
        &file,
        &serde_json::json!([{"pad_square": {"value": [9]}}, {"invert": {}}, {"resize": {"width": 2, "height": 2, "method": "area", "like": "opencv"}}]),
        &[254, 253, 246, 246],
    );
    check(
        &file,
        &serde_json::json!([{"pad": {"left": 1, "bottom": 1, "value": [9]}}, {"centre_crop": {"width": 3, "height": 2}}]),
        &[9, 1, 2, 9, 9, 9],
    );
}

#[test]
fn numbers_are_computed_in_the_precision_that_is_named() {
    let file = png(1, 1, &[77]);
    let numbers = |precision: &str| {
        recipe(&serde_json::json!({
            "decode": {"colour": "rgb"}, "layout": "chw", "type": "float32", "precision": precision,
            "operations": [
                {"centre_crop": {"width": 1, "height": 1}},
                {"affine": {"divide": 255}},
                {"affine": {"subtract": [0.485, 0.456, 0.406], "divide": [0.229, 0.224, 0.225]}}
            ]
        }))
        .run(&file, Limits::default())
        .unwrap()
    };
    let x = 77.0_f32 / 255.0;
    let each = [(x - 0.485) / 0.229, (x - 0.456) / 0.224, (x - 0.406) / 0.225];
    assert_eq!(numbers("float32"), Picture::Float32(each.to_vec()));
    let x = 77.0_f64 / 255.0;
    #[expect(clippy::cast_possible_truncation, reason = "to the result's type")]
    let each = [(x - 0.485) / 0.229, (x - 0.456) / 0.224, (x - 0.406) / 0.225].map(|x| x as f32);
    assert_eq!(numbers("float64"), Picture::Float32(each.to_vec()));
}

#[test]
fn a_recipe_that_is_not_sound_is_refused() {
    let refused = |json: serde_json::Value| {
        let spec = serde_json::from_value(json).unwrap();
        Recipe::load(spec).unwrap_err().to_string()
    };
    let with = |operations: serde_json::Value| refused(grey(&operations));
    insta::assert_snapshot!(
        [
            with(serde_json::json!([])),
            with(serde_json::json!([{"resize_shorter": {"size": 8, "method": "area", "like": "pillow"}}])),
            with(serde_json::json!([{"centre_crop": {"width": 0, "height": 8}}])),
            with(serde_json::json!([{"centre_crop": {"width": 8, "height": 99999}}])),
            with(serde_json::json!([{"pad_square": {"value": [1, 2, 3]}}])),
            with(serde_json::json!([{"centre_crop": {"width": 8, "height": 8}}, {"affine": {"divide": 255}}])),
            with(serde_json::json!([{"affine": {"divide": 0}}, {"centre_crop": {"width": 8, "height": 8}}])),
            with(serde_json::json!([{"affine": {"divide": [1, 2]}}])),
            with(serde_json::json!([{"affine": {"divide": 2}}, {"invert": {}}])),
            refused(serde_json::json!({"decode": {"colour": "rgb"}, "layout": "hw", "type": "uint8",
                "operations": [{"centre_crop": {"width": 8, "height": 8}}]})),
        ]
        .join("\n"),
        @r#"
        the size of the result depends on the picture; add `resize` or `centre_crop`
        the size of the result depends on the picture; add `resize` or `centre_crop`
        operation 1: width and height must be at least 1
        operation 1: width and height may be at most 16384
        operation 1: `value` needs a number for each channel
        `affine` gives fractions, which the type `uint8` cannot hold; expected `float32`
        operation 1: a division by zero
        operation 1: expected one number, or one for each of 1 channels
        operation 2: only `affine` may follow `affine`: the others take whole pixels
        the layout `hw` is for grey
        "#
    );
}

/// Files that must be refused, each by its code, without a panic and before much work.
#[test]
fn bad_files_are_refused_by_code() {
    let recipe = recipe(&grey(&serde_json::json!([{"centre_crop": {"width": 1, "height": 1}}])));
    let limits = Limits { max_bytes: 4096, max_pixels: 1000, ..Limits::default() };
    let refused = |file: &[u8]| {
        let error = recipe.run(file, limits).unwrap_err();
        format!("{}: {error}", error.code())
    };
    let whole = png(8, 8, &[7; 64]);
    let mut bomb = png(1, 1, &[7]);
    bomb[16..24].copy_from_slice(&[0, 0, 0x75, 0x30, 0, 0, 0x75, 0x30]);
    let mut sum = flate2::Crc::new();
    sum.update(&bomb[12..29]);
    bomb[29..33].copy_from_slice(&sum.sum().to_be_bytes());
    let jpeg = include_bytes!("../../tests/fixtures/images/orientation-6.jpg");
    insta::assert_snapshot!(
        [
            refused(b""),
            refused(b"hello"),
            refused(b"%PDF-1.7"),
            refused(b"II*\0\x08\0\0\0"),
            refused(&[0; 99]),
            refused(&whole[..20]),
            refused(&whole[..whole.len() / 2]),
            refused(&bomb),
            refused(&png(40, 40, &[7; 1600])),
            refused(&vec![0x89; 5000]),
            refused(&jpeg[..4]),
            refused(&jpeg[..jpeg.len() / 3]),
            refused(&jpeg[..jpeg.len() - 40]),
        ]
        .join("\n"),
        @r#"
        image_format: expected a PNG, JPEG, WebP, BMP or GIF file, found nothing
        image_format: expected a PNG, JPEG, WebP, BMP or GIF file, found text
        image_format: expected a PNG, JPEG, WebP, BMP or GIF file, found a PDF file
        image_format: expected a PNG, JPEG, WebP, BMP or GIF file, found a TIFF file
        image_format: expected a PNG, JPEG, WebP, BMP or GIF file, found something else
        image_broken: the picture cannot be decoded: unexpected end of file
        image_broken: the picture cannot be decoded: unexpected end of file
        image_too_large: the picture is 30000 x 30000 pixels, expected at most 1000 in all
        image_too_large: the picture is 40 x 40 pixels, expected at most 1000 in all
        image_too_large: the file has 5000 bytes, expected at most 4096
        image_broken: the picture cannot be decoded: the JPEG data end too early
        image_broken: the picture cannot be decoded: the JPEG data end too early
        image_broken: the picture cannot be decoded: the JPEG data end too early
        "#
    );
}

#[test]
fn a_picture_is_turned_as_its_camera_says_or_not() {
    let file = include_bytes!("../../tests/fixtures/images/orientation-6.jpg");
    let header = probe(file, Limits::default()).unwrap();
    assert_eq!((header.format, header.width, header.height), (Format::Jpeg, 24, 16));
    let sum = |orientation: &str| {
        let recipe = recipe(&serde_json::json!({
            "decode": {"colour": "grey", "orientation": orientation}, "layout": "hw", "type": "uint8",
            "operations": [{"resize": {"width": 2, "height": 2, "method": "area", "like": "opencv"}}]
        }));
        match recipe.run(file, Limits::default()).unwrap() {
            Picture::Uint8(values) => values.iter().map(|value| *value > 128).collect::<Vec<_>>(),
            Picture::Float32(_) => panic!(),
        }
    };
    // Stored: the top left quarter is light. Turned to the right it is the top right one.
    assert_eq!(sum("ignore"), [true, false, false, false]);
    assert_eq!(sum("apply"), [false, true, false, false]);
}

#[test]
fn no_byte_of_a_jpeg_makes_the_decoder_panic() {
    for file in [
        include_bytes!("../../tests/fixtures/images/orientation-6.jpg").as_slice(),
        include_bytes!("../../tests/fixtures/images/progressive.jpg").as_slice(),
    ] {
        let limits = Limits { max_bytes: 1 << 20, max_pixels: 10_000, ..Limits::default() };
        let recipe =
            recipe(&grey(&serde_json::json!([{"centre_crop": {"width": 1, "height": 1}}])));
        recipe.run(file, limits).unwrap();
        let mut seed = 1_u32;
        for at in 2..file.len() {
            let mut changed = file.to_vec();
            for _ in 0..4 {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                changed[at] = seed.to_be_bytes()[0];
                let _either = recipe.run(&changed, limits);
            }
            let _either = recipe.run(&file[..at], limits);
        }
    }
}

/// One of the recipes that are fuzzed was none, which only `make fuzz` saw.
#[test]
fn the_recipes_that_are_fuzzed_are_sound_and_take_the_seeds() {
    let specs: Vec<RecipeSpec> =
        serde_json::from_str(include_str!("../../fuzz/images.recipes.json")).unwrap();
    let seeds = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/images");
    for spec in specs {
        let recipe = Recipe::load(spec).unwrap();
        for seed in std::fs::read_dir(&seeds).unwrap() {
            let file = std::fs::read(seed.unwrap().path()).unwrap();
            recipe.run(&file, Limits::default()).unwrap();
        }
    }
}
