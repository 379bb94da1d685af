//! The settings: `config/default.toml` < `config/<profile>.toml` < `SEAWORTHY__…` < `PORT`.
//!
//! The one module that reads the environment. A key that is unknown or has an impossible value stops the start with its name, its
//! value and where it was set.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ::config::{Config, Environment, File, FileFormat, Map, Source, Value, ValueKind};
use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};
use validator::{Validate, ValidationErrors, ValidationErrorsKind};

use crate::access::{AccessError, Keys, Limit, Origins};
use crate::artifact::{NoSigner, Trust};
use crate::observe::otlp;
use crate::observe::sampling::Sampling;
use crate::schema::UnknownFields;

const DEFAULTS: &str = include_str!("../config/default.toml");
const PREFIX: &str = "SEAWORTHY";

/// All settings.
#[derive(Debug, Clone, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// `[server]`
    #[validate(nested)]
    pub server: Server,
    /// `[access]`
    pub access: Access,
    /// `[cors]`
    #[validate(nested)]
    pub cors: Cors,
    /// `[models]`
    #[validate(nested)]
    pub models: Models,
    /// `[schema]`
    pub schema: Schema,
    /// `[images]`
    #[validate(nested)]
    pub images: Images,
    /// `[engine]`
    #[validate(nested)]
    pub engine: Engine,
    /// `[log]`
    #[validate(nested)]
    pub log: Log,
    /// `[metrics]`
    pub metrics: Metrics,
    /// `[otel]`
    #[validate(nested)]
    pub otel: Otel,
}

/// `[otel]`: where spans are sent.
#[derive(Debug, Clone, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct Otel {
    /// The collector; empty for none.
    pub endpoint: String,
    /// Headers of each message, `key=value,…`.
    pub headers: String,
    /// What the server is called.
    pub service_name: String,
    /// What else is said of it, `key=value,…`.
    pub resource: String,
    /// The share of requests that is traced, of those that nobody has decided about.
    #[validate(range(min = 0.0, max = 1.0, message = "must be between 0 and 1"))]
    pub sample: f64,
    /// How long the collector may take.
    #[validate(range(min = 1, max = 60_000, message = "must be between 1 and 60000 (a minute)"))]
    pub timeout_ms: u64,
}

/// The standard variables of OpenTelemetry that are read, and the settings that they are. Weaker than `SEAWORTHY__OTEL__…`.
const OTEL_VARIABLES: [(&str, &str); 7] = [
    ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "otel.endpoint"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "otel.endpoint"),
    ("OTEL_EXPORTER_OTLP_HEADERS", "otel.headers"),
    ("OTEL_EXPORTER_OTLP_TIMEOUT", "otel.timeout_ms"),
    ("OTEL_SERVICE_NAME", "otel.service_name"),
    ("OTEL_RESOURCE_ATTRIBUTES", "otel.resource"),
    ("OTEL_TRACES_SAMPLER_ARG", "otel.sample"),
];

/// `[metrics]`: what is counted, and where it is shown.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// Whether anything is counted.
    pub enabled: bool,
    /// A port for them alone; 0 is the server's own.
    pub port: u16,
}

/// `[server]`: the address, the limits, the end.
#[derive(Debug, Clone, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// The address to listen on.
    pub host: std::net::IpAddr,
    /// The port; 0 takes a free one.
    pub port: u16,
    /// The file of the certificate; empty for plain HTTP.
    pub tls_certificate: String,
    /// The file of its key.
    pub tls_key: String,
    /// When to look at the two again; 0 never.
    #[validate(range(max = 86_400, message = "must be at most 86400 (a day)"))]
    pub tls_reload_s: u64,
    /// A request is given up after this long.
    #[validate(range(
        min = 1,
        max = 86_400_000,
        message = "must be between 1 and 86400000 (a day)"
    ))]
    pub request_timeout_ms: u64,
    /// The whole body must have arrived after this long.
    #[validate(range(
        min = 1,
        max = 86_400_000,
        message = "must be between 1 and 86400000 (a day)"
    ))]
    pub body_timeout_ms: u64,
    /// The headers must have arrived after this long.
    #[validate(range(
        min = 1,
        max = 86_400_000,
        message = "must be between 1 and 86400000 (a day)"
    ))]
    pub header_timeout_ms: u64,
    /// A connection between two requests is closed after this long.
    #[validate(range(
        min = 1,
        max = 86_400_000,
        message = "must be between 1 and 86400000 (a day)"
    ))]
    pub keep_alive_ms: u64,
    /// An answer of which the client takes nothing for this long is given up.
    #[validate(range(
        min = 1,
        max = 86_400_000,
        message = "must be between 1 and 86400000 (a day)"
    ))]
    pub write_timeout_ms: u64,
    /// Connections at a time.
    #[validate(range(min = 1, max = 10_000_000, message = "must be between 1 and 10000000"))]
    pub max_connections: usize,
    /// Requests under way at a time.
    #[validate(range(min = 1, max = 10_000_000, message = "must be between 1 and 10000000"))]
    pub max_requests: usize,
    /// A request's line and headers may be so large together.
    #[validate(range(
        min = 8192,
        max = 16_777_216,
        message = "must be between 8192 and 16777216 (16 MiB)"
    ))]
    pub max_header_bytes: usize,
    /// A request may have so many headers.
    #[validate(range(min = 1, max = 10_000, message = "must be between 1 and 10000"))]
    pub max_headers: usize,
    /// A larger body is refused.
    #[validate(range(
        min = 1,
        max = 1_073_741_824,
        message = "must be between 1 and 1073741824 (1 GiB)"
    ))]
    pub max_body_bytes: usize,
    /// The bodies of all requests under way may hold so much.
    #[validate(range(min = 1, message = "must be at least 1"))]
    pub max_total_body_bytes: usize,
    /// From this size on an answer is compressed; 0 compresses none.
    pub compress_from_bytes: u64,
    /// More rows are refused.
    #[validate(range(min = 1, message = "must be at least 1"))]
    pub max_rows: usize,
    /// Problems listed in one answer.
    #[validate(range(min = 1, message = "must be at least 1"))]
    pub max_errors: usize,
    /// How long requests are still taken after SIGTERM or SIGINT.
    #[validate(range(max = 3_600_000, message = "must be at most 3600000 (an hour)"))]
    pub drain_delay_ms: u64,
    /// How long requests under way may take after that.
    #[validate(range(max = 3_600_000, message = "must be at most 3600000 (an hour)"))]
    pub drain_timeout_ms: u64,
}

/// `[access]`: who may ask.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Access {
    /// The keys, as [`Keys::parse`] reads them.
    pub keys: String,
    /// A file with more of them; empty for none.
    pub keys_file: String,
    /// The quota of a key that names none; empty for none.
    pub rate_limit: String,
    /// Whether pages and document need no key.
    pub open_docs: bool,
}

/// `[cors]`: the web pages that may use this server.
#[derive(Debug, Clone, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct Cors {
    /// Their origins.
    #[serde(deserialize_with = "list")]
    pub origins: Vec<String>,
    /// How long a browser remembers that it may.
    #[validate(range(max = 86_400, message = "must be at most 86400 (a day)"))]
    pub max_age_s: u64,
}

/// `[models]`: what is served.
#[derive(Debug, Clone, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct Models {
    /// Where the artifacts are.
    pub dir: PathBuf,
    /// What `POST /v1/predict` asks.
    pub default: String,
    /// Which artifacts are loaded.
    pub load: Load,
    /// Whose signatures count.
    #[serde(deserialize_with = "list")]
    pub signers: Vec<String>,
    /// Whether one of them must have signed.
    pub require_signature: bool,
    /// Whether the port is bound first.
    pub background: bool,
}

/// Which artifacts are loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Load {
    /// Every one in the directory.
    All,
    /// Only the default.
    Default,
}

/// `[schema]`: how rows are read.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schema {
    /// What becomes of a key that is no field.
    pub unknown_fields: UnknownFields,
}

/// `[images]`: what a picture may cost.
#[derive(Debug, Clone, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct Images {
    /// The most bytes of a file.
    #[validate(range(
        min = 1,
        max = 1_073_741_824,
        message = "must be between 1 and 1073741824 (1 GiB)"
    ))]
    pub max_bytes: usize,
    /// The most pixels of a picture, by its header.
    #[validate(range(min = 1, max = 268_435_456, message = "must be between 1 and 268435456"))]
    pub max_pixels: usize,
    /// The most pixels of all pictures in a request.
    #[validate(range(min = 1, message = "must be at least 1"))]
    pub max_request_pixels: usize,
}

/// `[engine]`: where predictions run.
#[derive(Debug, Clone, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct Engine {
    /// Which threads run them.
    pub lane: LaneChoice,
    /// How many at the same time; 0 is as many as the CPUs allow.
    #[validate(range(max = 1024, message = "must be at most 1024"))]
    pub threads: usize,
    /// How many threads one prediction may use.
    #[validate(range(min = 1, max = 1024, message = "must be between 1 and 1024"))]
    pub intra_threads: usize,
    /// Whether ONNX Runtime keeps the memory of a run for the next one.
    pub arena: bool,
    /// Requests that wait for a worker.
    #[validate(range(min = 1, max = 1_000_000, message = "must be between 1 and 1000000"))]
    pub queue: usize,
    /// Requests that may always wait; more may only for a moment.
    #[validate(range(max = 1_000_000, message = "must be at most 1000000"))]
    pub burst: usize,
    /// How long a request may have to wait for its turn in any case; 0 has no limit.
    #[validate(range(max = 86_400_000, message = "must be at most 86400000 (a day)"))]
    pub max_wait_ms: u64,
    /// Rows up to which a worker merges requests.
    pub batch_rows: BatchRows,
    /// How long a worker waits for requests to merge.
    #[validate(range(max = 1_000_000, message = "must be at most 1000000 (a second)"))]
    pub batch_delay_us: u64,
}

/// Rows up to which a worker merges requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchRows {
    /// By what golden rows cost together and alone.
    Auto,
    /// So many; below 2 each request is run alone.
    UpTo(usize),
}

impl<'de> Deserialize<'de> for BatchRows {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Rows;
        impl Visitor<'_> for Rows {
            type Value = BatchRows;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("\"auto\" or a whole number from 0 to 1000000")
            }

            fn visit_i64<E: serde::de::Error>(self, rows: i64) -> Result<BatchRows, E> {
                let found = serde::de::Unexpected::Signed(rows);
                let rows = usize::try_from(rows).ok().filter(|rows| *rows <= 1_000_000);
                rows.map(BatchRows::UpTo).ok_or_else(|| E::invalid_value(found, &self))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<BatchRows, E> {
                let found = serde::de::Unexpected::Str(text);
                match text {
                    "auto" => Ok(BatchRows::Auto),
                    number => match number.parse() {
                        Ok(rows) => self.visit_i64(rows),
                        Err(_no_number) => Err(E::invalid_value(found, &self)),
                    },
                }
            }
        }
        deserializer.deserialize_any(Rows)
    }
}

/// Which threads run predictions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LaneChoice {
    /// Chosen by the measured cost of the golden rows.
    Auto,
    /// The thread of the request.
    Inline,
    /// Threads of their own.
    Worker,
}

/// `[log]`: what is written where.
#[derive(Debug, Clone, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// What of the service's own messages.
    pub level: String,
    /// Their form.
    pub format: LogFormat,
    /// Where the prediction log goes: `stdout`, `none` or a path.
    #[validate(length(min = 1, message = "must be \"stdout\", \"none\" or a path"))]
    pub predictions: String,
    /// Records that may wait.
    #[validate(range(min = 1, max = 10_000_000, message = "must be between 1 and 10000000"))]
    pub queue: usize,
    /// How much of a body that is not JSON is logged.
    pub max_text_bytes: usize,
    /// What is logged of a picture.
    pub images: LoggedImages,
    /// What becomes of a record when more wait.
    pub policy: LogPolicy,
    /// How long it is tried again to write what the sink refuses.
    #[validate(range(max = 86_400_000, message = "must be at most 86400000 (a day)"))]
    pub retry_ms: u64,
    /// A file that would become larger is put aside; 0 for none.
    pub rotate_bytes: u64,
    /// A file that is older is put aside; 0 for none.
    pub rotate_seconds: u64,
    /// Files that are kept beside the current one; 0 for all.
    pub keep: usize,
    /// Whether files that were put aside are compressed.
    pub compress: bool,
    /// The share of good requests that is logged, by model.
    pub sample: String,
    /// Whether that is so of requests that were refused or failed, too.
    pub sample_refused: bool,
    /// The key of the hash that replaces sensitive values.
    pub sensitive_key: String,
}

/// What becomes of a record of the prediction log when too many wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogPolicy {
    /// Its request waits.
    Block,
    /// It is dropped.
    Drop,
}

/// What the prediction log holds of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LoggedImages {
    /// Its SHA-256, its size and its format.
    Digest,
    /// All of it, so that the prediction can be run again from the log alone.
    Full,
}

/// The form of the service's own messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Texts, as a list or between commas in one text: the environment knows no lists.
fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct Texts;
    impl<'de> Visitor<'de> for Texts {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a list of texts, or texts between commas")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Vec<String>, E> {
            let texts = text.split(',').map(str::trim).filter(|text| !text.is_empty());
            Ok(texts.map(str::to_owned).collect())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Vec<String>, A::Error> {
            let mut texts = Vec::new();
            while let Some(text) = sequence.next_element()? {
                texts.push(text);
            }
            Ok(texts)
        }
    }
    deserializer.deserialize_any(Texts)
}

/// A setting that is not sound.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read or parsed.
    #[error("the settings cannot be read: {0}")]
    Read(String),
    /// A key that does not exist.
    #[error("unknown setting `{key}` = {value} in {origin}{}", match .similar { Some(key) => format!("; did you mean `{key}`?"), None => "; config/default.toml lists all of them".to_owned() })]
    Unknown {
        /// The key, with dots.
        key: String,
        /// What it was set to.
        value: String,
        /// Where.
        origin: String,
        /// A key with a similar name.
        similar: Option<String>,
    },
    /// A value that is not possible.
    #[error("the setting `{key}` = {value} in {origin} is not possible: {problem}")]
    Invalid {
        /// The key, with dots.
        key: String,
        /// What it was set to.
        value: String,
        /// Where.
        origin: String,
        /// Why not.
        problem: String,
    },
    /// The profile that was asked for has no file.
    #[error("SEAWORTHY_PROFILE is `{profile}`, but there is no `{}`", .path.display())]
    Profile {
        /// The profile.
        profile: String,
        /// The file that was looked for.
        path: PathBuf,
    },
}

/// What the process was given besides settings.
#[derive(Debug, Clone, Default)]
pub struct Process {
    /// `ORT_DYLIB_PATH`.
    pub onnxruntime: Option<PathBuf>,
    /// Whether ONNX Runtime's telemetry is switched off in the environment.
    pub telemetry_is_off: bool,
}

/// Reads what the process was given besides settings.
#[must_use]
pub fn process() -> Process {
    Process {
        onnxruntime: variable("ORT_DYLIB_PATH").filter(|path| !path.is_empty()).map(PathBuf::from),
        telemetry_is_off: variable("ORT_DISABLE_TELEMETRY").as_deref() == Some("1"),
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the module that reads the environment")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[expect(clippy::disallowed_methods, reason = "this is the module that reads the environment")]
fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// A setting in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// Its key, with dots.
    pub key: String,
    /// Its value, or `"…"` where it may be a secret.
    pub value: serde_json::Value,
    /// Where it was set: `default`, a file with its line, or a variable of the environment.
    pub origin: String,
    /// Whether the value is not shown.
    pub is_hidden: bool,
}

impl Settings {
    /// Reads the settings from the files in `dir` and the environment of the process.
    ///
    /// # Errors
    /// The first key that is unknown or has an impossible value.
    pub fn read(dir: &Path) -> Result<Self, ConfigError> {
        Self::load(dir, environment())
    }

    /// As [`Self::read`], with the environment given.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn load(dir: &Path, environment: BTreeMap<String, String>) -> Result<Self, ConfigError> {
        Self::load_explained(dir, environment).map(|(settings, _)| settings)
    }

    /// As [`Self::read`], with where each setting comes from.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_explained(dir: &Path) -> Result<(Self, Vec<Effective>), ConfigError> {
        Self::load_explained(dir, environment())
    }

    fn load_explained(
        dir: &Path,
        environment: BTreeMap<String, String>,
    ) -> Result<(Self, Vec<Effective>), ConfigError> {
        let read = |error: ::config::ConfigError| ConfigError::Read(error.to_string());
        let defaults = File::from_str(DEFAULTS, FileFormat::Toml).collect().map_err(read)?;
        let known = flat(defaults.clone());
        let mut overrides: Vec<(Option<PathBuf>, Box<dyn Source + Send + Sync>)> = Vec::new();
        let default_file = dir.join("default.toml");
        if default_file.is_file() {
            overrides.push((
                Some(default_file.clone()),
                Box::new(File::from(default_file).format(FileFormat::Toml)),
            ));
        }
        if let Some(profile) =
            environment.get("SEAWORTHY_PROFILE").filter(|profile| !profile.is_empty())
        {
            let path = dir.join(format!("{profile}.toml"));
            if !path.is_file() {
                return Err(ConfigError::Profile { profile: profile.clone(), path });
            }
            overrides
                .push((Some(path.clone()), Box::new(File::from(path).format(FileFormat::Toml))));
        }
        let port = environment.get("PORT").cloned();
        let variables: Map<String, String> = environment
            .iter()
            .filter(|(key, _)| key.starts_with("SEAWORTHY__"))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let variables = Environment::with_prefix(PREFIX)
            .prefix_separator("__")
            .separator("__")
            .try_parsing(true)
            .source(Some(variables));
        overrides.push((None, Box::new(variables)));

        let mut origins: BTreeMap<String, Origin> = BTreeMap::new();
        let mut chosen = BTreeSet::new();
        let mut effective: BTreeMap<String, Effective> = known
            .iter()
            .map(|(key, value)| (key.clone(), Effective::new(key, value, "default")))
            .collect();
        let mut builder = Config::builder().add_source(Collected(defaults));
        for (file, source) in overrides {
            let collected = source.collect().map_err(|error| match (&file, error) {
                (Some(path), ::config::ConfigError::FileParse { cause, .. }) => ConfigError::Read(
                    format!("`{}`: {}", path.display(), one_line(&cause.to_string())),
                ),
                (_, error) => read(error),
            })?;
            let text = file.as_ref().and_then(|path| std::fs::read_to_string(path).ok());
            let lines = lines(&text.unwrap_or_default());
            for (key, value) in flat(collected.clone()) {
                let place = match &file {
                    Some(path) => match lines.get(&key) {
                        Some(line) => format!("`{}`, line {line}", path.display()),
                        None => format!("`{}`", path.display()),
                    },
                    None => format!(
                        "the environment ({PREFIX}__{})",
                        key.replace('.', "__").to_uppercase()
                    ),
                };
                let origin = Origin { value: shown(&key, &value), place };
                let Some(default) = known.get(&key) else {
                    return Err(unknown(&key, origin, known.keys()));
                };
                // A copy of the file of defaults chooses nothing.
                if value.kind != default.kind {
                    chosen.insert(key.clone());
                }
                effective.insert(key.clone(), Effective::new(&key, &value, &origin.place));
                origins.insert(key, origin);
            }
            builder = builder.add_source(Collected(collected));
        }
        if let Some(port) = port {
            let origin =
                Origin { value: format!("{port:?}"), place: "the environment (PORT)".to_owned() };
            origins.insert("server.port".to_owned(), origin);
            let number = port.trim().parse::<u16>().map_err(|_error| {
                let problem = expected("server.port").unwrap_or_default();
                invalid("server.port", &origins, problem.to_owned())
            })?;
            builder = builder.set_override("server.port", i64::from(number)).map_err(read)?;
            let value = Value::from(i64::from(number));
            let place = "the environment (PORT)";
            effective
                .insert("server.port".to_owned(), Effective::new("server.port", &value, place));
        }
        for (variable, key) in OTEL_VARIABLES {
            let is_off = environment.get("OTEL_SDK_DISABLED").is_some_and(|off| off == "true");
            let value = environment.get(variable).filter(|value| !value.is_empty() && !is_off);
            if let Some(value) = value.filter(|_| !chosen.contains(key)) {
                let is_base = variable == "OTEL_EXPORTER_OTLP_ENDPOINT";
                let path = if is_base { "/v1/traces" } else { "" };
                let set = format!("{}{path}", value.trim_end_matches('/'));
                let origin = Origin {
                    value: shown(key, &Value::from(value.as_str())),
                    place: format!("the environment ({variable})"),
                };
                chosen.insert(key.to_owned());
                let value = Value::from(set.as_str());
                effective.insert(key.to_owned(), Effective::new(key, &value, &origin.place));
                origins.insert(key.to_owned(), origin);
                builder = builder.set_override(key, set).map_err(read)?;
            }
        }
        let config = builder.build().map_err(read)?;
        let settings: Self = config.try_deserialize().map_err(|error| match error {
            ::config::ConfigError::At { error, key: Some(key), .. } => {
                let problem = match (expected(&key), *error) {
                    (Some(expected), _) => expected.to_owned(),
                    (None, ::config::ConfigError::Type { unexpected, expected, .. }) => {
                        format!("expected {expected}, found {unexpected}")
                    }
                    (None, other) => other.to_string(),
                };
                invalid(&key, &origins, problem)
            }
            ::config::ConfigError::Type { key: Some(key), unexpected, expected, .. } => {
                let problem = self::expected(&key).map_or_else(
                    || format!("expected {expected}, found {unexpected}"),
                    str::to_owned,
                );
                invalid(&key, &origins, problem)
            }
            other => ConfigError::Read(other.to_string()),
        })?;
        settings.validate().map_err(|errors| {
            let (key, problem) = first(&errors, "").unwrap_or_default();
            invalid(&key, &origins, problem)
        })?;
        if let Some(problem) = level_problem(&settings.log.level) {
            return Err(invalid("log.level", &origins, problem));
        }
        if let Err(problem) = Sampling::parse(&settings.log.sample) {
            return Err(invalid("log.sample", &origins, problem.to_owned()));
        }
        if let Some((key, problem)) = settings.otel.problem() {
            return Err(invalid(key, &origins, problem.to_owned()));
        }
        let (certificate, key) = (&settings.server.tls_certificate, &settings.server.tls_key);
        if certificate.is_empty() != key.is_empty() {
            let (set, other) = if key.is_empty() {
                ("server.tls_certificate", "server.tls_key")
            } else {
                ("server.tls_key", "server.tls_certificate")
            };
            return Err(invalid(set, &origins, format!("`{other}` must be set as well")));
        }
        let trust = settings
            .trust()
            .map_err(|error| invalid("models.signers", &origins, error.to_string()))?;
        if trust.is_required() && trust.is_empty() {
            let problem = "`models.signers` names nobody who could have signed".to_owned();
            return Err(invalid("models.require_signature", &origins, problem));
        }
        settings
            .access_problem()
            .map_or(Ok(()), |(key, problem)| Err(invalid(key, &origins, problem.to_string())))?;
        Ok((settings, effective.into_values().collect()))
    }
}

impl Otel {
    /// The first key that has no sound value, and why.
    fn problem(&self) -> Option<(&'static str, &'static str)> {
        let wrong = |key, problem: Result<(), &'static str>| problem.err().map(|text| (key, text));
        let endpoint = match self.endpoint.as_str() {
            "" => Ok(()),
            url => otlp::Endpoint::parse(url).map(|_| ()),
        };
        wrong("otel.endpoint", endpoint)
            .or_else(|| wrong("otel.headers", otlp::pairs(&self.headers).map(|_| ())))
            .or_else(|| wrong("otel.resource", otlp::pairs(&self.resource).map(|_| ())))
    }
}

impl Settings {
    /// The limit of a key that names none.
    ///
    /// # Errors
    /// It is no limit; not after [`Self::load`].
    pub fn default_limit(&self) -> Result<Option<Limit>, AccessError> {
        let text = self.access.rate_limit.trim();
        if text.is_empty() { Ok(None) } else { text.parse().map(Some) }
    }

    /// The origins of the pages that may use this server.
    ///
    /// # Errors
    /// One is none; not after [`Self::load`].
    pub fn origins(&self) -> Result<Option<Origins>, AccessError> {
        Origins::parse(&self.cors.origins, Duration::from_secs(self.cors.max_age_s))
    }

    /// Whose signatures count.
    ///
    /// # Errors
    /// One is no signer; not after [`Self::load`].
    pub fn trust(&self) -> Result<Trust, NoSigner> {
        Trust::new(&self.models.signers, self.models.require_signature)
    }

    fn access_problem(&self) -> Option<(&'static str, AccessError)> {
        let limit = match self.default_limit() {
            Ok(limit) => limit,
            Err(error) => return Some(("access.rate_limit", error)),
        };
        if let Err(error) = Keys::parse(&self.access.keys, limit) {
            return Some(("access.keys", error));
        }
        self.origins().err().map(|error| ("cors.origins", error))
    }
}

/// The values of a source by their dotted keys.
fn flat(values: Map<String, Value>) -> BTreeMap<String, Value> {
    fn walk(prefix: &str, values: Map<String, Value>, flat: &mut BTreeMap<String, Value>) {
        for (key, value) in values {
            let key = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
            match value.kind.clone() {
                ValueKind::Table(table) => walk(&key, table, flat),
                _ => {
                    flat.insert(key, value);
                }
            }
        }
    }
    let mut found = BTreeMap::new();
    walk("", values, &mut found);
    // The environment source gives dotted keys as they are.
    found
}

/// What a key was set to, and where.
struct Origin {
    value: String,
    place: String,
}

impl Effective {
    fn new(key: &str, value: &Value, origin: &str) -> Self {
        let is_empty = matches!(&value.kind, ValueKind::String(text) if text.is_empty());
        let is_hidden = may_be_secret(key) && !is_empty;
        let value = if is_hidden { "…".into() } else { json(value) };
        Self { key: key.to_owned(), value, origin: origin.to_owned(), is_hidden }
    }
}

/// A value as JSON has it, which TOML writes in the same way.
fn json(value: &Value) -> serde_json::Value {
    match &value.kind {
        ValueKind::Boolean(value) => (*value).into(),
        ValueKind::I64(value) => (*value).into(),
        ValueKind::U64(value) => (*value).into(),
        ValueKind::Float(value) => (*value).into(),
        ValueKind::Array(values) => values.iter().map(json).collect::<Vec<_>>().into(),
        ValueKind::String(text) => text.as_str().into(),
        other => other.to_string().into(),
    }
}

/// The lines of a file in which keys are set, from 1 on; without those that stand in another form than `[section]` and `name = value`.
fn lines(text: &str) -> BTreeMap<String, usize> {
    let mut lines = BTreeMap::new();
    let mut section = String::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            name.trim().clone_into(&mut section);
        } else if let Some((name, _)) = line.split_once('=') {
            let name: String = name.chars().filter(|c| !c.is_whitespace() && *c != '"').collect();
            let whole = if section.is_empty() { name } else { format!("{section}.{name}") };
            lines.entry(whole).or_insert(at + 1);
        }
    }
    lines
}

/// What has been read of a source, so that nothing is read and parsed twice.
#[derive(Debug, Clone)]
struct Collected(Map<String, Value>);

impl Source for Collected {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ::config::ConfigError> {
        Ok(self.0.clone())
    }
}

/// A value for a message. What may be a secret is not shown, as messages end up in logs.
fn shown(key: &str, value: &Value) -> String {
    if may_be_secret(key) {
        return "…".to_owned();
    }
    match &value.kind {
        ValueKind::String(text) => format!("{text:?}"),
        other => other.to_string(),
    }
}

/// Whether the value of a key, known or not, may be a secret.
fn may_be_secret(key: &str) -> bool {
    const SECRET: [&str; 6] = ["key", "secret", "token", "password", "sensitive", "headers"];
    // Paths of files are none, nor is a number of headers.
    const SHOWN: [&str; 3] = ["access.keys_file", "server.max_headers", "server.tls_key"];
    SECRET.iter().any(|word| key.contains(word)) && !SHOWN.contains(&key)
}

fn unknown<'a>(key: &str, origin: Origin, known: impl Iterator<Item = &'a String>) -> ConfigError {
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    let similar = known
        .filter_map(|candidate| {
            let whole = strsim::damerau_levenshtein(candidate, key);
            // The right name in the wrong section is a likely slip too.
            let distance = if last(candidate) == last(key) { 1 } else { whole };
            // Most likely the server's own is meant.
            (distance <= 3).then_some((distance, !candidate.starts_with("server."), candidate))
        })
        .min();
    ConfigError::Unknown {
        key: key.to_owned(),
        value: origin.value,
        origin: origin.place,
        similar: similar.map(|(.., key)| key.clone()),
    }
}

/// The parser's drawing of the place, on one line: `line 3, column 1: duplicate key`.
fn one_line(text: &str) -> String {
    let drawing = |line: &&str| !line.contains('|') && !line.trim().is_empty();
    let lines: Vec<&str> = text.lines().filter(drawing).map(str::trim).collect();
    let place = |line: &str| line.strip_prefix("TOML parse error at ").map(str::to_owned);
    lines
        .iter()
        .map(|line| place(line).unwrap_or_else(|| (*line).to_owned()))
        .collect::<Vec<_>>()
        .join(": ")
}

/// What is wrong with a filter of messages. A bare word that is no level would be the name of a target, and silence all others.
fn level_problem(filter: &str) -> Option<String> {
    const EXPECTED: &str = "expected off, error, warn, info, debug or trace, or directives such as `info,seaworthy=debug`";
    let is_level = |word: &str| {
        ["off", "error", "warn", "info", "debug", "trace"].contains(&word.to_lowercase().as_str())
    };
    let sound = |directive: &str| match directive.trim().split_once('=') {
        Some((target, level)) => !target.is_empty() && is_level(level),
        None => is_level(directive.trim()),
    };
    let parses = filter.parse::<tracing_subscriber::filter::Targets>().is_ok();
    (!parses || !filter.split(',').all(sound)).then(|| EXPECTED.to_owned())
}

/// What a setting takes, where the deserializer's own words are for programmers.
fn expected(key: &str) -> Option<&'static str> {
    Some(match key {
        "server.host" => "expected an IP address such as 0.0.0.0 or ::1; names are not looked up",
        "server.port" => "a port is a number from 0 to 65535",
        "models.load" => "expected \"all\" or \"default\"",
        "schema.unknown_fields" => "expected \"ignore\" or \"reject\"",
        "engine.lane" => "expected \"auto\", \"inline\" or \"worker\"",
        "log.format" => "expected \"text\" or \"json\"",
        "access.open_docs"
        | "models.require_signature"
        | "models.background"
        | "engine.arena"
        | "metrics.enabled" => "expected true or false",
        "metrics.port" => "a port is a number from 0 to 65535",
        "otel.sample" => "expected a share from 0 to 1",
        "otel.timeout_ms" => "expected a whole number, 1 or above",
        "log.policy" => "expected \"block\" or \"drop\"",
        "log.compress" | "log.sample_refused" => "expected true or false",
        "cors.max_age_s" | "log.queue" | "log.max_text_bytes" | "log.retry_ms"
        | "log.rotate_bytes" | "log.rotate_seconds" | "log.keep" => {
            "expected a whole number, 0 or above"
        }
        "engine.batch_rows" => "expected \"auto\" or a whole number from 0 to 1000000",
        _ if key.starts_with("engine.") => "expected a whole number, 0 or above",
        _ if key.starts_with("server.") => "expected a whole number, 0 or above",
        _ => return None,
    })
}

fn invalid(key: &str, origins: &BTreeMap<String, Origin>, problem: String) -> ConfigError {
    let origin = origins.get(key);
    ConfigError::Invalid {
        key: key.to_owned(),
        value: origin.map(|origin| origin.value.clone()).unwrap_or_default(),
        origin: origin.map_or_else(|| "the defaults".to_owned(), |origin| origin.place.clone()),
        problem,
    }
}

/// The first thing that validation found, with its dotted key.
fn first(errors: &ValidationErrors, prefix: &str) -> Option<(String, String)> {
    let mut sorted: Vec<_> = errors.errors().iter().collect();
    sorted.sort_by(|one, other| one.0.cmp(other.0));
    sorted.into_iter().find_map(|(name, kind)| {
        let key = if prefix.is_empty() { name.to_string() } else { format!("{prefix}.{name}") };
        match kind {
            ValidationErrorsKind::Struct(nested) => first(nested, &key),
            ValidationErrorsKind::List(_) => None,
            ValidationErrorsKind::Field(errors) => errors.first().map(|error| {
                (key, error.message.clone().unwrap_or_else(|| error.code.clone()).into_owned())
            }),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(files: &[(&str, &str)], environment: &[(&str, &str)]) -> Result<Settings, String> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let environment = environment
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let place = dir.path().display().to_string();
        Settings::load(dir.path(), environment)
            .map_err(|error| error.to_string().replace(&place, "config"))
    }

    #[test]
    fn later_sources_win() {
        let settings = load(&[], &[]).unwrap();
        assert_eq!(
            (settings.server.port, settings.models.default.as_str()),
            (8080, "house-prices@3.2.0")
        );
        let file = ("test.toml", "[server]\nport = 1\nmax_rows = 5\n");
        let profile = ("SEAWORTHY_PROFILE", "test");
        assert_eq!(load(&[file], &[profile]).unwrap().server.port, 1);
        assert_eq!(load(&[file], &[]).unwrap().server.port, 8080);
        let settings = load(&[file], &[profile, ("SEAWORTHY__SERVER__PORT", "2")]).unwrap();
        assert_eq!((settings.server.port, settings.server.max_rows), (2, 5));
        let bare = ("PORT", "3");
        assert_eq!(
            load(&[file], &[profile, bare, ("SEAWORTHY__SERVER__PORT", "2")]).unwrap().server.port,
            3
        );
    }

    #[test]
    fn rows_to_merge_are_a_number_or_auto() {
        let rows = |files: &[(&str, &str)], environment: &[(&str, &str)]| {
            load(files, environment).unwrap().engine.batch_rows
        };
        assert_eq!(rows(&[], &[]), BatchRows::Auto);
        let profile = ("SEAWORTHY_PROFILE", "test");
        for (text, expected) in
            [("0", BatchRows::UpTo(0)), ("64", BatchRows::UpTo(64)), ("\"auto\"", BatchRows::Auto)]
        {
            let file = format!("[engine]\nbatch_rows = {text}\n");
            assert_eq!(rows(&[("test.toml", &file)], &[profile]), expected);
            let variable = ("SEAWORTHY__ENGINE__BATCH_ROWS", text.trim_matches('"'));
            assert_eq!(rows(&[], &[variable]), expected);
        }
    }

    /// The copy of the defaults that lies beside the program silenced these variables.
    #[test]
    fn the_standard_variables_of_opentelemetry_count_unless_the_settings_say_otherwise() {
        let defaults = ("default.toml", DEFAULTS);
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/");
        let settings = load(&[defaults], &[endpoint, ("OTEL_TRACES_SAMPLER_ARG", "0.5")]).unwrap();
        assert_eq!(settings.otel.endpoint, "http://collector:4318/v1/traces");
        assert!((settings.otel.sample - 0.5).abs() < f64::EPSILON);
        let own = ("SEAWORTHY__OTEL__ENDPOINT", "http://own");
        assert_eq!(load(&[defaults], &[endpoint, own]).unwrap().otel.endpoint, "http://own");
        let exact = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://exact/x");
        assert_eq!(load(&[], &[endpoint, exact]).unwrap().otel.endpoint, "http://exact/x");
        let off = ("OTEL_SDK_DISABLED", "true");
        assert_eq!(load(&[], &[endpoint, off]).unwrap().otel.endpoint, "");
    }

    #[test]
    fn a_wrong_setting_is_named_with_its_value_and_its_source() {
        #[track_caller]
        fn refused(files: &[(&str, &str)], environment: &[(&str, &str)], expected: &str) {
            assert_eq!(load(files, environment).unwrap_err(), expected);
        }
        let profile = ("SEAWORTHY_PROFILE", "test");
        refused(
            &[("test.toml", "[server]\nprot = 80\n")],
            &[profile],
            "unknown setting `server.prot` = 80 in `config/test.toml`, line 2; did you mean `server.port`?",
        );
        refused(
            &[],
            &[("SEAWORTHY__PORT", "80")],
            "unknown setting `port` = 80 in the environment (SEAWORTHY__PORT); did you mean `server.port`?",
        );
        refused(
            &[],
            &[("SEAWORTHY__SERVER__MAX_ROWS", "0")],
            "the setting `server.max_rows` = 0 in the environment (SEAWORTHY__SERVER__MAX_ROWS) is not possible: must be at least 1",
        );
        refused(
            &[],
            &[("PORT", "http")],
            "the setting `server.port` = \"http\" in the environment (PORT) is not possible: a port is a number from 0 to 65535",
        );
        refused(&[], &[profile], "SEAWORTHY_PROFILE is `test`, but there is no `config/test.toml`");
        let error = load(&[], &[("SEAWORTHY__SERVER__PORT", "many")]).unwrap_err();
        assert!(
            error.starts_with(
                "the setting `server.port` = \"many\" in the environment (SEAWORTHY__SERVER__PORT) is not possible"
            ),
            "{error}"
        );
        for rows in ["many", "-1", "1000001", "1.5", ""] {
            let error = load(&[], &[("SEAWORTHY__ENGINE__BATCH_ROWS", rows)]).unwrap_err();
            assert!(
                error.ends_with(
                    "in the environment (SEAWORTHY__ENGINE__BATCH_ROWS) is not possible: expected \"auto\" or a whole number from 0 to 1000000"
                ),
                "{error}"
            );
        }
        let error = load(&[("test.toml", "[log]\nformat = \"xml\"\n")], &[profile]).unwrap_err();
        assert!(
            error.starts_with("the setting `log.format` = \"xml\" in `config/test.toml`"),
            "{error}"
        );
        let error = load(&[("test.toml", "[server\n")], &[profile]).unwrap_err();
        assert!(error.starts_with("the settings cannot be read"), "{error}");
    }
}
