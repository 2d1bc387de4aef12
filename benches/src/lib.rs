//! What stands behind the two programs of this package: the floor under a delivery (`chatroom-floor`), and the runs whose
//! figures are published (`chatroom-bench`). The micro benchmarks are in `micro/`.

pub mod floor;
pub mod runs;
pub mod subject;
