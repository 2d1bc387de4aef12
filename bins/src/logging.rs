//! Log lines: one event a line, on standard error, as text for people or JSON for machines. No token is ever given to it.

use chatroom_core::config::{Config, LogFormat};
use tracing_subscriber::EnvFilter;

/// Begin to log.
pub fn start(config: &Config) {
    // The PostgreSQL client tells the parameters of statements at debug: contents and password hashes.
    let filter = EnvFilter::new(format!("{},tokio_postgres=warn", config.log_level));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.log_format {
        LogFormat::Text => builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
}
