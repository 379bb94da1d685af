//! Bodies that are no JSON: a picture as it is, or a form with a picture in it. A form is written as the JSON that says the same; a picture is
//! read as if it were. So limits, problems, pointers and the log are those of any other request.

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::problem::ApiError;
use crate::schema::{Field, Kind, Schema};

/// What the content type says of a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum MediaType {
    Json,
    /// `image/…`.
    Image,
    /// `multipart/form-data`, with its boundary.
    Form {
        boundary: String,
    },
}

/// The kind of a body by its content type.
///
/// # Errors
/// None of those that are taken, which are pictures and forms only by models of pictures.
pub(super) fn media_type(headers: &HeaderMap, schema: &Schema) -> Result<MediaType, ApiError> {
    let found = match headers.get(header::CONTENT_TYPE) {
        None => return Err(ApiError::MediaType { found: "none".to_owned() }),
        // As nearly all write it.
        Some(value) if value.as_bytes() == b"application/json" => return Ok(MediaType::Json),
        Some(value) => String::from_utf8_lossy(value.as_bytes()),
    };
    let mut parts = found.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
    let parameter = |wanted: &str| {
        let mut parameters = found.split(';').skip(1).filter_map(|part| part.split_once('='));
        let value = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted))?.1;
        Some(value.trim().trim_matches('"').to_owned())
    };
    let is_json = essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"));
    let is_utf8 = parameter("charset").is_none_or(|charset| charset.eq_ignore_ascii_case("utf-8"));
    let media_type = if is_json && is_utf8 {
        Some(MediaType::Json)
    } else if !schema.fields().iter().any(|field| field.kind() == Kind::Image) {
        None
    } else if essence.starts_with("image/") {
        Some(MediaType::Image)
    } else if essence == "multipart/form-data" {
        parameter("boundary")
            .filter(|boundary| !boundary.is_empty())
            .map(|boundary| MediaType::Form { boundary })
    } else {
        None
    };
    let Some(media_type) = media_type else {
        return Err(ApiError::MediaType {
            found: format!("`{}`", found.chars().take(80).collect::<String>()),
        });
    };
    Ok(media_type)
}

/// The field of a body that is a picture and nothing else.
///
/// # Errors
/// The model takes no picture, several, or needs other fields beside it.
pub(super) fn image_field(schema: &Schema) -> Result<usize, ApiError> {
    let fields = schema.fields().iter().enumerate();
    let mut images = fields.filter(|(_, field)| field.kind() == Kind::Image);
    let (Some((index, _)), None) = (images.next(), images.next()) else {
        return Err(ApiError::MediaType {
            found: "a picture, but the model does not take exactly one".to_owned(),
        });
    };
    if let Some(other) =
        schema.fields().iter().find(|field| field.kind() != Kind::Image && field.spec().required)
    {
        return Err(ApiError::MediaType {
            found: format!(
                "a picture alone, but the model needs `{}` as well; send a form",
                other.name()
            ),
        });
    }
    Ok(index)
}

/// The JSON of a form: each part is a field by its name, or, as `inputs`, an object of fields.
///
/// # Errors
/// The body is not what its boundary says, or `inputs` is no JSON object.
pub(super) fn of_form(body: &[u8], boundary: &str, schema: &Schema) -> Result<Vec<u8>, ApiError> {
    let mut json = b"{\"inputs\":{".to_vec();
    for part in parts(body, boundary)? {
        let field = schema.index_of(&part.name).and_then(|index| schema.fields().get(index));
        match field {
            None if part.name == "inputs" => {
                let wrong = || ApiError::Form {
                    problem: "the part `inputs` is not a JSON object".to_owned(),
                };
                let text = std::str::from_utf8(part.content).map_err(|_not_utf8| wrong())?.trim();
                // Whether it is well-formed shows when it is read; here only that it ends where it should.
                let is_json =
                    serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text);
                is_json.map_err(|_no_object| wrong())?;
                let members = text.get(1..text.len() - 1).unwrap_or_default().trim();
                if !members.is_empty() {
                    separate(&mut json);
                    json.extend_from_slice(members.as_bytes());
                }
            }
            field => member(&part.name, &value(&part, field), &mut json),
        }
    }
    json.extend_from_slice(b"}}");
    Ok(json)
}

/// The JSON of a part, by the kind of its field. What is no JSON becomes a string, which the schema then refuses by its field.
fn value(part: &Part<'_>, field: Option<&Field>) -> Vec<u8> {
    let text = String::from_utf8_lossy(part.content);
    let string = || serde_json::Value::from(text.as_ref()).to_string().into_bytes();
    let Some(field) = field else { return string() };
    match field.kind() {
        Kind::Image => quoted_file(part.content).into_bytes(),
        Kind::String | Kind::Datetime => string(),
        Kind::Int | Kind::Float | Kind::Bool | Kind::Tensor => {
            let text = text.trim();
            if text.is_empty() {
                // What a page sends for an empty box.
                b"null".to_vec()
            } else if serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok() {
                text.as_bytes().to_vec()
            } else {
                string()
            }
        }
    }
}

/// The JSON string of a file.
pub(super) fn quoted_file(file: &[u8]) -> String {
    format!("\"{}\"", STANDARD.encode(file))
}

fn member(name: &str, value: &[u8], json: &mut Vec<u8>) {
    separate(json);
    json.extend_from_slice(serde_json::Value::from(name).to_string().as_bytes());
    json.push(b':');
    json.extend_from_slice(value);
}

fn separate(json: &mut Vec<u8>) {
    if json.last() != Some(&b'{') {
        json.push(b',');
    }
}

/// A part of a form.
struct Part<'a> {
    name: String,
    content: &'a [u8],
}

/// Most forms have a handful.
const MOST_PARTS: usize = 10_000;

fn parts<'a>(body: &'a [u8], boundary: &str) -> Result<Vec<Part<'a>>, ApiError> {
    let wrong = |problem: &str| ApiError::Form { problem: problem.to_owned() };
    let delimiter = format!("--{boundary}");
    let finder = memchr::memmem::Finder::new(&delimiter);
    let mut rest = match finder.find(body) {
        Some(at) => &body[at + delimiter.len()..],
        None => return Err(wrong("the boundary of the content type does not occur in the body")),
    };
    let mut parts = Vec::new();
    loop {
        if rest.starts_with(b"--") {
            return Ok(parts);
        }
        let Some(line) = rest.strip_prefix(b"\r\n") else {
            return Err(wrong("a boundary is not followed by a line break"));
        };
        let Some(head_end) = memchr::memmem::find(line, b"\r\n\r\n") else {
            return Err(wrong("the headers of a part do not end"));
        };
        let (head, content) = (&line[..head_end], &line[head_end + 4..]);
        let mut from = 0;
        let end = loop {
            let Some(at) = finder.find(&content[from..]) else {
                return Err(wrong("the last part does not end with the boundary"));
            };
            let at = from + at;
            // A boundary begins a line.
            if content[..at].ends_with(b"\r\n") {
                break at;
            }
            from = at + 1;
        };
        let Some(name) = name_of(&String::from_utf8_lossy(head)) else {
            return Err(wrong("a part has no name in its Content-Disposition"));
        };
        if parts.len() == MOST_PARTS {
            return Err(wrong("the form has more than 10000 parts"));
        }
        parts.push(Part { name, content: &content[..end - 2] });
        rest = &content[end + delimiter.len()..];
    }
}

/// `name` of `Content-Disposition: form-data; name="photo"; filename="a.png"`.
fn name_of(head: &str) -> Option<String> {
    let line = head.lines().find(|line| {
        line.split_once(':')
            .is_some_and(|(name, _)| name.trim().eq_ignore_ascii_case("content-disposition"))
    })?;
    let mut rest = line.split_once(':')?.1;
    while let Some((_, parameters)) = rest.split_once(';') {
        let (key, value) = parameters.split_once('=')?;
        let value = value.trim_start();
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => value.split_at(value.find(';').unwrap_or(value.len())),
        };
        if key.trim().eq_ignore_ascii_case("name") {
            // How browsers write a quote and line breaks in a name.
            let name = value.trim().replace("%22", "\"").replace("%0D", "\r").replace("%0A", "\n");
            return (!name.is_empty()).then_some(name);
        }
        rest = after;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Schema {
        let fields = serde_json::json!([
            {"name": "photo", "type": "image"},
            {"name": "age", "type": "int"},
            {"name": "name", "type": "string"}
        ]);
        Schema::load(serde_json::from_value(fields).unwrap()).unwrap()
    }

    fn json(body: &str) -> Result<String, String> {
        of_form(body.replace('\n', "\r\n").as_bytes(), "XX", &schema())
            .map(|json| String::from_utf8(json).unwrap())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_form_is_the_json_that_says_the_same() {
        let body = "preamble\n--XX\nContent-Disposition: form-data; name=\"photo\"; filename=\"a;b.png\"\nContent-Type: image/png\n\nhi--XX\n--XX\ncontent-disposition: form-data; name=age\n\n 5 \n--XX\nContent-Disposition: form-data; name=\"name\"\n\n7\n--XX--\n";
        assert_eq!(json(body).unwrap(), r#"{"inputs":{"photo":"aGktLVhY","age":5,"name":"7"}}"#);
        let body = "--XX\nContent-Disposition: form-data; name=\"inputs\"\n\n{\"age\": 1e400, \"name\": null}\n--XX\nContent-Disposition: form-data; name=\"age\"\n\nold\n--XX--";
        assert_eq!(
            json(&body.replace("1e400", "14")).unwrap(),
            r#"{"inputs":{"age": 14, "name": null,"age":"old"}}"#
        );
    }

    #[test]
    fn a_form_that_is_none_is_refused() {
        for body in ["", "--XX", "--XX\n", "--XX\nA: b\n\nc", "--XX\nA: b\n\nc\n--XX--"] {
            assert!(json(body).unwrap_err().starts_with("the form cannot be read: "), "{body}");
        }
        let body = "--XX\nContent-Disposition: form-data; name=\"inputs\"\n\n[1]\n--XX--";
        assert_eq!(
            json(body).unwrap_err(),
            "the form cannot be read: the part `inputs` is not a JSON object"
        );
    }

    #[test]
    fn a_body_is_known_by_its_content_type() {
        let of = |value: &'static str| {
            media_type(
                &HeaderMap::from_iter([(
                    header::CONTENT_TYPE,
                    axum::http::HeaderValue::from_static(value),
                )]),
                &schema(),
            )
            .ok()
        };
        for json in
            ["application/json", "Application/JSON; charset=UTF-8", "application/vnd.x+json"]
        {
            assert_eq!(of(json), Some(MediaType::Json), "{json}");
        }
        for other in [
            "text/plain",
            "application/json; charset=latin1",
            "application/jsonp",
            "multipart/form-data",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
        assert_eq!(of("image/png"), Some(MediaType::Image));
        assert_eq!(
            of("multipart/form-data; boundary=\"a b\""),
            Some(MediaType::Form { boundary: "a b".to_owned() })
        );
    }
}
