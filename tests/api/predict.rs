//! Good requests: the numbers, their order, and every way to send rows.

use seaworthy::engine::Lane;
use serde_json::Value;

use crate::helpers::{
    PATIENCE, Predicted, Row, TestApp, csv_predictions, csv_rows, data, new_id, record, settings,
    spawn, spawn_with, wrapped,
};

/// The predictions of one request as text, and its errors.
async fn predicted(app: &TestApp, path: &str, body: String) -> Predicted {
    let response = app.post(path, body).send().await.unwrap();
    let (status, text) = (response.status(), response.text().await.unwrap());
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).unwrap()
}

fn number(text: &str) -> f64 {
    text.parse().unwrap()
}

#[track_caller]
fn assert_close(found: f64, expected: f64, what: &str) {
    let difference = (found - expected).abs();
    assert!(difference <= 1e-9 * expected.abs(), "{what}: {found} is not {expected}");
}

const V320: &str = "/v1/models/house-prices/versions/3.2.0/predict";
const V330: &str = "/v1/models/house-prices/versions/3.3.0/predict";

#[tokio::test(flavor = "multi_thread")]
async fn all_of_the_test_data_in_one_request() {
    let app = spawn().await;
    let rows = csv_rows(&app, "test.csv").await;
    assert_eq!(rows.len(), 1459);
    let body = wrapped(rows.iter().map(|(_, row)| row));
    let expected = csv_predictions("predictions_3.2.0.csv");
    let id = new_id("all");
    let request = app.post("/v1/predict?on_invalid=null", body.clone()).header("x-request-id", &id);
    let answer: Predicted =
        serde_json::from_str(&request.send().await.unwrap().text().await.unwrap()).unwrap();
    let found = answer.texts();
    assert_eq!(found.len(), 1459);
    let mut n_null = 0;
    for (at, (id, _)) in rows.iter().enumerate() {
        match expected.get(id) {
            Some(expected) => assert_close(number(found[at]), *expected, &format!("row {at}")),
            None => {
                n_null += 1;
                assert_eq!(found[at], "null", "row {at}");
            }
        }
    }
    assert_eq!(n_null, 10);
    let errors = answer.errors.clone().unwrap();
    let mut blamed: Vec<usize> = Vec::new();
    for error in &errors {
        let mut pointer =
            error["pointer"].as_str().unwrap().strip_prefix("#/inputs/").unwrap().split('/');
        let row: usize = pointer.next().unwrap().parse().unwrap();
        let field = pointer.next().unwrap();
        assert_eq!(found[row], "null");
        assert_eq!(error["code"], "null");
        assert!(
            rows[row].1.0.iter().any(|(key, value)| key == field && value == "null"),
            "{error}"
        );
        blamed.push(row);
    }
    assert!(blamed.is_sorted());
    blamed.dedup();
    assert_eq!(blamed.len(), 10);
    // The log has it all, in one line.
    let record = record(&id);
    assert_eq!(record.text("rows"), "1459");
    let logged: Vec<Box<serde_json::value::RawValue>> =
        serde_json::from_str(record.text("predictions")).unwrap();
    assert_eq!(logged.iter().map(|text| text.get()).collect::<Vec<_>>(), found);

    // Without the option: refused, and every problem listed.
    let response = app.post("/v1/predict", body).send().await.unwrap();
    assert_eq!(response.status(), 422);
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["detail"], format!("{} problems in 10 of 1459 rows", errors.len()));
    assert_eq!(problem["errors"].as_array().unwrap(), &errors);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_equal_their_python_pipelines() {
    let app = spawn().await;
    let train = csv_rows(&app, "train.csv").await;
    let test = csv_rows(&app, "test.csv").await;
    let all: Vec<&(u32, Row)> = train.iter().chain(&test).collect();
    let body = wrapped(all.iter().map(|(_, row)| row));
    for (path, file) in [(V320, "predictions_3.2.0.csv"), (V330, "predictions_3.3.0.csv")] {
        let expected = csv_predictions(file);
        let answer = predicted(&app, &format!("{path}?on_invalid=null"), body.clone()).await;
        let mut n_compared = 0;
        for ((id, _), found) in all.iter().zip(answer.texts()) {
            if let Some(expected) = expected.get(id) {
                assert_close(number(found), *expected, &format!("{file}, Id {id}"));
                n_compared += 1;
            } else if *id > 1460 || file.contains("3.3") {
                assert_eq!(found, "null", "{file}, Id {id}");
            }
        }
        assert_eq!(n_compared, expected.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn random_rows_fail_exactly_where_python_fails() {
    let app = spawn().await;
    for (path, file) in [(V320, "random_3.2.0.ndjson"), (V330, "random_3.3.0.ndjson")] {
        let text = std::fs::read_to_string(data(file)).unwrap();
        let lines: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let rows: Vec<String> = lines.iter().map(|line| line["input"].to_string()).collect();
        let body = format!("[{}]", rows.join(","));
        let answer = predicted(&app, &format!("{path}?on_invalid=null"), body).await;
        for (at, (line, found)) in lines.iter().zip(answer.texts()).enumerate() {
            match line["prediction"].as_f64() {
                Some(expected) => {
                    assert_close(number(found), expected, &format!("{file}:{}", at + 1));
                }
                None => assert_eq!(found, "null", "{file}:{} {}", at + 1, line["error"]),
            }
        }
    }
}

/// The same bits whatever the split: row by row, in pieces of random length, over both lanes.
#[tokio::test(flavor = "multi_thread")]
async fn any_split_gives_the_same_bits() {
    let app = spawn().await;
    let rows = csv_rows(&app, "test.csv").await;
    let rows: Vec<&Row> = rows.iter().map(|(_, row)| row).collect();
    let whole = predicted(&app, "/v1/predict?on_invalid=null", wrapped(rows.iter().copied())).await;
    let whole = whole.texts();
    for (at, row) in rows.iter().enumerate() {
        let alone = predicted(&app, "/v1/predict?on_invalid=null", wrapped([*row])).await;
        assert_eq!(alone.texts(), [whole[at]], "row {at}");
    }
    let mut settings = settings();
    for lane in [Lane::Inline, Lane::Worker] {
        settings.engine.lane = match lane {
            Lane::Inline => seaworthy::config::LaneChoice::Inline,
            Lane::Worker => seaworthy::config::LaneChoice::Worker,
        };
        let app = spawn_with(&settings).await;
        // A fixed sequence of pseudo-random lengths (Park and Miller), with many short ones.
        let mut seed = 2026_u64;
        let mut at = 0;
        while at < rows.len() {
            seed = seed * 48_271 % 0x7fff_ffff;
            let length =
                (usize::try_from(seed % 97).unwrap() * usize::try_from(seed % 3).unwrap()).max(1);
            let end = rows.len().min(at + length);
            let piece = predicted(
                &app,
                "/v1/predict?on_invalid=null",
                wrapped(rows[at..end].iter().copied()),
            )
            .await;
            assert_eq!(piece.texts(), whole[at..end], "rows {at} to {end}, {lane:?}");
            at = end;
        }
    }
}

/// Requests of many clients at once, run together by a worker: each gets the bits, and the errors, that it gets alone.
#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_merged_get_the_same_bits() {
    let app = spawn().await;
    let rows = csv_rows(&app, "test.csv").await;
    let rows: Vec<&Row> = rows.iter().map(|(_, row)| row).take(400).collect();
    let path = "/v1/predict?on_invalid=null";
    let whole = predicted(&app, path, wrapped(rows.iter().copied())).await;
    let whole = whole.texts();
    let mut settings = settings();
    settings.engine.lane = seaworthy::config::LaneChoice::Worker;
    settings.engine.threads = 1;
    (settings.engine.queue, settings.engine.burst) = (1_000, 1_000);
    let app = spawn_with(&settings).await;
    let mut clients = tokio::task::JoinSet::new();
    for (at, row) in rows.iter().enumerate() {
        let request = app.post(path, wrapped([*row]));
        clients.spawn(async move {
            let text = request.send().await.unwrap().text().await.unwrap();
            (at, serde_json::from_str::<Predicted>(&text).unwrap())
        });
    }
    for (at, answer) in clients.join_all().await {
        assert_eq!(answer.texts(), [whole[at]], "row {at}");
    }
    let metrics = app.get("/metrics").await.text().await.unwrap();
    let sample = |name: &str| -> f64 {
        let found = metrics.lines().find(|line| line.starts_with(name) && line.contains("3.2.0"));
        found.unwrap().rsplit_once(' ').unwrap().1.parse().unwrap()
    };
    let (n_rows, n_runs) =
        (sample("seaworthy_batch_rows_sum"), sample("seaworthy_batch_rows_count"));
    assert!(n_runs < n_rows, "none of {n_rows} was merged");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_is_as_the_contract_says() {
    let app = spawn().await;
    let id = new_id("answer");
    let response = app
        .post("/v1/predict", wrapped([&Row::good()]))
        .header("x-request-id", &id)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    let headers = response.headers().clone();
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(headers["x-request-id"], id.as_str());
    let text = response.text().await.unwrap();
    assert_eq!(
        text,
        format!(
            r#"{{"predictions":[241991.33595329963],"version":"3.2.0","errors":null,"model":"house-prices","request_id":"{id}"}}"#
        )
    );
    assert_eq!(headers["content-length"], text.len().to_string().as_str());
}

/// Three forms, aliases, another order of keys, absent and null nullable fields, white space: all the same row.
#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_write_a_row_gives_the_same() {
    let app = spawn().await;
    let good = Row::good();
    let row = good.json();
    let mut reversed = good.clone();
    reversed.0.reverse();
    let aliases = good.json().replace("FirstFlrSF", "1stFlrSF").replace("SecondFlrSF", "2ndFlrSF");
    let spaced = row.replace([',', ':'], " \r\n\t$0").replace("$0", ",");
    assert!(serde_json::from_str::<Value>(&spaced).is_err());
    let spaced =
        serde_json::to_string_pretty(&serde_json::from_str::<Value>(&row).unwrap()).unwrap();
    let escaped = row.replace("\"MSZoning\":\"RL\"", r#""\u004dSZoning":"\u0052L""#);
    assert_ne!(escaped, row);
    let bodies = [
        format!("{{\"inputs\":[{row}]}}"),
        format!("{{\"inputs\":{row}}}"),
        format!("[{row}]"),
        format!(" \r\n\t{{ \"inputs\" :\n[\t{row}\r\n]\n}}\n\n"),
        format!("{{\"id\":7,\"inputs\":[{row}],\"parameters\":{{\"a\":[1,{{}}]}}}}"),
        wrapped([&reversed]),
        format!("[{aliases}]"),
        format!("{{\"inputs\":{spaced}}}"),
        format!("[{escaped}]"),
        wrapped([&good.clone().without("FireplaceQu")]),
        wrapped([&good
            .clone()
            .with("MSSubClass", "20.0")
            .with("FirstFlrSF", "1.466e3")
            .with("LotFrontage", "73")]),
        wrapped([&good.clone().and("Neighbourhood", "[[1e999], {\"x\": null}]").and("", "0")]),
    ];
    for body in bodies {
        let id = new_id("form");
        let response =
            app.post("/v1/predict", body.clone()).header("x-request-id", &id).send().await.unwrap();
        let answer: Value = response.json().await.unwrap();
        assert_eq!(answer["predictions"].to_string(), "[241991.33595329963]", "{body}: {answer}");
        assert_eq!(answer["errors"], Value::Null);
        // One line, whatever line breaks the body has; and it can be sent again.
        let record = record(&id);
        let again =
            predicted(&app, "/v1/predict", format!("{{\"inputs\":{}}}", record.text("inputs")))
                .await;
        assert_eq!(again.texts(), ["241991.33595329963"], "{body}");
    }
}

/// Other bodies than one piece with a length: in chunks, byte by byte, after `100 Continue`.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_may_come_in_pieces() {
    let app = spawn().await;
    let body = wrapped([&Row::good(), &Row::good()]);
    let mut connection = crate::helpers::Connection::open(app.address).await;
    let head = |id: &str, framing: &str| {
        format!(
            "POST /v1/predict HTTP/1.1\r\nHost: x\r\nX-Request-ID: {id}\r\nContent-Type: application/json\r\n{framing}\r\n\r\n"
        )
    };
    let length = format!("Content-Length: {}", body.len());
    let ids = [new_id("chunks"), new_id("bytes"), new_id("continue")];
    connection.write(head(&ids[0], "Transfer-Encoding: chunked").as_bytes()).await;
    for piece in body.as_bytes().chunks(7) {
        let chunk = [format!("{:x};ext=1\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
        connection.write(&chunk).await;
    }
    connection.write(b"0\r\nTrailer: x\r\n\r\n").await;
    let mut answers = vec![connection.answer().await];
    for byte in [head(&ids[1], &length).as_bytes(), body.as_bytes()].concat() {
        connection.write(&[byte]).await;
    }
    answers.push(connection.answer().await);
    connection.write(head(&ids[2], &format!("{length}\r\nExpect: 100-continue")).as_bytes()).await;
    assert_eq!(connection.answer().await.status, 100);
    connection.write(body.as_bytes()).await;
    answers.push(connection.answer().await);
    for (answer, id) in answers.iter().zip(&ids) {
        assert_eq!(answer.status, 200, "{id}");
        assert_eq!(
            answer.json()["predictions"].to_string(),
            "[241991.33595329963,241991.33595329963]"
        );
        assert_eq!(record(id).text("rows"), "2");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn null_in_place_of_invalid_rows() {
    let app = spawn().await;
    let good = Row::good();
    let bad = good.clone().with("MSSubClass", "\"a\"").with("YrSold", "null");
    let refused = good.clone().with("GrLivArea", "0");
    let body = wrapped([&bad, &good, &refused, &good, &bad]);
    let answer = app.predict("/v1/predict?on_invalid=null", body).await;
    assert_eq!(
        answer["predictions"].to_string(),
        "[null,241991.33595329963,null,241991.33595329963,null]"
    );
    let listed: Vec<String> = answer["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| {
            format!("{} {}", error["pointer"].as_str().unwrap(), error["code"].as_str().unwrap())
        })
        .collect();
    assert_eq!(
        listed,
        [
            "#/inputs/0/MSSubClass type",
            "#/inputs/0/YrSold null",
            "#/inputs/2/GrLivArea out_of_domain",
            "#/inputs/4/MSSubClass type",
            "#/inputs/4/YrSold null",
        ]
    );
    // All bad, of the schema or of the pipeline; and one alone.
    for (rows, n) in [(vec![&bad, &bad], 2), (vec![&refused, &refused], 2), (vec![&bad], 1)] {
        let answer = app.predict("/v1/predict?on_invalid=null", wrapped(rows)).await;
        assert_eq!(answer["predictions"], Value::from(vec![Value::Null; n]));
        assert_ne!(answer["errors"], Value::Null);
    }
    let answer = app.predict("/v1/predict?on_invalid=fail&on_invalid=null", wrapped([&bad])).await;
    assert_eq!(answer["predictions"].to_string(), "[null]");
}

/// An extreme input makes the prediction infinite: that is no fault of the row's form, so both ways answer 200 with `null`.
#[tokio::test(flavor = "multi_thread")]
async fn a_prediction_that_is_not_finite_is_null() {
    let app = spawn().await;
    let extreme =
        Row::good().with("WoodDeckSF", "9007199254740992").with("SecondFlrSF", "9007199254740992");
    for path in ["/v1/predict", "/v1/predict?on_invalid=null"] {
        let answer = app.predict(path, wrapped([&Row::good(), &extreme])).await;
        assert_eq!(answer["predictions"].to_string(), "[241991.33595329963,null]");
        let errors = answer["errors"].as_array().unwrap();
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0]["pointer"], "#/inputs/1");
        assert_eq!(errors[0]["code"], "output_not_finite");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_errors_than_are_listed_are_counted() {
    let mut settings = settings();
    settings.server.max_errors = 3;
    let app = spawn_with(&settings).await;
    let bad = Row::good().with("MSSubClass", "\"a\"");
    let refused = Row::good().with("GrLivArea", "0");
    let body = wrapped([&refused, &bad, &refused, &bad, &refused, &bad]);
    let answer = app.predict("/v1/predict?on_invalid=null", body.clone()).await;
    let pointers = |value: &Value| -> Vec<String> {
        let errors = value["errors"].as_array().unwrap();
        errors.iter().map(|error| error["pointer"].as_str().unwrap().to_owned()).collect()
    };
    let first = ["#/inputs/0/GrLivArea", "#/inputs/1/MSSubClass", "#/inputs/2/GrLivArea"];
    assert_eq!(
        (pointers(&answer), &answer["total_errors"]),
        (first.map(str::to_owned).to_vec(), &6.into())
    );
    let id = new_id("capped");
    let response = app.post("/v1/predict", body).header("x-request-id", &id).send().await.unwrap();
    let problem: Value = response.json().await.unwrap();
    assert_eq!(
        (pointers(&problem), &problem["total_errors"]),
        (first.map(str::to_owned).to_vec(), &6.into())
    );
    assert_eq!(problem["detail"], "6 problems in 6 of 6 rows");
    assert_eq!(record(&id).text("total_errors"), "6");
}

/// Requests on one connection, written all at once, are answered in their order.
#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_are_answered_in_order() {
    let app = spawn().await;
    let mut connection = crate::helpers::Connection::open(app.address).await;
    let ids: Vec<String> = (0..50).map(|_| new_id("pipelined")).collect();
    let bytes: Vec<u8> = ids
        .iter()
        .enumerate()
        .flat_map(|(at, id)| {
            let body = if at % 3 == 0 { "{".to_owned() } else { wrapped([&Row::good()]) };
            crate::helpers::post_bytes(id, body.as_bytes())
        })
        .collect();
    connection.write(&bytes).await;
    for (at, id) in ids.iter().enumerate() {
        let answer = connection.answer().await;
        assert_eq!(answer.header("x-request-id"), Some(id.as_str()));
        assert_eq!(answer.status, if at % 3 == 0 { 400 } else { 200 });
        record(id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_clients_at_once_get_their_own_answers() {
    let app = spawn().await;
    let rows = csv_rows(&app, "test.csv").await;
    let whole = wrapped(rows.iter().map(|(_, row)| row));
    let whole = predicted(&app, "/v1/predict?on_invalid=null", whole).await;
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..16_usize {
        let url = app.url("/v1/predict?on_invalid=null");
        let rows: Vec<(String, String)> = rows
            .iter()
            .zip(whole.texts())
            .skip(client * 20)
            .take(20)
            .map(|((_, row), expected)| (wrapped([row]), expected.to_owned()))
            .collect();
        let http = app.client.clone();
        clients.spawn(async move {
            for (body, expected) in rows {
                let request = http.post(&url).header("content-type", "application/json").body(body);
                let answer = request.send().await.unwrap().text().await.unwrap();
                let answer: Predicted = serde_json::from_str(&answer).unwrap();
                assert_eq!(answer.texts(), [expected]);
            }
        });
    }
    tokio::time::timeout(PATIENCE, clients.join_all()).await.unwrap();
}
