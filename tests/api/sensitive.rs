//! Values of sensitive fields are in no log, whatever the request looks like.

use std::collections::BTreeMap;
use std::path::Path;

use hmac::{Hmac, KeyInit as _, Mac as _};
use seaworthy::config::{Load, Settings};
use seaworthy::schema::UnknownFields;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::helpers::{Row, messages, models_dir, new_id, record, settings, spawn_with, wrapped};

/// What must not be logged. A category that the model knows, so that the row is good.
const SECRET: &str = "Timber";

/// A copy of the artifact in which a string, a number and a field with an alias are sensitive.
fn sensitive_copy(models: &Path) {
    let fields = ["Neighborhood", "LotFrontage", "FirstFlrSF"];
    sensitive_copy_of(&models_dir().join("house-prices/3.2.0"), models, &fields);
}

/// A copy of an artifact, as the same version of the same model, in which these fields are sensitive.
pub(crate) fn sensitive_copy_of(from: &Path, models: &Path, fields: &[&str]) {
    let version = from.strip_prefix(from.ancestors().nth(2).unwrap()).unwrap();
    let to = models.join(version);
    std::fs::create_dir_all(&to).unwrap();
    let mut sums = BTreeMap::new();
    for entry in std::fs::read_dir(from).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let mut bytes = std::fs::read(from.join(&name)).unwrap();
        if name == "SHA256SUMS" {
            continue;
        }
        if name == "manifest.json" {
            let mut manifest: Value = serde_json::from_slice(&bytes).unwrap();
            for field in manifest["inputs"].as_array_mut().unwrap() {
                if fields.contains(&field["name"].as_str().unwrap()) {
                    field["sensitive"] = true.into();
                }
            }
            bytes = serde_json::to_vec(&manifest).unwrap();
        }
        std::fs::write(to.join(&name), &bytes).unwrap();
        sums.insert(name, Sha256::digest(&bytes));
    }
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let sums: String = sums.iter().map(|(name, sum)| format!("{}  {name}\n", hex(sum))).collect();
    std::fs::write(to.join("SHA256SUMS"), sums).unwrap();
}

fn sensitive_settings(models: &Path, key: &str) -> Settings {
    let mut settings = settings();
    settings.models.dir = models.to_owned();
    settings.models.load = Load::Default;
    settings.log.sensitive_key = key.to_owned();
    settings
}

#[tokio::test(flavor = "multi_thread")]
async fn sensitive_values_are_hashed_with_a_key_and_hidden_without() {
    let models = tempfile::tempdir().unwrap();
    sensitive_copy(models.path());
    let mac = |text: &str| {
        let mut mac = Hmac::<Sha256>::new_from_slice(b"a key").unwrap();
        mac.update(text.as_bytes());
        let bytes = mac.finalize().into_bytes();
        format!("hmac:{}", bytes[..16].iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    };
    for key in ["", "a key"] {
        let app = spawn_with(&sensitive_settings(models.path(), key)).await;
        let id = new_id("sensitive");
        let row = Row::good().without("FirstFlrSF").and("1stFlrSF", "1466");
        let absent =
            Row::good().with("LotFrontage", "null").without("FirstFlrSF").and("FirstFlrSF", "1466");
        let response = app
            .post("/v1/predict", wrapped([&row, &absent]))
            .header("x-request-id", &id)
            .send()
            .await;
        assert_eq!(response.unwrap().status(), 200);
        let inputs = record(&id).value("inputs");
        let hidden = |text: &str| if key.is_empty() { "redacted".to_owned() } else { mac(text) };
        assert_eq!(inputs[0]["Neighborhood"], hidden("\"Timber\""));
        assert_eq!(inputs[0]["LotFrontage"], hidden("73.0"));
        assert_eq!(inputs[0]["1stFlrSF"], hidden("1466"));
        assert_eq!(inputs[0]["MSZoning"], "RL");
        assert_eq!(inputs[1]["LotFrontage"], Value::Null);
        assert_eq!(inputs[1]["FirstFlrSF"], hidden("1466"));
    }
}

/// Values of sensitive fields were logged in clear when the rows stood at another place than they should.
#[tokio::test(flavor = "multi_thread")]
async fn no_bad_request_gets_a_sensitive_value_into_a_log() {
    let models = tempfile::tempdir().unwrap();
    sensitive_copy(models.path());
    for unknown_fields in [UnknownFields::Ignore, UnknownFields::Reject] {
        let mut settings = sensitive_settings(models.path(), "a key");
        settings.schema.unknown_fields = unknown_fields;
        let app = spawn_with(&settings).await;
        let good = Row::good();
        let with = |field: &str, value: &str| wrapped([&good.clone().with(field, value)]);
        let bodies = [
            wrapped([&good]),
            good.json(),
            wrapped([&good]).replace("inputs", "instances"),
            wrapped([&good]).replace("inputs", "INPUTS"),
            format!("[[{}]]", good.json()),
            format!("{{\"inputs\":[[{}]]}}", good.json()),
            format!("{{\"inputs\":[{{\"row\":{}}}]}}", good.json()),
            format!("{{\"inputs\":{{\"rows\":[{}]}}}}", good.json()),
            format!("{{\"inputs\":[{{\"data\":{{\"a\":[{}]}}}}]}}", good.json()),
            wrapped([&good.clone().without("Neighborhood").and("neighborhood", "\"Timber\"")]),
            wrapped([&good.clone().and("Neighborhood", "\"Timber\"")]),
            wrapped([&good.clone().and("Neighborhood", "\"other\"")]),
            wrapped([&good.clone().and("x", "1e400")]),
            with("Neighborhood", "[\"Timber\"]"),
            with("Neighborhood", "{\"a\":\"Timber\"}"),
            with("LotFrontage", "\"Timber\""),
            with("FirstFlrSF", "\"Timber\""),
            with("Neighborhood", "Timber"),
            with("Neighborhood", "\"Timber"),
            with("Neighborhood", "\"Timber\"").replace("Neighborhood", r"\u004eeighborhood"),
            "{\"inputs\":[\"Timber\"]}".to_owned(),
            "{\"inputs\":\"Timber\"}".to_owned(),
            "\"Timber\"".to_owned(),
            "Timber".to_owned(),
            "Neighborhood=Timber".to_owned(),
            "[\"Timber\", {\"Neighborhood\": \"Timber\"}, [\"Timber\"], null]".to_owned(),
            "{\"inputs\": [], \"Neighborhood\": \"Timber\"}".to_owned(),
            format!("{{\"inputs\":[],\"inputs\":[{}]}}", good.json()),
        ];
        for body in bodies {
            assert!(body.contains(SECRET), "{body}");
            for path in ["/v1/predict", "/v1/predict?on_invalid=null"] {
                let id = new_id("secret");
                let request = app.post(path, body.clone()).header("x-request-id", &id);
                request.send().await.unwrap();
                let line = &crate::helpers::lines(&id)[0];
                assert!(!line.contains(SECRET), "{body}\n{line}");
                record(&id);
                assert_eq!(messages(SECRET), Vec::<String>::new());
            }
        }
    }
}
