//! The web client inside the binary: the files of `web/dist`, in the encodings that the web build made beside them.

use bytes::Bytes;
use chatroom_transports::assets::{Asset, Assets};
use chatroom_transports::http1::Encoding;
use rust_embed::RustEmbed;

#[derive(RustEmbed)]
#[folder = "../web/dist"]
struct Files;

/// The embedded web client.
pub struct WebClient;

impl Assets for WebClient {
    fn find(&self, path: &str, encoding: Encoding) -> Option<Asset> {
        let name = path.trim_start_matches('/');
        if let Some(asset) = file(name, encoding) {
            return Some(asset);
        }
        // A path without an ending is a page of the client, which routes by itself; a missing file is missing.
        let last = name.rsplit('/').next().unwrap_or(name);
        if last.contains('.') { None } else { file("index.html", encoding) }
    }
}

fn file(name: &str, encoding: Encoding) -> Option<Asset> {
    if name.is_empty() || name.ends_with(".br") || name.ends_with(".gz") {
        return None;
    }
    let encoded = match encoding {
        Encoding::Brotli => Files::get(&format!("{name}.br")).map(|file| (file, encoding)),
        Encoding::Gzip => Files::get(&format!("{name}.gz")).map(|file| (file, encoding)),
        Encoding::Identity => None,
    };
    let (file, encoding) = match encoded {
        Some(found) => found,
        None => (Files::get(name)?, Encoding::Identity),
    };
    let hash = file.metadata.sha256_hash();
    let mut etag = String::with_capacity(34);
    etag.push('"');
    for byte in &hash[..16] {
        etag.push_str(&format!("{byte:02x}"));
    }
    etag.push('"');
    let bytes = match file.data {
        std::borrow::Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        std::borrow::Cow::Owned(bytes) => bytes.into(),
    };
    let is_page = name.ends_with(".html");
    Some(Asset {
        bytes,
        content_type: content_type(name),
        encoding,
        etag,
        immutable: name.starts_with("assets/"),
        is_page,
    })
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("json" | "map") => "application/json",
        Some("webmanifest") => "application/manifest+json",
        Some("woff2") => "font/woff2",
        Some("txt") => "text/plain; charset=utf-8",
        Some(_) | None => "application/octet-stream",
    }
}
