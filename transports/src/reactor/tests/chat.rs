//! Frames on their way in: their order, and what lets them wait.

use super::*;

#[test]
fn a_frame_that_waits_for_a_join_costs_nothing_meanwhile() {
    let mut rig = Rig::new();
    let mut client = rig.client(1, "");
    client.send(&mut rig, &format!(r#"{{"type":"join","id":1,"room_id":{ROOM}}}"#));
    client.send(&mut rig, &format!(r#"{{"type":"leave","id":2,"room_id":{ROOM}}}"#));
    // The rig panics when the reactor has work without end.
    client.send(&mut rig, r#"{"type":"ping","id":3}"#);
    assert_eq!(client.types(&mut rig), ["welcome"]);
    rig.let_in(0);
    assert_eq!(client.types(&mut rig), ["joined", "left", "pong"]);
}
