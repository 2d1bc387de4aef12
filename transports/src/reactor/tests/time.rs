//! What falls due, and when. The reactor's wheel has ticks of 128 ms: nothing is early, and nothing later than one.

use super::*;

/// The time until a condition holds, which it must within `max_ms`.
fn ms_until(rig: &mut Rig, max_ms: u64, mut holds: impl FnMut(&mut Rig) -> bool) -> u64 {
    let begun = rig.now.mono_ms;
    while !holds(rig) {
        assert!(rig.now.mono_ms < begun + max_ms, "not within {max_ms} ms");
        let next = [rig.reactor.next_timeout(rig.now), rig.net.next_timeout()].into_iter().flatten().min();
        rig.pass_ms(next.map_or(1, |at| at.saturating_sub(rig.now.mono_ms).clamp(1, 1000)));
    }
    rig.now.mono_ms - begun
}

/// What comes next, and how long that took.
fn next(rig: &mut Rig, client: &mut Client, max_ms: u64) -> (u64, Vec<String>) {
    let mut got = Vec::new();
    let took_ms = ms_until(rig, max_ms, |rig| {
        got = client.types(rig);
        !got.is_empty()
    });
    (took_ms, got)
}

#[track_caller]
fn assert_due(took_ms: u64, due_ms: u64) {
    assert!((due_ms..=due_ms + 128).contains(&took_ms), "{took_ms} ms, not {due_ms} to {} ms", due_ms + 128);
}

#[test]
fn a_deadline_is_a_time_and_not_a_delay() {
    let mut rig = Rig::new();
    assert_eq!(rig.reactor.next_timeout(rig.now), None);
    let _client = Client::connect(&mut rig);
    let at = rig.reactor.next_timeout(rig.now).unwrap();
    assert_due(at - rig.now.mono_ms, 10_000);
    rig.pass_ms(5000);
    assert_eq!(rig.reactor.next_timeout(rig.now), Some(at));
}

#[test]
fn a_silent_connection_is_pinged_twice_and_closed_after_75_s() {
    for (query, ping) in [("", "PING"), ("hb=1", "ping")] {
        let mut rig = Rig::new();
        let mut client = rig.client(1, query);
        client.frames(&mut rig);
        let begun = rig.now.mono_ms;
        for (due_ms, expected) in [(25_000, ping), (50_000, ping), (75_000, "4408")] {
            let (_, got) = next(&mut rig, &mut client, 30_000);
            assert_eq!(got, [expected]);
            assert_due(rig.now.mono_ms - begun, due_ms);
        }
    }
}

#[test]
fn whoever_answers_is_pinged_each_25_s_and_stays() {
    for (query, ping, pong) in
        [("", "PING", masked(0x8A, b"")), ("hb=1", "ping", masked(0x81, br#"{"type":"pong"}"#))]
    {
        let mut rig = Rig::new();
        let mut client = rig.client(1, query);
        client.frames(&mut rig);
        for _ in 0..6 {
            let (took_ms, got) = next(&mut rig, &mut client, 30_000);
            assert_eq!(got, [ping]);
            assert_due(took_ms, 25_000);
            client.send_bytes(&mut rig, &pong);
        }
    }
}

#[test]
fn whoever_only_talks_is_pinged_and_whoever_only_hears_is_too() {
    let mut rig = Rig::new();
    let (mut talker, mut hearer) = (rig.member(1, 0), rig.client(2, ""));
    hearer.frames(&mut rig);
    let mut pings = 0;
    for _ in 0..100 {
        rig.pass_ms(1000);
        talker.send(&mut rig, &format!(r#"{{"type":"typing","room_id":{ROOM}}}"#));
        pings += talker.types(&mut rig).iter().filter(|got| *got == "PING").count();
    }
    assert_eq!(pings, 3, "nothing was sent to it");
    let mut hearer = rig.member(3, 0);
    for seq in 1..=74 {
        rig.pass_ms(1000);
        rig.post_events(seq..=seq);
    }
    let got = hearer.types(&mut rig);
    assert_eq!(got.iter().filter(|got| *got == "PING").count(), 2);
    rig.pass_ms(1200);
    assert_eq!(hearer.types(&mut rig), ["4408"]);
}

#[test]
fn a_member_that_takes_nothing_for_30_s_is_closed() {
    let mut rig = Rig::with(2000, &[("RATE_LIMIT", "off")], LIMITS);
    let mut client = rig.member(1, 0);
    rig.post_events(1..=60);
    rig.pass_ms(10_000);
    // It takes something, and the 30 s begin anew.
    client.receive(&mut rig, 100);
    let leaves = |rig: &Rig| {
        rig.wanted.iter().any(|effect| matches!(effect, Effect::Worker(_, WorkerMail::Leave { .. })))
    };
    let took_ms = ms_until(&mut rig, 40_000, |rig| leaves(rig));
    assert_due(took_ms, 30_000);
    client.frames(&mut rig);
    rig.pass_ms(3200);
    client.receive(&mut rig, usize::MAX);
    assert!(client.ended, "what was owed went out, or its time was over");
    assert_eq!(rig.reactor.connections(), 0);
}

#[test]
fn a_socket_that_shows_no_token_in_10_s_is_closed_with_4401() {
    let mut rig = Rig::new();
    let mut client = Client::connect(&mut rig);
    client.upgrade(&mut rig, "");
    let (took_ms, got) = next(&mut rig, &mut client, 12_000);
    assert_eq!(got, ["error", "4401"]);
    assert_due(took_ms, 10_000);
}

#[test]
fn a_token_that_has_expired_closes_60_s_later_with_4401() {
    let mut rig = Rig::new();
    let token = rig.token_for_s(1, 40);
    let mut client = Client::connect(&mut rig);
    client.upgrade(&mut rig, &format!("token={token}"));
    client.frames(&mut rig);
    let begun = rig.now.mono_ms;
    loop {
        let (_, got) = next(&mut rig, &mut client, 30_000);
        if got == ["4401"] {
            break;
        }
        assert_eq!(got, ["PING"]);
        client.send_bytes(&mut rig, &masked(0x8A, b""));
    }
    assert_due(rig.now.mono_ms - begun, 100_000);
}

#[test]
fn half_a_request_is_answered_408_and_none_at_all_by_the_end() {
    for (bytes, after_ms, expected) in [
        (&b""[..], 10_000, None),
        (b"GET / HT", 10_000, Some("HTTP/1.1 408 ")),
        (
            b"POST /api/v1/auth/login HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n{",
            30_000,
            Some("HTTP/1.1 408 "),
        ),
    ] {
        let mut rig = Rig::new();
        let mut client = Client::connect(&mut rig);
        client.send_bytes(&mut rig, bytes);
        rig.pass_ms(after_ms - 1);
        client.receive(&mut rig, usize::MAX);
        assert!(!client.ended, "{after_ms}");
        rig.pass_ms(130);
        match expected {
            Some(status) => assert!(client.head(&mut rig).starts_with(status)),
            None => client.receive(&mut rig, usize::MAX),
        }
        assert!(client.ended);
        // Who does not close its own side is waited for a little, and then no longer.
        rig.pass_ms(2200);
        assert_eq!(rig.reactor.connections(), 0);
    }
}

#[test]
fn an_idle_connection_is_kept_for_a_minute() {
    let mut rig = Rig::new();
    let mut client = Client::connect(&mut rig);
    client.send_bytes(&mut rig, b"GET /livez HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(client.head(&mut rig).starts_with("HTTP/1.1 200 "));
    let took_ms = ms_until(&mut rig, 70_000, |rig| rig.reactor.connections() == 0);
    assert_due(took_ms, 60_000);
}
