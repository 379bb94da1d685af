//! Pictures through HTTP, asked of the model `digits`: as base64, in a form and as they are.

use std::io::Cursor;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::helpers::{TestApp, new_id, record, settings, spawn, spawn_with};
use crate::sensitive::sensitive_copy_of;
use crate::shutdown::Process;

const PATH: &str = "/v1/models/digits/predict";

/// A digit drawn by hand: dark strokes on white, as a drawing program saves it.
fn drawing(size: u32, is_ink: impl Fn(f64, f64) -> bool) -> Vec<u8> {
    let at = |x: u32| (f64::from(x) + 0.5) / f64::from(size);
    let picture = image::GrayImage::from_fn(size, size, |x, y| {
        image::Luma([if is_ink(at(x), at(y)) { 20 } else { 255 }])
    });
    let mut file = Cursor::new(Vec::new());
    picture.write_to(&mut file, image::ImageFormat::Png).unwrap();
    file.into_inner()
}

fn zero(size: u32) -> Vec<u8> {
    drawing(size, |x, y| {
        let distance = ((x - 0.5) / 0.30).hypot((y - 0.5) / 0.46);
        (0.62..1.0).contains(&distance)
    })
}

fn one(size: u32) -> Vec<u8> {
    drawing(size, |x, _| (0.42..0.62).contains(&x))
}

fn seven(size: u32) -> Vec<u8> {
    drawing(size, |x, y| {
        (y < 0.18 && (0.2..0.8).contains(&x)) || (x - (0.72 - 0.35 * y)).abs() < 0.09
    })
}

fn row(file: &[u8]) -> String {
    json!({"inputs": [{"image": STANDARD.encode(file)}]}).to_string()
}

/// A form as a browser sends it.
fn form(parts: &[(&str, Option<&str>, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, file, content) in parts {
        let file = file.map_or(String::new(), |file| {
            format!("; filename=\"{file}\"\r\nContent-Type: image/png")
        });
        body.extend_from_slice(
            format!("--frontier\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n")
                .as_bytes(),
        );
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--frontier--\r\n");
    body
}

/// A server of the model `digits`, and of no other.
fn digits() -> seaworthy::config::Settings {
    let mut settings = settings();
    settings.models.dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/models");
    "digits".clone_into(&mut settings.models.default);
    settings.models.load = seaworthy::config::Load::Default;
    settings
}

const FORM: &str = "multipart/form-data; boundary=frontier";

async fn send(app: &TestApp, content_type: &str, body: Vec<u8>) -> (u16, Value) {
    let request = app.client.post(app.url(PATH)).header("content-type", content_type).body(body);
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digit_drawn_by_hand_is_read_from_json_from_a_form_and_as_it_is() {
    let app = spawn_with(&digits()).await;
    for (label, file) in [(0, zero(28)), (1, one(200)), (7, seven(64)), (0, zero(301))] {
        let answer = app.predict(PATH, row(&file)).await;
        assert_eq!(answer["predictions"], json!([label]), "{answer}");
        let probabilities = answer["probabilities"][0].as_object().unwrap();
        // The three most probable ones, the first of them first.
        assert_eq!(probabilities.len(), 3, "{answer}");
        assert_eq!(probabilities.keys().next().unwrap(), &label.to_string());
        let values: Vec<f64> = probabilities.values().map(|p| p.as_f64().unwrap()).collect();
        assert!(values.is_sorted_by(|a, b| a >= b) && values[0] > 0.5, "{answer}");

        let url = format!("data:image/png;base64,{}", STANDARD.encode(&file));
        let by_url = app.predict(PATH, json!([{"image": url}]).to_string()).await;
        let (status, by_form) =
            send(&app, FORM, form(&[("image", Some("digit.png"), &file)])).await;
        let (raw_status, as_it_is) = send(&app, "image/png", file.clone()).await;
        assert_eq!((status, raw_status), (200, 200), "{by_form} {as_it_is}");
        for other in [by_url, by_form, as_it_is] {
            assert_eq!(other["predictions"], answer["predictions"]);
            assert_eq!(other["probabilities"], answer["probabilities"]);
        }
    }
}

/// A narrow network of the same layers as the course's: what must be exact is all that is around it.
#[tokio::test(flavor = "multi_thread")]
async fn photos_of_seedlings_go_the_way_of_the_course() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut settings = settings();
    settings.models.dir = root.join("tests/fixtures/models");
    "plant-seedlings".clone_into(&mut settings.models.default);
    let app = spawn_with(&settings).await;
    let golden = root.join("tests/fixtures/models/plant-seedlings/1.0.0-small/golden.jsonl");
    let golden = std::fs::read_to_string(golden).unwrap();
    for (name, line) in ["black-grass.png", "charlock.png"].iter().zip(golden.lines()) {
        let expected: Value = serde_json::from_str(line).unwrap();
        let photo = std::fs::read(root.join("tests/data/plant-seedlings").join(name)).unwrap();
        let request = app.client.post(app.url("/v1/predict")).header("content-type", "image/png");
        let answer: Value = request.body(photo).send().await.unwrap().json().await.unwrap();
        assert_eq!(answer["predictions"][0], expected["output"]["prediction"], "{answer}");
        let mut best: Vec<(&String, f64)> = expected["output"]["probabilities"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(label, p)| (label, p.as_f64().unwrap()))
            .collect();
        best.sort_by(|a, b| b.1.total_cmp(&a.1));
        let found = answer["probabilities"][0].as_object().unwrap();
        assert_eq!(found.len(), 3);
        for ((label, p), (expected_label, expected_p)) in found.iter().zip(best) {
            assert_eq!(label, expected_label, "{answer}");
            assert!((p.as_f64().unwrap() - expected_p).abs() <= 1e-6 + 1e-5 * expected_p);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_of_many_sizes_go_together_and_a_bad_one_does_not_disturb_them() {
    let app = spawn_with(&digits()).await;
    let broken = &zero(90)[..120];
    let rows = [&zero(20)[..], &one(333), broken, &seven(8)]
        .map(|file| json!({"image": STANDARD.encode(file)}));
    let answer =
        app.predict(&format!("{PATH}?on_invalid=null"), json!({"inputs": rows}).to_string()).await;
    assert_eq!(answer["predictions"], json!([0, 1, null, 7]), "{answer}");
    assert_eq!(answer["errors"][0]["pointer"], "#/inputs/2/image");
    assert_eq!(answer["errors"][0]["code"], "image_broken");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_picture_has_its_problem() {
    let mut settings = digits();
    settings.images.max_bytes = 20_000;
    settings.images.max_pixels = 100_000;
    settings.images.max_request_pixels = 150_000;
    let app = spawn_with(&settings).await;
    let whole = zero(64);
    let mut bomb = whole.clone();
    bomb[16..24].copy_from_slice(&[0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff]);
    let mut sum = flate2::Crc::new();
    sum.update(&bomb[12..29]);
    bomb[29..33].copy_from_slice(&sum.sum().to_be_bytes());
    let json = |value: Value| {
        ("application/json", json!({"inputs": [{"image": value}]}).to_string().into_bytes())
    };
    let file = |file: &[u8]| json(STANDARD.encode(file).into());
    let two = json!({"inputs": [{"image": STANDARD.encode(zero(300))}, {"image": STANDARD.encode(zero(300))}]});
    let requests = [
        ("no picture", json(Value::Null)),
        ("a number", json(5.into())),
        ("not base64", json("a picture of a cat".into())),
        ("base64 that is cut off", json("iVBORw0KGg==iVBO".into())),
        ("a data URL of text", json("data:text/plain,hello".into())),
        ("an empty text", json("".into())),
        ("text", file(b"hello")),
        ("a PDF", file(b"%PDF-1.7\n%...")),
        ("a TIFF", file(b"II*\0\x08\0\0\0")),
        ("only the signature", file(&whole[..8])),
        ("a picture that is cut off", file(&whole[..whole.len() - 30])),
        ("a bomb", file(&bomb)),
        ("too many pixels", file(&zero(320))),
        ("too many pixels in all", ("application/json", two.to_string().into_bytes())),
        ("too many bytes", file(&[0x89; 20_001])),
        ("a picture as it is that is none", ("image/png", b"hello".to_vec())),
        ("a form without the field", (FORM, form(&[("photo", Some("a.png"), &whole)]))),
        (
            "a form with the field twice",
            (FORM, form(&[("image", None, &whole), ("image", None, &whole)])),
        ),
        ("a form with rows", (FORM, form(&[("inputs", None, b"[{}]")]))),
        ("a form that is cut off", (FORM, form(&[("image", None, &whole)])[..200].to_vec())),
        ("a form without a boundary", ("multipart/form-data", b"--x".to_vec())),
        ("another type", ("text/plain", b"hello".to_vec())),
    ];
    let mut shown = String::new();
    for (what, (content_type, body)) in requests {
        let (status, mut answer) = send(&app, content_type, body).await;
        answer.as_object_mut().unwrap().remove("request_id");
        shown +=
            &format!("# {what}: {status}\n{}\n\n", serde_json::to_string_pretty(&answer).unwrap());
    }
    insta::assert_snapshot!(shown);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_without_pictures_takes_neither_pictures_nor_forms() {
    let app = spawn().await;
    for (content_type, body) in [("image/png", zero(8)), (FORM, form(&[("LotArea", None, b"5")]))] {
        let request =
            app.client.post(app.url("/v1/predict")).header("content-type", content_type).body(body);
        assert_eq!(request.send().await.unwrap().status(), 415, "{content_type}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_names_a_picture_by_its_digest_unless_it_shall_hold_it() {
    let file = zero(40);
    let mut settings = digits();
    for whole in [false, true] {
        if whole {
            settings.log.images = seaworthy::config::LoggedImages::Full;
        }
        let app = spawn_with(&settings).await;
        let id = new_id("picture");
        let request = app.client.post(app.url(PATH)).header("content-type", "image/png");
        let answer = request.header("x-request-id", &id).body(file.clone()).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let digest = <sha2::Sha256 as sha2::Digest>::digest(&file);
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = if whole {
            json!({"image": STANDARD.encode(&file)})
        } else {
            json!({"image": {"sha256": digest, "bytes": file.len(), "type": "image/png"}})
        };
        assert_eq!(record(&id).value("inputs"), expected);
    }
}

/// A picture as it is is not read as JSON, but everybody sees the same as if it were: whoever sent it, and whoever reads the log.
#[tokio::test(flavor = "multi_thread")]
async fn a_picture_as_it_is_is_answered_and_logged_like_the_one_in_json() {
    let sensitive = tempfile::tempdir().unwrap();
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/models");
    sensitive_copy_of(&root.join("digits/1.0.0"), sensitive.path(), &["image"]);
    let mut settings = [digits(), digits(), digits(), digits()];
    settings[1].log.images = seaworthy::config::LoggedImages::Full;
    settings[2].models.dir = sensitive.path().to_owned();
    settings[2].log.sensitive_key = "a key".to_owned();
    settings[3].models.dir = sensitive.path().to_owned();
    let whole = zero(64);
    let bodies = [&whole[..], &whole[..whole.len() - 30], &whole[..8], b"hello", b"", &zero(320)];
    for (at, settings) in settings.iter_mut().enumerate() {
        settings.images.max_pixels = 100_000;
        let app = spawn_with(settings).await;
        for body in bodies {
            let json = json!({"inputs": {"image": STANDARD.encode(body)}}).to_string();
            let mut seen = Vec::new();
            for (content_type, body) in
                [("image/png", body.to_vec()), ("application/json", json.into_bytes())]
            {
                let id = new_id("as_it_is");
                let request = app.client.post(app.url(PATH)).header("content-type", content_type);
                let response = request.header("x-request-id", &id).body(body).send().await.unwrap();
                let status = response.status().as_u16();
                let mut answer: Value = response.json().await.unwrap();
                answer.as_object_mut().unwrap().remove("request_id");
                let record = record(&id);
                let logged = ["status", "rows", "inputs", "predictions", "errors"];
                seen.push((status, answer, logged.map(|key| record.value(key))));
            }
            assert_eq!(seen[0], seen[1], "settings {at}, {} bytes", body.len());
        }
    }
}

/// Decoding and resizing take and give back: what is held afterwards does not depend on how large the pictures were.
#[tokio::test(flavor = "multi_thread")]
async fn memory_returns_to_its_level_after_pictures_of_varying_size() {
    // A process of its own: in this one other tests take memory as well.
    let server = Process::start_with(&[
        ("SEAWORTHY__MODELS__DIR", "examples/models"),
        ("SEAWORTHY__MODELS__DEFAULT", "digits"),
    ])
    .await;
    let client = reqwest::Client::new();
    let url = format!("http://{}{PATH}", server.address);
    let files: Vec<Vec<u8>> = (1..=8).map(|n| zero(n * 150)).collect();
    let round = async |times: usize| {
        for n in 0..times {
            let n_rows = 1 + n % 3;
            let rows: Vec<Value> = (0..n_rows)
                .map(|row| json!({"image": STANDARD.encode(&files[(n + row) % files.len()])}))
                .collect();
            let request = client.post(&url).json(&json!({"inputs": rows}));
            assert_eq!(request.send().await.unwrap().status(), 200);
        }
    };
    round(48).await;
    let before = server.resident();
    round(96).await;
    let after = server.resident();
    assert!(after < before + (24 << 20), "{} MiB before, {} MiB after", before >> 20, after >> 20);
}
