//! `Assets`: the pages that the server carries in itself; whoever builds the server brings them.

use bytes::Bytes;

/// Looks up what is served outside the API.
pub trait Assets: Send + Sync {
    /// The file for a path such as `/assets/app.js`. A page for people is found for any path that is no file.
    fn find(&self, path: &str, encoding: crate::http1::Encoding) -> Option<Asset>;
}

/// One file as it goes out.
#[derive(Clone, Debug)]
pub struct Asset {
    pub bytes: Bytes,
    pub content_type: &'static str,
    /// What the bytes are encoded with.
    pub encoding: crate::http1::Encoding,
    /// A strong validator, quotes included.
    pub etag: String,
    /// The name changes with the content: it may be kept for ever.
    pub immutable: bool,
    /// A page for people, with the policies that pages need.
    pub is_page: bool,
}
