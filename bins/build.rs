//! The web client is embedded from `web/dist`. Where it has not been built (a check of the Rust code alone), a page that says
//! so stands in its place; `make build` always builds it first.
#![allow(clippy::print_stdout, reason = "this is how a build script speaks to cargo")]

use std::{fs, path::Path};

fn main() {
    println!("cargo::rerun-if-changed=../web/dist");
    let index = Path::new("../web/dist/index.html");
    if !index.exists() {
        fs::create_dir_all("../web/dist").expect("web/dist can be made");
        fs::write(index, "<!doctype html><title>ChatRoom</title><p>The web client was not built: run <code>make build</code>.</p>\n")
            .expect("web/dist/index.html can be written");
    }
}
