//! The page at `/docs`: both documents as one HTML text, without scripts. A problem's `type` leads to its code here.

use std::fmt::Write;

use data_encoding::BASE64;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::wire::ErrorCode;

/// The whole page.
pub(super) fn page(openapi: &Value, asyncapi: &Value) -> String {
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>ChatRoom</title><style>{STYLE}</style></head><body>\n\
         <h1>{} {}</h1>\n",
        text(&openapi["info"]["title"]),
        text(&openapi["info"]["version"]),
    );
    html.push_str(
        "<p><a href=\"/api/v1/openapi.json\">openapi.json</a> · <a href=\"/api/v1/asyncapi.json\">asyncapi.json</a> · \
         <a href=\"#rest\">REST</a> · <a href=\"#errors\">Errors</a> · <a href=\"#socket\">WebSocket</a> · \
         <a href=\"#types\">Types</a></p>\n",
    );
    prose(&mut html, &openapi["info"]["description"]);
    html.push_str("<h2 id=\"rest\">REST</h2>\n");
    for (path, methods) in entries(&openapi["paths"]) {
        for (method, operation) in entries(methods) {
            endpoint(&mut html, path, method, operation);
        }
    }
    html.push_str("<h2 id=\"errors\">Errors</h2>\n<dl>\n");
    for code in ErrorCode::ALL {
        let certainty = if code.is_final() { "final" } else { "unknown whether it was done: send again" };
        let name = code.as_str();
        _ = writeln!(
            html,
            "<dt id=\"{name}\"><code>{name}</code> {}</dt><dd>{}; {certainty}.</dd>",
            code.status(),
            code.title()
        );
    }
    html.push_str("</dl>\n<h2 id=\"socket\">WebSocket</h2>\n");
    prose(&mut html, &asyncapi["info"]["description"]);
    for operation in ["fromClient", "toClient"] {
        let operation = &asyncapi["operations"][operation];
        _ = writeln!(html, "<h3>{}</h3>", text(&operation["summary"]));
        for message in items(&operation["messages"]) {
            let name = last_part(message);
            schema(&mut html, name, &asyncapi["components"]["schemas"][name]);
        }
    }
    html.push_str("<h2 id=\"types\">Types</h2>\n");
    for (name, definition) in entries(&openapi["components"]["schemas"]) {
        // Frames have their place above.
        if asyncapi["components"]["messages"].get(name).is_none() {
            schema(&mut html, name, definition);
        }
    }
    html.push_str("</body></html>\n");
    html
}

/// What the page needs of a browser, and nothing more.
pub(crate) fn content_security_policy() -> String {
    let style = BASE64.encode(&Sha256::digest(STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

const STYLE: &str = "\
:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
h2{margin-top:3rem}h3{margin-top:2rem}h4{margin:1.5rem 0 .25rem}code{font:.9em ui-monospace,monospace;overflow-wrap:anywhere}\
table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;padding:.2rem .8rem .2rem 0;\
border-bottom:1px solid #8884}dd{margin:0 0 .5rem 1.5rem}:target{background:#fc04}";

fn endpoint(html: &mut String, path: &str, method: &str, operation: &Value) {
    let id = text(&operation["operationId"]);
    let method = method.to_ascii_uppercase();
    _ = writeln!(html, "<h3 id=\"do-{id}\"><code>{method} {}</code></h3>", escape(path));
    let needs = &operation["security"][0];
    let token = if needs.get("bearer").is_some() { " <em>Needs an access token.</em>" } else { "" };
    _ = writeln!(html, "<p>{}.{token}</p>", marked(&text(&operation["summary"])));
    prose(html, &operation["description"]);
    let parameters: Vec<&Value> = items(&operation["parameters"]).collect();
    if !parameters.is_empty() {
        html.push_str("<table><tr><th>Parameter</th><th>In</th><th>Type</th><th></th></tr>\n");
        for parameter in parameters {
            _ = writeln!(
                html,
                "<tr><td><code>{}</code></td><td>{}</td><td>{}</td><td>{}</td></tr>",
                text(&parameter["name"]),
                text(&parameter["in"]),
                kind(&parameter["schema"]),
                marked(&text(&parameter["description"])),
            );
        }
        html.push_str("</table>\n");
    }
    let body = &operation["requestBody"]["content"]["application/json"]["schema"];
    if !body.is_null() {
        _ = writeln!(html, "<p>Body: {}</p>", kind(body));
    }
    html.push_str("<dl>\n");
    for (status, answer) in entries(&operation["responses"]) {
        let content: Vec<String> = entries(&answer["content"])
            .map(|(media_type, content)| match content["schema"].get("allOf") {
                Some(_) => String::new(),
                None => format!(" {} ({})", kind(&content["schema"]), escape(media_type)),
            })
            .collect();
        _ = writeln!(
            html,
            "<dt>{status}{}</dt><dd>{}</dd>",
            content.concat(),
            marked(&text(&answer["description"]))
        );
    }
    html.push_str("</dl>\n");
}

fn schema(html: &mut String, name: &str, definition: &Value) {
    _ = writeln!(html, "<h4 id=\"type-{name}\">{name}</h4>");
    let properties: Vec<(&str, &Value)> = entries(&definition["properties"]).collect();
    if properties.is_empty() {
        _ = writeln!(html, "<p>{}</p>", kind(definition));
    }
    prose(html, &definition["description"]);
    if properties.is_empty() {
        return;
    }
    html.push_str("<table>\n");
    for (field, value) in properties {
        let required = items(&definition["required"]).any(|name| name == field);
        let presence = if required { "" } else { " <em>(may be left out)</em>" };
        _ = writeln!(
            html,
            "<tr><td><code>{field}</code></td><td>{}{presence}</td><td>{}</td></tr>",
            kind(value),
            marked(&text(&value["description"])),
        );
    }
    html.push_str("</table>\n");
}

/// What a value is, in a few words.
fn kind(schema: &Value) -> String {
    if schema.get("$ref").is_some() {
        let name = last_part(schema);
        return format!("<a href=\"#type-{name}\">{name}</a>");
    }
    if let Some(choices) = schema.get("oneOf") {
        return items(choices).map(kind).collect::<Vec<_>>().join(" or ");
    }
    if let Some(values) = schema.get("enum") {
        let values = items(values).map(|value| format!("<code>{}</code>", escape(&value.to_string())));
        return values.collect::<Vec<_>>().join(" or ");
    }
    let mut words = match schema["type"].as_str() {
        Some("array") => format!("list of {}", kind(&schema["items"])),
        Some(name) => escape(name),
        None => "anything".to_owned(),
    };
    let bounds = [("minLength", "maxLength", " characters"), ("minimum", "maximum", "")];
    for (min, max, unit) in bounds {
        let bound = |name: &str| schema.get(name).map(Value::to_string);
        match (bound(min), bound(max)) {
            (Some(min), Some(max)) => _ = write!(words, ", {min} to {max}{unit}"),
            (Some(min), None) => _ = write!(words, ", at least {min}{unit}"),
            (None, Some(max)) => _ = write!(words, ", at most {max}{unit}"),
            (None, None) => {}
        }
    }
    words
}

/// Paragraphs and lists of Markdown, as far as our own texts use it.
fn prose(html: &mut String, value: &Value) {
    for paragraph in text(value).split("\n\n").filter(|paragraph| !paragraph.is_empty()) {
        let (lead, list): (Vec<&str>, Vec<&str>) =
            paragraph.lines().partition(|line| !line.starts_with("- "));
        if !lead.is_empty() {
            _ = writeln!(html, "<p>{}</p>", marked(&lead.join("\n")));
        }
        if !list.is_empty() {
            html.push_str("<ul>\n");
            for item in list {
                _ = writeln!(html, "<li>{}</li>", marked(item.trim_start_matches("- ")));
            }
            html.push_str("</ul>\n");
        }
    }
}

/// Escaped, with what stands between backticks as code.
fn marked(text: &str) -> String {
    let mut html = String::new();
    for (index, part) in text.split('`').enumerate() {
        if index % 2 == 1 {
            _ = write!(html, "<code>{}</code>", escape(part));
        } else {
            html.push_str(&escape(part));
        }
    }
    html
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn last_part(reference: &Value) -> &str {
    reference["$ref"].as_str().and_then(|path| path.rsplit('/').next()).unwrap_or_default()
}

fn entries(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
