//! Nothing of its own: see `http.rs`.
