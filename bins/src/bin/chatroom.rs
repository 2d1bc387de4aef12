//! The server and its command line; see `chatroom --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    chatroom::cli::run()
}
