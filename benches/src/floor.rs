//! `Floor`: what a delivery costs at least. A bare epoll writer: whatever text frame comes in on one connection goes out to
//! all, and nothing is parsed, ordered, stored or remembered. The measure that the server is held against.
//!
//! Two modes. One send a delivery: the floor of every server that writes each message as it comes. One send a turn and
//! member: what came in between two looks at the sockets goes out together; no server that uses `send` can go below.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;

use chatroom_transports::deflate::Inflater;
use chatroom_transports::websocket::{Data, Decoder, Event, Limits, OpCode, accept_key, append_frame};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

/// How often to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    EachDelivery,
    EachTurn,
}

pub struct Floor {
    mode: Mode,
    poll: Poll,
    listener: TcpListener,
    members: Vec<Option<Member>>,
    inflater: Inflater,
    scratch: Box<[u8]>,
    /// Frames that came in this turn, ready to go out, and where each ends.
    turn: Vec<u8>,
    ends: Vec<usize>,
    counts: Counts,
}

struct Member {
    stream: TcpStream,
    /// The request, until it is whole; `None`: the handshake is through.
    head: Option<Vec<u8>>,
    decoder: Decoder,
    /// What the socket did not take.
    rest: Vec<u8>,
}

/// What was done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub messages: u64,
    /// Messages times members.
    pub deliveries: u64,
    pub sends: u64,
}

const LISTENER: Token = Token(usize::MAX);
const LIMITS: Limits = Limits { frame_bytes_max: 64 * 1024, skip_bytes_max: 64 * 1024, binary: false };

impl Floor {
    pub fn bind(mode: Mode, address: SocketAddr) -> io::Result<Floor> {
        let poll = Poll::new()?;
        let mut listener = TcpListener::bind(address)?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Floor {
            mode,
            poll,
            listener,
            members: Vec::new(),
            inflater: Inflater::new(),
            scratch: vec![0; 64 * 1024].into_boxed_slice(),
            turn: Vec::new(),
            ends: Vec::new(),
            counts: Counts::default(),
        })
    }

    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serve until the last of the connections that came has gone. What was done.
    pub fn run(mut self) -> io::Result<Counts> {
        let mut events = Events::with_capacity(1024);
        let (mut open, mut came) = (0, false);
        while !came || open > 0 {
            match self.poll.poll(&mut events, None) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            for event in &events {
                if event.token() == LISTENER {
                    open += self.accept()?;
                    came = true;
                    continue;
                }
                let number = event.token().0;
                if self.serve(number).is_err() && self.members[number].take().is_some() {
                    open -= 1;
                }
                if self.mode == Mode::EachDelivery {
                    self.send();
                }
            }
            self.send();
        }
        Ok(self.counts)
    }

    fn accept(&mut self) -> io::Result<usize> {
        let mut accepted = 0;
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(accepted),
                Err(error) => return Err(error),
            };
            stream.set_nodelay(true)?;
            let token = Token(self.members.len());
            self.poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
            self.members.push(Some(Member {
                stream,
                head: Some(Vec::new()),
                decoder: Decoder::new(false),
                rest: Vec::new(),
            }));
            accepted += 1;
        }
    }

    /// Read what came and write what waits; an error is the connection's end.
    fn serve(&mut self, number: usize) -> io::Result<()> {
        let Some(Some(member)) = self.members.get_mut(number) else { return Ok(()) };
        member.flush()?;
        loop {
            let read = match member.stream.read(&mut self.scratch) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let mut input = &mut self.scratch[..read];
            if let Some(head) = &mut member.head {
                head.extend_from_slice(input);
                if head.ends_with(b"\r\n\r\n") {
                    let answer = upgrade(head)?;
                    member.head = None;
                    member.rest.extend_from_slice(answer.as_bytes());
                    member.flush()?;
                }
                continue;
            }
            while !input.is_empty() {
                let decoded =
                    member.decoder.decode(input, &LIMITS, &mut self.inflater).map_err(io::Error::other)?;
                let used = decoded.used;
                match decoded.event {
                    Some(Event::Text(text)) => {
                        append_frame(&mut self.turn, OpCode::Data(Data::Text), false, text.as_bytes());
                        self.ends.push(self.turn.len());
                    }
                    Some(Event::Close(_)) => return Err(ErrorKind::UnexpectedEof.into()),
                    Some(Event::Binary(_) | Event::Ping(_) | Event::Pong(_) | Event::Oversize) | None => {}
                }
                input = &mut input[used..];
            }
        }
    }

    /// Send what came.
    fn send(&mut self) {
        if self.ends.is_empty() {
            return;
        }
        let whole = [self.turn.len()];
        let ends: &[usize] = if self.mode == Mode::EachTurn { &whole } else { &self.ends };
        let mut start = 0;
        let mut members = 0;
        for &end in ends {
            members = 0;
            let bytes = &self.turn[start..end];
            for member in self.members.iter_mut().flatten().filter(|member| member.head.is_none()) {
                members += 1;
                self.counts.sends += 1;
                // A connection that broke shows it when it is read.
                let _ = member.send(bytes);
            }
            start = end;
        }
        self.counts.messages += self.ends.len() as u64;
        self.counts.deliveries += self.ends.len() as u64 * members;
        self.turn.clear();
        self.ends.clear();
    }
}

impl Member {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = if self.rest.is_empty() { written(self.stream.write(bytes))? } else { 0 };
        self.rest.extend_from_slice(&bytes[written..]);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.rest.is_empty() {
            let written = written(self.stream.write(&self.rest))?;
            self.rest.drain(..written);
        }
        Ok(())
    }
}

fn written(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        other => other,
    }
}

/// The answer to a handshake.
fn upgrade(head: &[u8]) -> io::Result<String> {
    let head = std::str::from_utf8(head).map_err(io::Error::other)?;
    let key = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-key").then_some(value.trim())
    });
    let accept =
        key.and_then(|key| accept_key(key.as_bytes())).ok_or_else(|| io::Error::other("no handshake"))?;
    Ok(format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    ))
}
