//! The load generator; see `chatroom-load --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    chatroom::load::run()
}
