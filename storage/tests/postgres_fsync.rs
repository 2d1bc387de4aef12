//! A server whose fsync is off. In a program of its own, since it changes the whole server. Run by `make store-tests`.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    unreachable_pub,
    dead_code,
    reason = "a test fails by panicking, and uses part of the helpers"
)]

mod server;

use chatroom_storage::Options;

#[test]
fn a_server_without_fsync_is_refused() {
    let dsn = server::dsn();
    let set = |value: &str| {
        server::run(&dsn, &format!("ALTER SYSTEM SET fsync = {value}"));
        server::run(&dsn, "SELECT pg_reload_conf()");
        let mut tries = 0;
        while server::run(&dsn, "SHOW fsync").as_deref() != Some(value) {
            tries += 1;
            assert!(tries < 1000, "the server takes its settings");
        }
    };
    let schema = server::Schema::new();
    set("off");
    let error = server::open(&schema.dsn(), &Options::default()).unwrap_err().to_string();
    set("on");
    assert!(error.contains("has fsync off") && !error.contains('\n'), "{error}");
    server::open(&schema.dsn(), &Options::default()).unwrap();
}
