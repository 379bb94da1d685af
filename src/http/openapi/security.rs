//! What keys add to the document.

use serde_json::{Map, Value, json};

use super::{PATH, shared};

/// Adds the two ways to show a key, where none is needed, and the answers to those who have none. Nothing when nobody needs one.
pub(super) fn put_security(document: &mut Value, needs_key: bool, has_open_docs: bool) {
    if !needs_key {
        return;
    }
    document["security"] = json!([{ "bearer": [] }, { "apiKey": [] }]);
    document["components"]["securitySchemes"] = json!({
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "A key, as `Authorization: Bearer KEY`.",
        },
        "apiKey": {
            "type": "apiKey",
            "in": "header",
            "name": "X-API-Key",
            "description": "The same key in a header of its own.",
        },
    });
    if let Some(responses) = document["components"]["responses"].as_object_mut() {
        responses.extend(shared::problem_responses(|status| matches!(status, 401 | 403 | 429)));
    }
    let Some(paths) = document["paths"].as_object_mut() else { return };
    for (path, item) in paths {
        let is_open = path.starts_with("/health") || (has_open_docs && path == PATH);
        let operations = item.as_object_mut().map(Map::values_mut).into_iter().flatten();
        for operation in operations.filter(|operation| operation.is_object()) {
            if is_open {
                operation["security"] = json!([]);
            } else if let Some(responses) = operation["responses"].as_object_mut() {
                responses.extend(shared::problem_references(&[401, 403, 429]));
                responses.sort_keys();
            }
        }
    }
}
