//! The state of a daemon for serde, with the names and units of `status --json`.

#![forbid(unsafe_code)]

use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::{Details, Field, Status, Value};

/// As `status --json` has it, without the name: `cpu_percent`, `memory_percent`, `pid`, `status`
/// (which is [`Status::state`]) and `uptime` in seconds.
impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { pid, state, uptime, cpu_percent, memory_percent } = self;
        let mut fields = serializer.serialize_struct("Status", 5)?;
        fields.serialize_field("cpu_percent", cpu_percent)?;
        fields.serialize_field("memory_percent", memory_percent)?;
        fields.serialize_field("pid", &pid.get())?;
        fields.serialize_field("status", state)?;
        fields.serialize_field("uptime", &uptime.as_secs_f64())?;
        fields.end()
    }
}

/// A map, in the order of the fields' names.
impl Serialize for Details {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self)
    }
}

/// Its name.
impl Serialize for Field {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// The value itself, without a tag.
impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_none(),
            Self::Integer(number) => serializer.serialize_i64(*number),
            Self::Float(number) => serializer.serialize_f64(*number),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(items) => serializer.collect_seq(items),
            Self::Map(pairs) => serializer.collect_map(pairs),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::sys::process::Pid;

    fn json(value: &impl Serialize) -> String {
        serde_json::to_string(value).unwrap()
    }

    #[test]
    fn values_are_themselves() {
        let items = vec![Value::Null, Value::Integer(-1), Value::Float(0.5), "x\"".into()];
        let map = BTreeMap::from([("a".to_owned(), Value::List(items))]);
        assert_eq!(json(&Value::Map(map)), r#"{"a":[null,-1,0.5,"x\""]}"#);
    }

    #[test]
    fn details_are_a_map_by_name() {
        let fields = [(Field::Uptime, Value::Float(1.0)), (Field::Pid, Value::Integer(3))];
        assert_eq!(json(&Details(BTreeMap::from(fields))), r#"{"pid":3,"uptime":1.0}"#);
    }

    #[test]
    fn a_status_has_the_names_of_the_command_line() {
        let status = Status {
            pid: Pid::new(3).unwrap(),
            state: "sleeping",
            uptime: Duration::from_millis(1500),
            cpu_percent: 0.25,
            memory_percent: 0.5,
        };
        let expected =
            r#"{"cpu_percent":0.25,"memory_percent":0.5,"pid":3,"status":"sleeping","uptime":1.5}"#;
        assert_eq!(json(&status), expected);
    }
}
