//! `seaworthy healthcheck`.

use std::net::TcpListener;

use super::assert_shown;
use super::helpers::{Server, seaworthy};

#[test]
fn healthcheck_of_nothing_fails() {
    // Bound and closed: nobody listens there.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    assert_shown!(seaworthy(&["healthcheck"]).env("PORT", &port).show().replace(&port, "<port>"));
}

#[test]
fn healthcheck_of_what_does_not_answer_ends() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let run = seaworthy(&["healthcheck", "--timeout", "100"]).env("PORT", &port);
    assert_shown!(run.show().replace(&port, "<port>"));
}

#[test]
fn healthcheck_asks_the_server() {
    let server = Server::start();
    let port = server.port.to_string();
    let shown: Vec<String> = [
        &["healthcheck"][..],
        &["healthcheck", "--quiet"],
        &["healthcheck", "--path", "/health/live"],
        &["healthcheck", "--path", "/nothing"],
    ]
    .iter()
    .map(|arguments| seaworthy(arguments).env("PORT", &port).show().replace(&port, "<port>"))
    .collect();
    let shown = shown.join("\n");
    // The one thing that is another each time.
    let (before, rest) = shown.split_once("\"request_id\":\"").unwrap();
    let after = rest.split_once('"').unwrap().1;
    let version = env!("CARGO_PKG_VERSION");
    let shown = format!("{before}\"request_id\":\"<id>\"{after}").replace(version, "<version>");
    assert_shown!(shown);
}
