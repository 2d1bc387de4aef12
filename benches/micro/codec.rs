//! The codecs over byte slices: what a client's frame costs to read, a server's to wrap, a handshake's head to parse.

use std::hint::black_box;

use chatroom_transports::deflate::{Deflater, Inflater};
use chatroom_transports::http1::{self, parse_head};
use chatroom_transports::websocket::{Data, Decoder, Limits, OpCode, append_frame};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

const LIMITS: Limits = Limits { frame_bytes_max: 64 * 1024, skip_bytes_max: 1024 * 1024, binary: false };
const HANDSHAKE: &[u8] = b"GET /ws?room_id=17&since=4711 HTTP/1.1\r\nHost: chat.example.org\r\nConnection: Upgrade\r\n\
Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\nOrigin: https://chat.example.org\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\nAccept: */*\r\n\
Accept-Language: en-GB,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nCache-Control: no-cache\r\n\r\n";

fn websocket(c: &mut Criterion) {
    let mut group = c.benchmark_group("websocket");
    for (name, content, frames) in
        [("decode 128 bytes", 128, 1), ("decode 8 × 128 bytes", 128, 8), ("decode 4 KiB", 4096, 1)]
    {
        let bytes = client_frame(&message(content)).repeat(frames);
        group.throughput(Throughput::Elements(frames as u64));
        let (mut decoder, mut inflater) = (Decoder::new(false), Inflater::new());
        // Decoding unmasks in place, so each round needs a copy of its own.
        group.bench_function(name, |b| {
            b.iter_batched_ref(
                || bytes.clone(),
                |bytes| decode(bytes, &mut decoder, &mut inflater),
                BatchSize::SmallInput,
            );
        });
    }
    let text = message(128);
    let mut out = Vec::with_capacity(1024);
    group.throughput(Throughput::Elements(1));
    group.bench_function("encode 128 bytes", |b| {
        b.iter(|| {
            out.clear();
            append_frame(&mut out, OpCode::Data(Data::Text), false, black_box(text.as_bytes()));
        });
    });
    group.finish();
}

fn deflate(c: &mut Criterion) {
    let text = message(128);
    let (mut deflater, mut inflater) = (Deflater::new(), Inflater::new());
    let mut out = Vec::with_capacity(1024);
    c.bench_function("deflate 128 bytes", |b| {
        b.iter(|| {
            out.clear();
            deflater.deflate(black_box(text.as_bytes()), &mut out)
        });
    });
    out.clear();
    deflater.deflate(text.as_bytes(), &mut out);
    c.bench_function("inflate 128 bytes", |b| {
        b.iter(|| inflater.inflate(black_box(&out), 64 * 1024, 1024 * 1024).is_ok());
    });
}

fn http(c: &mut Criterion) {
    let limits = http1::Limits::default();
    c.bench_function("parse a browser's handshake", |b| {
        b.iter(|| parse_head(black_box(HANDSHAKE), &limits).expect("a good head").is_some());
    });
}

fn decode(bytes: &mut [u8], decoder: &mut Decoder, inflater: &mut Inflater) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let decoded = decoder.decode(rest, &LIMITS, inflater).expect("a good frame");
        let used = decoded.used;
        black_box(decoded.event);
        rest = &mut rest[used..];
    }
}

fn message(content: usize) -> String {
    format!(
        r#"{{"type":"message","id":4711,"room_id":17,"content":"{}","nonce":"01J9ZQ5W4D"}}"#,
        "x".repeat(content)
    )
}

/// Masked, as a client must.
fn client_frame(text: &str) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = Vec::new();
    append_frame(&mut frame, OpCode::Data(Data::Text), false, text.as_bytes());
    frame[1] |= 0x80;
    let head = frame.len() - text.len();
    frame.truncate(head);
    frame.extend_from_slice(&mask);
    frame.extend(text.bytes().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

criterion_group!(benches, websocket, deflate, http);
criterion_main!(benches);
