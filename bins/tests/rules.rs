//! The rules of PROTOCOL.md, one by one, against a whole node on virtual time: reactors, workers, lanes and readers with the
//! wire and the store in memory.

#[path = "rules/auth.rs"]
mod auth;
#[path = "rules/drain.rs"]
mod drain;
#[path = "rules/messages.rs"]
mod messages;
#[path = "rules/nodes.rs"]
mod nodes;
#[path = "rules/presence.rs"]
mod presence;
#[path = "rules/resume.rs"]
mod resume;
#[path = "rules/rooms.rs"]
mod rooms;
#[path = "rules/stream.rs"]
mod stream;

use chatroom::sim::client::Client;
use chatroom::sim::world::{Size, World};
use chatroom_core::event::User;
use serde_json::{Value, json};

/// Two users and a room, with nobody in it.
struct Scene {
    world: World,
    ada: User,
    ben: User,
    room: u64,
}

impl Scene {
    fn new(size: Size) -> Scene {
        let mut world = World::new(1, size);
        let (ada, ben) = (world.user("ada"), world.user("ben"));
        let room = world.room("hall", &ada).id.get();
        Scene { world, ada, ben, room }
    }

    /// Both are in the room, and have seen that.
    fn joined(size: Size) -> (World, Client, Client, u64) {
        let Scene { mut world, ada, ben, room } = Scene::new(size);
        let mut first = Client::member(&mut world, &ada, room);
        let second = Client::member(&mut world, &ben, room);
        assert_eq!(first.expect(&mut world, "presence")["event"], "join");
        (world, first, second, room)
    }

    /// So many messages from long ago.
    fn with_history(mut self, count: u64) -> Scene {
        let room = chatroom_core::id::RoomId::new(self.room).expect("an id is in range");
        self.world.fill(room, &self.ada, count);
        self
    }
}

fn join(room: u64) -> Value {
    json!({"type": "join", "id": 1, "room_id": room})
}
