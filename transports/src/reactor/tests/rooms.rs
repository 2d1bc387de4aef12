//! Joins, passes, catching up.

use super::*;

#[test]
fn a_burst_larger_than_a_buffer_is_served_to_its_end() {
    let mut rig = Rig::new();
    let mut client = rig.member(1, 0);
    let long = "y".repeat(16 * 1024);
    rig.post_frames((1..=10).map(|seq| event(seq, &long)).collect());
    assert_eq!(client.seqs(&mut rig), (1..=10).collect::<Vec<_>>());
}
