//! The fuzzers' corpora as ordinary tests: what was found once is looked at in every run, without nightly.

use std::{fs, path::Path};

#[path = "../../fuzz/checks/http_request.rs"]
mod http_request;
#[path = "../../fuzz/checks/inflate.rs"]
mod inflate;
#[path = "../../fuzz/checks/websocket.rs"]
mod websocket;

#[test]
fn http_requests() {
    each("http_request", http_request::run);
}

#[test]
fn compressed_messages() {
    each("inflate", inflate::run);
}

#[test]
fn websocket_frames() {
    each("websocket", websocket::run);
}

/// Runs a check on every file of a corpus.
fn each(target: &str, check: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut files = 0;
    for entry in fs::read_dir(&corpus).unwrap_or_else(|error| panic!("{}: {error}", corpus.display())) {
        let path = entry.expect("the corpus can be listed").path();
        let bytes = fs::read(&path).expect("the corpus can be read");
        let checked = std::panic::catch_unwind(|| check(&bytes));
        assert!(checked.is_ok(), "{}", path.display());
        files += 1;
    }
    assert!(files >= 10, "{} holds {files} files: the corpus is missing", corpus.display());
}
