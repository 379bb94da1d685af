//! The pages for browsers: `/`, and `/docs`, which renders the OpenAPI document; and the document itself.
//!
//! Everything they load is part of the program: no page asks another host for anything, and the content security policy holds
//! them to it. Links are relative, so that the pages work below a path of a proxy.

use std::sync::{Arc, LazyLock};

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HOST, IF_NONE_MATCH,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use bytes::Bytes;
use serde_json::{Map, Value};
use tokio::sync::OnceCell;

use super::openapi::{self, Described, DocumentOptions, ExampleAnswer};
use super::problem::ApiError;
use crate::digest::sha256;
use crate::schema::DecodeOptions;
use crate::state::{AppState, Deployment};

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// Asked again each time, answered with 304 when nothing has changed.
const REVALIDATE: &str = "no-cache";
/// The address of a file holds its hash: what is behind it never changes.
const FOREVER: &str = "public, max-age=31536000, immutable";

/// Nothing but a style sheet and an image of our own.
const INDEX_POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; \
                            frame-ancestors 'none'";
/// Swagger UI besides runs a script, sends requests to this server, and has images in its style sheet.
const DOCS_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                           base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// For what is not a page.
const FILE_POLICY: &str = "default-src 'none'; frame-ancestors 'none'";

/// Something that a browser can keep: a body with its type and its hash.
#[derive(Debug, Clone)]
pub(super) struct Page {
    body: Bytes,
    content_type: &'static str,
    policy: &'static str,
    cache: &'static str,
    hash: String,
}

impl Page {
    fn new(
        body: impl Into<Bytes>,
        content_type: &'static str,
        policy: &'static str,
        cache: &'static str,
    ) -> Self {
        let body = body.into();
        let mut hash = sha256(&body);
        hash.truncate(24);
        Self { body, content_type, policy, cache, hash }
    }

    /// The index.
    pub(super) fn index(index: &Index<'_>) -> Self {
        Self::new(self::index(index), HTML, INDEX_POLICY, REVALIDATE)
    }

    /// The OpenAPI document, as text.
    pub(super) fn openapi(document: &Value) -> Self {
        Self::new(document.to_string(), "application/json", FILE_POLICY, REVALIDATE)
    }

    /// The whole of it; or 304 without a body when the client has it already.
    pub(super) fn respond(&self, request: &HeaderMap) -> Response {
        let tag = format!("\"{}\"", self.hash);
        let is_known = request
            .get_all(IF_NONE_MATCH)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(|known| known.trim().trim_start_matches("W/"))
            .any(|known| known == tag || known == "*");
        let mut response = if is_known {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            Body::from(self.body.clone()).into_response()
        };
        let headers = response.headers_mut();
        let mut put = |name: HeaderName, value: &'static str| {
            headers.insert(name, HeaderValue::from_static(value));
        };
        put(CACHE_CONTROL, self.cache);
        put(CONTENT_SECURITY_POLICY, self.policy);
        put(REFERRER_POLICY, "no-referrer");
        put(X_CONTENT_TYPE_OPTIONS, "nosniff");
        // As `frame-ancestors` says, for browsers that do not know it.
        put(X_FRAME_OPTIONS, "DENY");
        put(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
        put(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
        put(
            HeaderName::from_static("permissions-policy"),
            "camera=(), geolocation=(), microphone=()",
        );
        if !is_known {
            put(CONTENT_TYPE, self.content_type);
        }
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            headers.insert(ETAG, tag);
        }
        response
    }
}

/// A file of the program, below `/docs/`.
struct File {
    /// Its name without the hash: `stem.extension`.
    name: &'static str,
    page: LazyLock<Page>,
}

macro_rules! file {
    ($name:literal, $path:literal, $content_type:ident) => {
        File {
            name: $name,
            page: LazyLock::new(|| {
                let bytes: &'static [u8] = include_bytes!(concat!("static/", $path));
                Page::new(Bytes::from_static(bytes), $content_type, FILE_POLICY, FOREVER)
            }),
        }
    };
}

static FILES: [File; 6] = [
    file!("swagger-ui-bundle.js", "swagger-ui/swagger-ui-bundle.js", JAVASCRIPT),
    file!("swagger-ui.css", "swagger-ui/swagger-ui.css", CSS),
    file!("docs.js", "docs.js", JAVASCRIPT),
    file!("docs.css", "docs.css", CSS),
    file!("index.css", "index.css", CSS),
    file!("icon.svg", "icon.svg", SVG),
];

/// The name of a file with its hash, as the pages link to it: `docs.0123456789abcdef01234567.js`.
fn hashed(name: &str) -> String {
    let hash = FILES.iter().find(|file| file.name == name).map(|file| file.page.hash.as_str());
    match (name.rsplit_once('.'), hash) {
        (Some((stem, extension)), Some(hash)) => format!("{stem}.{hash}.{extension}"),
        _ => name.to_owned(),
    }
}

static DOCS: LazyLock<Page> = LazyLock::new(|| {
    let mut html = include_str!("static/docs.html").to_owned();
    for (placeholder, name) in [
        ("{icon}", "icon.svg"),
        ("{swagger_css}", "swagger-ui.css"),
        ("{docs_css}", "docs.css"),
        ("{swagger_js}", "swagger-ui-bundle.js"),
        ("{docs_js}", "docs.js"),
    ] {
        html = html.replace(placeholder, &hashed(name));
    }
    Page::new(html, HTML, DOCS_POLICY, REVALIDATE)
});

pub(super) fn router() -> Router<AppState> {
    let documents: Arc<OnceCell<Documents>> = Arc::default();
    Router::new()
        .route("/", get(show_index))
        .route(openapi::PATH, get(show_openapi))
        .route("/docs", get(show_docs))
        .route("/docs/{file}", get(show_file))
        .layer(Extension(documents))
}

/// What follows from the models. Made when it is first asked for, as the models are asked a thing or two for it.
#[derive(Debug)]
struct Documents {
    openapi: Page,
    /// A row that the default model takes.
    example_row: Map<String, Value>,
}

impl Documents {
    async fn of(state: &AppState) -> Result<Self, ApiError> {
        let owned = state.clone();
        let accepts = blocking(move || {
            let accepts = |deployment: &Deployment| {
                let model = &deployment.model;
                let steps = &model.artifact().manifest().pipeline;
                openapi::narrow(model.schema(), model.pipeline(), steps)
            };
            owned.deployments().iter().map(accepts).collect::<Vec<_>>()
        })
        .await?;
        let mut models = Vec::new();
        for (deployment, accepts) in state.deployments().iter().zip(accepts) {
            let is_default = std::ptr::eq(deployment, state.default_deployment());
            let mut model = Described::of(deployment, is_default, accepts);
            model.example = answer(deployment, model.example_row()).await;
            models.push(model);
        }
        let limits = state.limits();
        let options = DocumentOptions {
            service_version: env!("CARGO_PKG_VERSION"),
            max_body_bytes: limits.max_body_bytes,
            max_rows: limits.decode.max_rows,
            unknown_fields: limits.decode.unknown_fields,
            needs_key: limits.access.keys.is_some(),
            has_open_docs: limits.access.has_open_docs,
        };
        let default = models.iter().find(|model| model.is_default);
        Ok(Self {
            example_row: default.map(Described::example_row).unwrap_or_default(),
            openapi: Page::openapi(&openapi::document(&models, &options)),
        })
    }
}

/// Runs something that takes long in a thread of its own.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.map_err(|_panicked| ApiError::Internal)
}

/// What a model predicts for a row. None when it does not just now: then the document has no example.
async fn answer(deployment: &Deployment, row: Map<String, Value>) -> Option<ExampleAnswer> {
    let schema = deployment.model.schema();
    let mut frame = schema.frame();
    let body = Value::Array(vec![Value::Object(row)]).to_string();
    let decoded = schema.decode(body.as_bytes(), &DecodeOptions::default(), &mut frame).ok()?;
    if decoded.n_errors > 0 || frame.n_rows() != 1 {
        return None;
    }
    let predictions = deployment.engine.predict(frame, None).await.ok()?.predictions;
    ExampleAnswer::of(&predictions, deployment.model.postprocess())
}

type Shared = Extension<Arc<OnceCell<Documents>>>;

async fn show_index(
    State(state): State<AppState>,
    Extension(documents): Shared,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let documents = documents.get_or_try_init(|| Documents::of(&state)).await?;
    let models: Vec<IndexModel<'_>> =
        state.deployments().iter().map(|deployment| index_model(&state, deployment)).collect();
    let index = Index {
        service_version: env!("CARGO_PKG_VERSION"),
        models: &models,
        base_url: &base_url(&headers, state.limits().has_tls),
        example_row: &documents.example_row,
    };
    Ok(Page::index(&index).respond(&headers))
}

fn index_model<'a>(state: &AppState, deployment: &'a Deployment) -> IndexModel<'a> {
    let artifact = deployment.model.artifact();
    IndexModel {
        name: deployment.name(),
        version: deployment.version().to_string(),
        description: &artifact.manifest().description,
        role: deployment.role.as_str(),
        is_default: std::ptr::eq(deployment, state.default_deployment()),
        task: artifact.manifest().task.as_str(),
        digest: artifact.digest(),
        rows_proven: deployment.proof.rows,
    }
}

async fn show_openapi(
    State(state): State<AppState>,
    Extension(documents): Shared,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let documents = documents.get_or_try_init(|| Documents::of(&state)).await?;
    Ok(documents.openapi.respond(&headers))
}

async fn show_docs(headers: HeaderMap) -> Response {
    DOCS.respond(&headers)
}

async fn show_file(Path(name): Path<String>, headers: HeaderMap) -> Response {
    match FILES.iter().find(|file| hashed(file.name) == name) {
        Some(file) => file.page.respond(&headers),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// What the index shows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Index<'a> {
    /// The version of the service.
    pub(super) service_version: &'a str,
    /// The loaded models.
    pub(super) models: &'a [IndexModel<'a>],
    /// Where clients reach the service, without a slash at the end: see [`base_url`].
    pub(super) base_url: &'a str,
    /// A row that the default model takes.
    pub(super) example_row: &'a Map<String, Value>,
}

/// A loaded version of a model.
#[derive(Debug, Clone)]
pub(super) struct IndexModel<'a> {
    /// Its name.
    pub(super) name: &'a str,
    /// Its version.
    pub(super) version: String,
    /// For people.
    pub(super) description: &'a str,
    /// Its role in serving.
    pub(super) role: &'a str,
    /// Whether `/v1/predict` asks it.
    pub(super) is_default: bool,
    /// What it predicts.
    pub(super) task: &'a str,
    /// `sha256:` and 64 hex digits.
    pub(super) digest: &'a str,
    /// Golden rows that it has reproduced.
    pub(super) rows_proven: usize,
}

/// Where the client reached the service, for the example: by TLS of our own, or by its `Host` and `X-Forwarded-Proto`, if they are what they should be.
pub(super) fn base_url(headers: &HeaderMap, has_tls: bool) -> String {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let is_host = |host: &&str| {
        !host.is_empty()
            && host.len() <= 255
            && host.bytes().all(|c| c.is_ascii_alphanumeric() || b".-_:[]".contains(&c))
    };
    let host = text(&HOST).filter(is_host).unwrap_or("localhost:8080");
    let scheme = match text(&HeaderName::from_static("x-forwarded-proto")) {
        Some("https") => "https",
        None if has_tls => "https",
        _ => "http",
    };
    format!("{scheme}://{host}")
}

/// The index as HTML.
pub(super) fn index(index: &Index<'_>) -> String {
    let rows: String = index.models.iter().map(table_row).collect();
    let what = match index.models {
        [_] => "1 model".to_owned(),
        models => format!("{} models", models.len()),
    };
    let example = example(index.base_url, index.example_row);
    format!(
        r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Seaworthy</title>
<link rel="icon" href="docs/{icon}">
<link rel="stylesheet" href="docs/{css}">
</head>
<body>
<header>
<img src="docs/{icon}" alt="">
<div>
<h1>Seaworthy</h1>
<p class="quiet">Version {version} · {what} served exactly as trained</p>
</div>
</header>
<nav aria-label="Pages">
<ul>
<li><a href="docs">API documentation</a></li>
<li><a href="v1/openapi.json">OpenAPI document</a></li>
<li><a href="v1/models">Models</a></li>
<li><a href="health">Health</a></li>
</ul>
</nav>
<main>
<h2 id="models">Models</h2>
<div class="scroll" role="region" aria-labelledby="models" tabindex="0">
<table>
<thead>
<tr><th scope="col">Name</th><th scope="col">Version</th><th scope="col">Role</th><th scope="col">Task</th><th scope="col">Artifact</th><th scope="col" class="number">Rows proven</th></tr>
</thead>
<tbody>
{rows}</tbody>
</table>
</div>
<p class="quiet">A model serves only after it has reproduced the rows that its training code computed.</p>
{example}</main>
</body>
</html>
"#,
        icon = hashed("icon.svg"),
        css = hashed("index.css"),
        version = escape(index.service_version),
    )
}

fn table_row(model: &IndexModel<'_>) -> String {
    let default = if model.is_default { "<span class=\"tag\">default</span>" } else { "" };
    let short: String = model.digest.trim_start_matches("sha256:").chars().take(12).collect();
    let title = if model.description.is_empty() {
        String::new()
    } else {
        format!(" title=\"{}\"", escape(model.description))
    };
    format!(
        "<tr><th scope=\"row\"{title}><a href=\"v1/models/{name}\">{name}</a>{default}</th><td>{version}</td><td>{role}</td><td>{task}</td>\
         <td><code title=\"{digest}\">{short}</code></td><td class=\"number\">{proven}</td></tr>\n",
        name = escape(model.name),
        version = escape(&model.version),
        role = escape(model.role),
        task = escape(&model.task.replace('_', " ")),
        digest = escape(model.digest),
        short = escape(&short),
        proven = model.rows_proven,
    )
}

fn example(base_url: &str, row: &Map<String, Value>) -> String {
    let command = format!(
        "curl {url} \\\n  --header 'Content-Type: application/json' \\\n  --data {body}",
        url = shell_quote(&format!("{base_url}/v1/predict")),
        body = shell_quote(&wrapped(row)),
    );
    format!(
        "<h2 id=\"example\">Try it</h2>\n<pre role=\"region\" aria-labelledby=\"example\" tabindex=\"0\"><code>{}</code></pre>\n",
        escape(&command)
    )
}

/// A request with one row, in lines of a readable length.
fn wrapped(row: &Map<String, Value>) -> String {
    const WIDTH: usize = 88;
    let mut text = "{\"inputs\": [{".to_owned();
    let mut width = WIDTH;
    for (at, (key, value)) in row.iter().enumerate() {
        let cell = format!("{}: {value}", Value::from(key.as_str()));
        if at > 0 {
            text.push(',');
        }
        width += cell.chars().count() + 2;
        if width > WIDTH {
            text.push_str("\n    ");
            width = cell.chars().count() + 4;
        } else {
            text.push(' ');
        }
        text.push_str(&cell);
    }
    text.push_str("\n  }]}");
    text
}

/// As one word of a POSIX shell.
fn shell_quote(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/:._-".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

/// As the text of an element, or of an attribute in double quotes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderName;
    use serde_json::json;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
            })
            .collect()
    }

    fn html() -> String {
        let row = json!({"area": 1.5, "it's <b>": "a 'b' & \"c\" </code>", "null": null});
        let model = IndexModel {
            name: "m",
            version: "1.0.0".to_owned(),
            description: "\"><script>alert(1)</script>",
            role: "primary",
            is_default: true,
            task: "binary_classification",
            digest: "sha256:0123456789abcdef",
            rows_proven: 64,
        };
        index(&Index {
            service_version: "0.0.0",
            models: &[model],
            base_url: "http://localhost:8080",
            example_row: row.as_object().unwrap(),
        })
    }

    #[test]
    fn the_index_shows_the_models_and_escapes_what_it_is_given() {
        insta::with_settings!({ filters => vec![(r"\.[0-9a-f]{24}\.", ".[hash].")] }, {
            insta::assert_snapshot!("index", html());
        });
    }

    #[test]
    fn no_page_asks_another_host_for_anything() {
        let docs = String::from_utf8(DOCS.body.to_vec()).unwrap();
        // The names of files hold their hashes.
        for page in [docs, html()] {
            for attribute in page.split(&[' ', '\n', '>'][..]) {
                let Some((name, value)) = attribute.split_once('=') else { continue };
                if ["href", "src", "action"].contains(&name) {
                    let value = value.trim_matches('"');
                    assert!(!value.contains("//") && !value.contains('{'), "{attribute}");
                }
            }
        }
        for policy in [INDEX_POLICY, DOCS_POLICY, FILE_POLICY] {
            for directive in policy.split(';') {
                let mut words = directive.split_whitespace();
                let name = words.next().unwrap();
                for source in words {
                    let is_local = ["'none'", "'self'"].contains(&source)
                        || (name == "img-src" && source == "data:");
                    assert!(is_local, "{directive}");
                }
            }
            assert!(policy.starts_with("default-src 'none'"));
        }
        let script = include_str!("static/docs.js");
        assert!(script.contains("validatorUrl: null") && !script.contains("://"));
        for css in [include_str!("static/docs.css"), include_str!("static/index.css")] {
            assert!(!css.contains("url(") && !css.contains("@import"));
        }
    }

    #[test]
    fn the_vendored_files_are_those_of_the_readme() {
        let readme = include_str!("static/swagger-ui/README.md");
        for name in ["swagger-ui-bundle.js", "swagger-ui.css"] {
            let hash = &FILES.iter().find(|file| file.name == name).unwrap().page.hash;
            assert!(readme.contains(&format!("| `{name}` | `{hash}")), "{name}: {hash}");
        }
    }

    #[test]
    fn what_the_browser_has_is_not_sent_again() {
        let page = Page::openapi(&json!({}));
        let response = page.respond(&HeaderMap::new());
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(response.headers()[X_FRAME_OPTIONS], "DENY");
        assert_eq!(response.headers()["cross-origin-opener-policy"], "same-origin");
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
        let tag = response.headers()[ETAG].to_str().unwrap().to_owned();
        for known in [tag.clone(), format!("\"x\", W/{tag}"), "*".to_owned()] {
            let response = page.respond(&headers(&[("if-none-match", &known)]));
            assert_eq!(response.status(), StatusCode::NOT_MODIFIED, "{known}");
            assert_eq!(response.headers()[ETAG], tag);
        }
        let response = page.respond(&headers(&[("if-none-match", "\"x\"")]));
        assert_eq!(response.status(), StatusCode::OK);
    }

    #[test]
    fn the_example_goes_where_the_client_came_from_unless_that_is_no_address() {
        let url = |pairs: &[(&'static str, &str)]| base_url(&headers(pairs), false);
        assert_eq!(url(&[("host", "[::1]:80")]), "http://[::1]:80");
        let https = [("host", "a.example"), ("x-forwarded-proto", "https")];
        assert_eq!(url(&https), "https://a.example");
        assert_eq!(base_url(&headers(&https[..1]), true), "https://a.example");
        for host in ["", "a b", "a/b", "$(id)", "a'b"] {
            assert_eq!(url(&[("host", host)]), "http://localhost:8080", "{host}");
        }
    }

    #[test]
    fn a_shell_reads_the_example_as_one_word() {
        assert_eq!(shell_quote("http://a:1/b"), "http://a:1/b");
        assert_eq!(shell_quote("it's $HOME"), r"'it'\''s $HOME'");
        assert_eq!(shell_quote(""), "''");
    }
}
