//! A server whose port is bound before its models are proven.

use serde_json::Value;

use crate::fault::fault;
use crate::helpers::{PATIENCE, Row, eventually, new_id, record, settings, spawn_with, wrapped};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_loads_in_the_background_says_how_far_it_is() {
    let mut settings = settings();
    settings.models.background = true;
    let app = spawn_with(&settings).await;
    // The port is bound, but the runtime has had no time for the models yet; or they are already there on a quick machine.
    let mut seen = Vec::new();
    eventually("ready", async || {
        let response = app.get("/health").await;
        let status = response.status();
        let health: Value = response.json().await.unwrap();
        if status == 200 {
            assert_eq!(health["status"], "ready");
            return Some(());
        }
        assert_eq!((status.as_u16(), &health["status"]), (503, &Value::from("loading")));
        let loading = &health["loading"];
        assert_eq!(loading.as_object().unwrap().len(), 5, "{loading}");
        assert!(loading["done"].as_u64() <= loading["total"].as_u64(), "{loading}");
        assert_eq!(app.get("/health/live").await.status(), 200);
        let id = new_id("early");
        let early = app
            .post("/v1/predict", wrapped([&Row::good()]))
            .header("x-request-id", &id)
            .send()
            .await
            .unwrap();
        if early.status() == 503 {
            assert_eq!(early.headers()["retry-after"], "1");
            let problem: Value = early.json().await.unwrap();
            assert_eq!(problem["type"], "/problems/loading");
            assert_eq!(record(&id).text("status"), "503");
            seen.push(loading.clone());
        }
        None
    })
    .await;
    assert!(!seen.is_empty(), "loading takes longer than the first request");
    let answer = app.predict("/v1/predict", wrapped([&Row::good()])).await;
    assert_eq!(answer["version"], "3.2.0");
    assert_eq!(app.get("/v1/models").await.status(), 200);
    fault!(
        "a model that takes long to load",
        "`models.background = true`, and requests from the first moment on",
        "health 503 with the progress, predictions 503 with `Retry-After`, then 200 for both",
        "503 loading with model, step and count; 503 with `Retry-After: 1`; then 200"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_is_not_proven_in_the_background_ends_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let broken = dir.path().join("house-prices/3.2.0");
    std::fs::create_dir_all(&broken).unwrap();
    for file in std::fs::read_dir(crate::helpers::models_dir().join("house-prices/3.2.0")).unwrap()
    {
        let file = file.unwrap();
        std::fs::copy(file.path(), broken.join(file.file_name())).unwrap();
    }
    std::fs::write(broken.join("model.onnx"), "no graph").unwrap();
    let mut settings = settings();
    settings.models.background = true;
    settings.models.dir = dir.path().to_owned();
    let app = spawn_with(&settings).await;
    let end = tokio::time::timeout(PATIENCE, app.server).await.unwrap().unwrap();
    let error = end.unwrap_err().to_string();
    assert!(error.contains("model.onnx"), "{error}");
    fault!(
        "a broken model that is loaded in the background",
        "`models.background = true`, and a graph whose hash is wrong",
        "never ready; the process ends with the file's name",
        "the end, with an error that names model.onnx"
    );
}
