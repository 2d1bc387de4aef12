//! `Rest`: the few requests of PROTOCOL.md section 2 that a load needs, over one blocking connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

/// A connection to the server's REST side. It is kept open from request to request.
pub(super) struct Rest {
    address: SocketAddr,
    stream: Option<BufReader<TcpStream>>,
}

/// An account that can send.
#[derive(Clone, Debug)]
pub(super) struct Account {
    pub(super) id: u64,
    pub(super) token: String,
}

/// A room as it was made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    pub(super) id: u64,
}

/// An answer slower than this is no answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The longest answer that is read.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// A password of the contract's length; the accounts are worth nothing.
const PASSWORD: &str = "load-generator-7Qx2";

impl Rest {
    pub(super) fn new(address: SocketAddr) -> Rest {
        Rest { address, stream: None }
    }

    /// Make an account.
    pub(super) fn register(&mut self, username: &str) -> Result<Account> {
        let body = json!({ "username": username, "password": PASSWORD });
        let answer = self.json("POST", "/api/v1/auth/register", None, Some(&body), 201)?;
        let id = answer["user"]["id"].as_u64().context("the answer to a registration names no user")?;
        let token = answer["access_token"].as_str().context("the answer to a registration has no token")?;
        Ok(Account { id, token: token.to_owned() })
    }

    /// Make a room.
    pub(super) fn create_room(&mut self, by: &Account, name: &str) -> Result<Room> {
        let answer = self.json("POST", "/api/v1/rooms", Some(by), Some(&json!({ "name": name })), 201)?;
        Ok(Room { id: answer["id"].as_u64().context("the new room has no id")? })
    }

    /// The server's metrics, if it shows them to us.
    pub(super) fn metrics(&mut self) -> Result<Option<String>> {
        let (status, body) = self.request("GET", "/metrics", None, None)?;
        Ok((status == 200).then_some(body))
    }

    fn json(
        &mut self,
        method: &str,
        path: &str,
        by: Option<&Account>,
        body: Option<&Value>,
        wanted: u16,
    ) -> Result<Value> {
        let (status, body) = self.request(method, path, by, body)?;
        ensure!(status == wanted, "{method} {path}: {status}, where {wanted} was expected: {body}");
        serde_json::from_str(&body).with_context(|| format!("{method} {path}: the answer is not JSON"))
    }

    fn request(
        &mut self,
        method: &str,
        path: &str,
        by: Option<&Account>,
        body: Option<&Value>,
    ) -> Result<(u16, String)> {
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.address);
        if let Some(account) = by {
            text += &format!("Authorization: Bearer {}\r\n", account.token);
        }
        if let Some(body) = body {
            let body = body.to_string();
            text +=
                &format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        } else {
            text += "\r\n";
        }
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.connect()?,
        };
        stream.get_mut().write_all(text.as_bytes())?;
        let (status, body, keep_alive) =
            read_answer(&mut stream).with_context(|| format!("{method} {path}"))?;
        if keep_alive {
            self.stream = Some(stream);
        }
        Ok((status, body))
    }

    fn connect(&self) -> Result<BufReader<TcpStream>> {
        let stream = TcpStream::connect(self.address)
            .with_context(|| format!("no server listens on {}", self.address))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        Ok(BufReader::new(stream))
    }
}

/// Status, body, and whether the connection lives on.
fn read_answer(stream: &mut impl BufRead) -> Result<(u16, String, bool)> {
    let status_line = read_line(stream)?;
    let status = status_line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status: u16 = status.with_context(|| format!("not an HTTP answer: {status_line:?}"))?;
    let (mut length, mut keep_alive) = (None, true);
    loop {
        let line = read_line(stream)?;
        if line.is_empty() {
            break;
        }
        let Some((name, value)) = line.split_once(':') else { bail!("not a header line: {line:?}") };
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.parse::<usize>()?);
        } else if name.eq_ignore_ascii_case("connection") {
            keep_alive = !value.eq_ignore_ascii_case("close");
        }
    }
    let length = length.unwrap_or(0);
    ensure!(length <= BODY_BYTES_MAX, "an answer of {length} bytes");
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok((status, String::from_utf8(body)?, keep_alive))
}

fn read_line(stream: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    let read = stream.take(64 * 1024).read_line(&mut line)?;
    ensure!(read > 0 && line.ends_with('\n'), "the connection ended inside an answer");
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_to_its_end_and_not_farther() {
        let mut bytes = &b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\nConnection: close\r\n\r\n{}HTTP"[..];
        assert_eq!(read_answer(&mut bytes).unwrap(), (201, "{}".to_owned(), false));
        assert_eq!(bytes, b"HTTP");
    }

    #[test]
    fn an_answer_that_is_cut_is_an_error() {
        for cut in
            ["HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}", "HTTP/1.1 200 OK\r\n", "", "SSH-2.0\r\n\r\n"]
        {
            assert!(read_answer(&mut cut.as_bytes()).is_err(), "{cut:?}");
        }
    }
}
