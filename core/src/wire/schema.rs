//! The JSON Schemas of all that crosses the wire, for the OpenAPI and the AsyncAPI document.
//!
//! They are made from the types themselves, and set right in one point: where a field may be missing, the derived schema
//! also allows `null`, which the contract never does.

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

use super::{
    AccountBody, ClientFrame, ErrorCode, EventsBody, FieldError, HealthBody, LoginBody, MessageBody,
    MessagesBody, NewContent, NewMessage, NewRoom, OnlineBody, PasswordBody, Problem, RefreshBody,
    RegisterBody, RoomBody, RoomsBody, ServerFrame, SessionsBody, TokensBody,
};

/// Every schema by its name, with all that it refers to, as they stand under `components/schemas`.
pub fn schemas() -> BTreeMap<String, Value> {
    let mut found = Vec::new();
    add::<ClientFrame<'_>>(&mut found);
    add::<ServerFrame<'_>>(&mut found);
    add::<ErrorCode>(&mut found);
    add::<Problem<'_>>(&mut found);
    add::<FieldError>(&mut found);
    add::<RegisterBody>(&mut found);
    add::<LoginBody>(&mut found);
    add::<RefreshBody>(&mut found);
    add::<PasswordBody>(&mut found);
    add::<NewRoom>(&mut found);
    add::<NewMessage>(&mut found);
    add::<NewContent>(&mut found);
    add::<AccountBody<'_>>(&mut found);
    add::<TokensBody<'_>>(&mut found);
    add::<SessionsBody<'_>>(&mut found);
    add::<RoomBody<'_>>(&mut found);
    add::<RoomsBody<'_>>(&mut found);
    add::<MessageBody<'_>>(&mut found);
    add::<MessagesBody<'_>>(&mut found);
    add::<EventsBody<'_>>(&mut found);
    add::<OnlineBody<'_>>(&mut found);
    add::<HealthBody<'_>>(&mut found);
    found
        .into_iter()
        .map(|(name, schema)| {
            let mut value = serde_json::to_value(schema).expect("a schema is JSON");
            forbid_null(&mut value);
            (name, value)
        })
        .collect()
}

fn add<T: ToSchema>(found: &mut Vec<(String, RefOr<Schema>)>) {
    T::schemas(found);
    found.push((T::name().into_owned(), T::schema()));
}

/// Takes `null` out of every place where a value may be.
fn forbid_null(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::Array(choices)) = object.get_mut("oneOf") {
                choices.retain(|choice| choice.get("type") != Some(&Value::from("null")));
                // A choice of one is that one, whose own description says more.
                if let [only] = choices.as_mut_slice() {
                    *schema = only.take();
                    return forbid_null(schema);
                }
            }
            if let Some(types) = object.get_mut("type")
                && let Value::Array(names) = types
            {
                names.retain(|name| name != "null");
                if let [only] = names.as_mut_slice() {
                    *types = only.take();
                }
            }
            object.values_mut().for_each(forbid_null);
        }
        Value::Array(items) => items.iter_mut().for_each(forbid_null),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(object) => {
                if let Some(Value::String(name)) = object.get("$ref") {
                    found.push(name.clone());
                }
                object.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere_and_nothing_may_be_null() {
        let schemas = schemas();
        for (name, schema) in &schemas {
            let mut found = Vec::new();
            references(schema, &mut found);
            for reference in found {
                let target = reference.strip_prefix("#/components/schemas/").expect("a local reference");
                assert!(schemas.contains_key(target), "{name} refers to {target}");
            }
            assert!(!schema.to_string().contains("\"null\""), "{name}: {schema}");
        }
        for name in ["ClientFrame", "ServerFrame", "Problem", "User", "RoomId", "Content", "Want"] {
            assert!(schemas.contains_key(name), "{name}");
        }
    }

    #[test]
    fn what_may_be_left_out_is_not_required() {
        let schemas = schemas();
        let required = |name: &str| schemas[name]["required"].clone();
        assert_eq!(required("RegisterBody"), serde_json::json!(["username", "password"]));
        assert_eq!(required("RefreshBody"), Value::Null);
        assert_eq!(required("NewRoom"), serde_json::json!(["name"]));
        assert_eq!(required("MessageBody"), serde_json::json!(["room_id", "seq", "user", "created_at"]));
        assert_eq!(required("Problem"), serde_json::json!(["type", "title", "status", "code", "request_id"]));
    }
}
