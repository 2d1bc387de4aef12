//! What falls due, and when.

use super::*;

/// The time until a condition holds, which it must within `max_ms`; the reactor's wheel has ticks of 128 ms.
fn ms_until(rig: &mut Rig, max_ms: u64, mut holds: impl FnMut(&mut Rig) -> bool) -> u64 {
    let begun = rig.now.mono_ms;
    while !holds(rig) {
        assert!(rig.now.mono_ms < begun + max_ms, "not within {max_ms} ms");
        rig.pass_ms(1);
    }
    rig.now.mono_ms - begun
}

/// Within a tick of the wheel after `due_ms`, and not before.
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
    let mut rig = Rig::new();
    let mut client = rig.client(1, "");
    client.frames(&mut rig);
    for due_ms in [25_000, 25_000, 25_000] {
        let mut got = Vec::new();
        let took_ms = ms_until(&mut rig, 30_000, |rig| {
            got = client.types(rig);
            !got.is_empty()
        });
        let expected = if rig.now.mono_ms < 1_000_000 + 74_000 { "PING" } else { "4408" };
        assert_eq!(got, [expected]);
        assert!((due_ms - 256..=due_ms + 128).contains(&took_ms), "{took_ms}");
    }
}
