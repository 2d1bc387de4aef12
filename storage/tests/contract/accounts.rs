//! The rules of accounts and sessions.

use chatroom_core::store::Refreshed;

use super::*;

fn user_of(found: Found) -> Option<UserRow> {
    match found {
        Found::User(row) => row,
        other => panic!("{other:?}"),
    }
}

fn refresh(w: &mut World, session: SessionId, counter: u64) -> Refreshed {
    match w.write(&Command::Refresh { session, counter }) {
        Written::Refreshed(refreshed) => refreshed,
        other => panic!("{other:?}"),
    }
}

fn living(w: &mut World, user: UserId) -> Vec<SessionId> {
    match w.read(&Query::Sessions { user }) {
        Found::Sessions(sessions) => sessions.iter().map(|session| session.id).collect(),
        other => panic!("{other:?}"),
    }
}

fn ended_since(w: &mut World, since: Timestamp) -> Vec<SessionId> {
    match w.read(&Query::EndedSessions { since }) {
        Found::EndedSessions(sessions) => sessions,
        other => panic!("{other:?}"),
    }
}

pub fn an_account_is_found_as_it_was_registered(mut w: World) {
    let name = username("Élodie_99");
    let created_at = w.at;
    let user_agent = Some("Mozilla/5.0 \"'\\".to_owned());
    let command = Command::Register {
        name: name.clone(),
        password_hash: "$argon2id$…".to_owned(),
        user_agent: user_agent.clone(),
    };
    let Written::Session { user, session, counter: 1 } = w.write(&command) else { panic!() };
    assert_eq!((&user.user.name, user.created_at, user.disabled), (&name, created_at, false));
    w.pass(SECOND_MS);
    for query in [Query::UserByName { key: name.key() }, Query::UserById { user: user.user.id }] {
        let found = user_of(w.read(&query)).unwrap();
        assert_eq!((&found.user, found.created_at, found.disabled), (&user.user, created_at, false));
        assert_eq!(found.password_hash, "$argon2id$…");
    }
    assert!(user_of(w.read(&Query::UserByName { key: "nobody".to_owned() })).is_none());
    assert!(user_of(w.read(&Query::UserById { user: UserId::new(999).unwrap() })).is_none());
    match w.read(&Query::Sessions { user: user.user.id }) {
        Found::Sessions(sessions) => {
            assert_eq!(sessions.len(), 1);
            assert_eq!((sessions[0].id, sessions[0].created_at), (session, created_at));
            assert_eq!((sessions[0].last_used_at, &sessions[0].user_agent), (created_at, &user_agent));
        }
        other => panic!("{other:?}"),
    }
}

pub fn a_name_is_taken_without_case(mut w: World) {
    w.user("Straße");
    let name = username("STRASSE");
    let command = Command::CreateUser { name: name.clone(), password_hash: String::new() };
    assert!(matches!(w.write(&command), Written::NameTaken));
    let command = Command::Register { name, password_hash: String::new(), user_agent: None };
    assert!(matches!(w.write(&command), Written::NameTaken));
    match w.read(&Query::Users { after: None, limit: 10 }) {
        Found::Users(users) => assert_eq!(users.len(), 1),
        other => panic!("{other:?}"),
    }
}

pub fn accounts_are_listed_by_name(mut w: World) {
    for name in ["zoe", "Bert", "anna", "Carl", "ada"] {
        w.user(name);
    }
    let mut collected = Vec::new();
    let mut after = None;
    loop {
        match w.read(&Query::Users { after, limit: 2 }) {
            Found::Users(users) if users.is_empty() => break,
            Found::Users(users) => {
                assert!(users.len() <= 2);
                after = users.last().map(|row| row.user.name.key());
                collected.extend(users.into_iter().map(|row| row.user.name.to_string()));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(collected, ["ada", "anna", "Bert", "Carl", "zoe"]);
}

pub fn a_session_is_opened_for_a_living_account(mut w: World) {
    let (anna, first) = w.register("anna");
    w.pass(SECOND_MS);
    let second = w.open_session(anna.user.id);
    assert_ne!(first, second);
    assert_eq!(living(&mut w, anna.user.id), [second, first]);
    let command = |user| Command::OpenSession { user, user_agent: None, rehashed: None };
    assert!(matches!(w.write(&command(UserId::new(999).unwrap())), Written::Nothing));
    w.ended(&Command::SetDisabled { user: anna.user.id, disabled: true });
    assert!(matches!(w.write(&command(anna.user.id)), Written::Nothing));
    assert!(user_of(w.read(&Query::UserById { user: anna.user.id })).unwrap().disabled);
    assert!(w.ended(&Command::SetDisabled { user: anna.user.id, disabled: false }).is_empty());
    w.open_session(anna.user.id);
}

pub fn a_better_hash_replaces_only_the_one_it_was_made_from(mut w: World) {
    let (anna, _) = w.register("anna");
    let open = |old: &str, new: &str| Command::OpenSession {
        user: anna.user.id,
        user_agent: None,
        rehashed: Some((old.to_owned(), new.to_owned())),
    };
    let hash = |written| match written {
        Written::Session { user, .. } => user.password_hash,
        other => panic!("{other:?}"),
    };
    assert_eq!(hash(w.write(&open("another", "evil"))), "hash");
    assert_eq!(hash(w.write(&open("hash", "better"))), "better");
    assert_eq!(hash(w.write(&open("hash", "late"))), "better");
}

pub fn a_refresh_token_is_replaced_at_each_use(mut w: World) {
    let (anna, session) = w.register("anna");
    for n in 1..=5 {
        w.pass(DAY_MS);
        match refresh(&mut w, session, n) {
            Refreshed::Next { user, counter } => assert_eq!((user.user, counter), (anna.user.clone(), n + 1)),
            other => panic!("{other:?}"),
        }
    }
    match w.read(&Query::Sessions { user: anna.user.id }) {
        Found::Sessions(sessions) => assert_eq!(sessions[0].last_used_at, w.at),
        other => panic!("{other:?}"),
    }
}

pub fn a_predecessor_gets_the_current_token_for_a_while(mut w: World) {
    let (_, session) = w.register("anna");
    assert!(matches!(refresh(&mut w, session, 1), Refreshed::Next { counter: 2, .. }));
    for _ in 0..3 {
        w.pass(10 * SECOND_MS);
        assert!(matches!(refresh(&mut w, session, 1), Refreshed::Again { counter: 2, .. }));
    }
    assert!(matches!(refresh(&mut w, session, 2), Refreshed::Next { counter: 3, .. }));
    assert!(matches!(refresh(&mut w, session, 2), Refreshed::Again { counter: 3, .. }));
    // The current one was used meanwhile.
    assert!(matches!(refresh(&mut w, session, 1), Refreshed::Reused { .. }));
}

pub fn an_older_token_ends_the_session(mut w: World) {
    let (anna, session) = w.register("anna");
    let other = w.open_session(anna.user.id);
    refresh(&mut w, session, 1);
    w.pass(30 * SECOND_MS + 1);
    let at = w.at;
    match refresh(&mut w, session, 1) {
        Refreshed::Reused { user } => assert_eq!(user, anna.user.id),
        other => panic!("{other:?}"),
    }
    assert!(matches!(refresh(&mut w, session, 2), Refreshed::Dead));
    assert_eq!(living(&mut w, anna.user.id), [other]);
    assert_eq!(ended_since(&mut w, at), [session]);
}

pub fn a_token_that_never_was_ends_nothing(mut w: World) {
    let (anna, session) = w.register("anna");
    refresh(&mut w, session, 1);
    for counter in [3, 4, u64::MAX] {
        assert!(matches!(refresh(&mut w, session, counter), Refreshed::Dead), "{counter}");
    }
    assert!(matches!(refresh(&mut w, SessionId::new(999).unwrap(), 1), Refreshed::Dead));
    assert_eq!(living(&mut w, anna.user.id), [session]);
    assert!(matches!(refresh(&mut w, session, 2), Refreshed::Next { counter: 3, .. }));
}

pub fn a_refresh_token_dies_after_30_days(mut w: World) {
    let (anna, session) = w.register("anna");
    w.pass(30 * DAY_MS - 1);
    assert!(matches!(refresh(&mut w, session, 1), Refreshed::Next { counter: 2, .. }));
    w.pass(30 * DAY_MS - 1);
    assert_eq!(living(&mut w, anna.user.id), [session]);
    w.pass(1);
    assert!(matches!(refresh(&mut w, session, 2), Refreshed::Dead));
    assert!(matches!(refresh(&mut w, session, 1), Refreshed::Dead));
    assert!(living(&mut w, anna.user.id).is_empty());
    assert!(w.ended(&Command::EndSession { session, user: None }).is_empty());
    assert!(w.ended(&Command::EndSessions { user: anna.user.id, except: None }).is_empty());
}

pub fn a_session_is_ended_by_its_user_only(mut w: World) {
    let ((anna, session), (bert, other)) = (w.register("anna"), w.register("bert"));
    let end = |session, user| Command::EndSession { session, user };
    assert!(w.ended(&end(session, Some(bert.user.id))).is_empty());
    assert_eq!(w.ended(&end(session, Some(anna.user.id))), [session]);
    assert!(w.ended(&end(session, Some(anna.user.id))).is_empty(), "only a living one is ended");
    assert_eq!(w.ended(&end(other, None)), [other]);
    assert!(matches!(refresh(&mut w, session, 1), Refreshed::Dead));
}

pub fn the_other_sessions_are_ended(mut w: World) {
    let ((anna, first), (bert, berts)) = (w.register("anna"), w.register("bert"));
    let (second, third) = (w.open_session(anna.user.id), w.open_session(anna.user.id));
    assert_eq!(w.ended(&Command::EndSessions { user: anna.user.id, except: Some(second) }), [first, third]);
    assert_eq!(living(&mut w, anna.user.id), [second]);
    assert_eq!(living(&mut w, bert.user.id), [berts]);
    assert_eq!(w.ended(&Command::EndSessions { user: anna.user.id, except: None }), [second]);
}

pub fn a_new_password_ends_the_other_sessions(mut w: World) {
    let (anna, first) = w.register("anna");
    let second = w.open_session(anna.user.id);
    let command =
        |except| Command::SetPassword { user: anna.user.id, password_hash: "new".to_owned(), except };
    assert_eq!(w.ended(&command(Some(first))), [second]);
    assert_eq!(user_of(w.read(&Query::UserById { user: anna.user.id })).unwrap().password_hash, "new");
    assert_eq!(w.ended(&command(None)), [first]);
}

pub fn disabling_ends_all_sessions(mut w: World) {
    let (anna, first) = w.register("anna");
    let second = w.open_session(anna.user.id);
    assert_eq!(w.ended(&Command::SetDisabled { user: anna.user.id, disabled: true }), [first, second]);
    assert!(matches!(refresh(&mut w, first, 1), Refreshed::Dead));
    assert!(w.ended(&Command::SetDisabled { user: anna.user.id, disabled: true }).is_empty());
}

pub fn ended_sessions_are_told_since_a_time(mut w: World) {
    let (anna, first) = w.register("anna");
    let second = w.open_session(anna.user.id);
    w.pass(SECOND_MS);
    w.ended(&Command::EndSession { session: second, user: None });
    let then = w.at;
    w.pass(SECOND_MS);
    w.ended(&Command::EndSession { session: first, user: None });
    assert_eq!(ended_since(&mut w, then), [first, second]);
    let later = w.at;
    assert_eq!(ended_since(&mut w, later), [first]);
    assert_eq!(ended_since(&mut w, Timestamp::from_ms(later.ms() + 1)), []);
}

pub fn changes_to_nobody_change_nothing(mut w: World) {
    let user = UserId::new(999).unwrap();
    let set = Command::SetPassword { user, password_hash: "x".to_owned(), except: None };
    assert!(matches!(w.write(&set), Written::Nothing));
    assert!(matches!(w.write(&Command::SetDisabled { user, disabled: true }), Written::Nothing));
    assert!(w.ended(&Command::EndSessions { user, except: None }).is_empty());
    assert!(living(&mut w, user).is_empty());
}

pub fn the_store_is_alive(mut w: World) {
    assert!(matches!(w.read(&Query::Alive), Found::Alive));
    assert!(matches!(w.fixture.reader().read(&Query::Alive, w.at), Ok(Found::Alive)));
}
