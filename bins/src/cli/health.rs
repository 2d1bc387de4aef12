//! `chatroom health`: for container health checks, without curl.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Context;

use super::{Failure, say};

pub(super) fn health() -> Result<(), Failure> {
    let config = crate::env::load()?;
    let host = if config.app_host.is_unspecified() { IpAddr::from([127, 0, 0, 1]) } else { config.app_host };
    let address = SocketAddr::new(host, config.app_port);
    let answer = ask(address).with_context(|| format!("no answer from {address}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    say(body);
    if head.starts_with("HTTP/1.1 200") {
        Ok(())
    } else {
        Err(anyhow::anyhow!("the server at {address} is not well").into())
    }
}

fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(
        format!("GET /health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes(),
    )?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    Ok(answer)
}

const PATIENCE: Duration = Duration::from_secs(3);
const ANSWER_BYTES_MAX: u64 = 64 * 1024;
