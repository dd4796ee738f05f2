//! The document engine built on automerge.

use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use automerge::transaction::{CommitOptions, Transactable};
use automerge::{
    ActorId, AutoCommit, AutomergeError, ObjId, ObjType, Prop, ROOT, ReadDoc, ScalarValue,
    Value as Item,
};
use serde_json::{Map, Value};

use super::change::{Change, ChangeHash};
use super::engine::{DocumentError, Engine, Step, Write};

/// The engine built on [automerge](https://automerge.org) (Kleppmann & Beresford, "A conflict-free
/// replicated JSON datatype", arXiv 1608.03960). It takes changes in batches: one by one they would
/// cost about 75 times as much.
#[derive(Clone, Default, Debug)]
pub struct Automerge(AutoCommit);

fn refused(error: &AutomergeError) -> DocumentError {
    DocumentError::Refused(error.to_string())
}

fn prop(step: Step<'_>) -> Prop {
    match step {
        Step::Key(key) => Prop::Map(key.to_owned()),
        Step::Index(index) => Prop::Seq(index),
    }
}

impl Engine for Automerge {
    fn apply_changes(&mut self, changes: &[Arc<Change>]) -> Result<(), DocumentError> {
        let mut read = Vec::with_capacity(changes.len());
        for change in changes {
            let change = automerge::Change::from_bytes(change.chunk())
                .map_err(|error| DocumentError::Refused(error.to_string()))?;
            read.push(change);
        }
        self.0.apply_changes(read).map_err(|error| refused(&error))
    }

    fn has(&self, change: ChangeHash) -> bool {
        self.0
            .get_change_by_hash(&automerge::ChangeHash(change.0))
            .is_some()
    }

    fn view(&self, path: &[Step<'_>], depth: usize) -> Result<Option<Value>, DocumentError> {
        let Some((last, parents)) = path.split_last() else {
            return self.object(&ROOT, ObjType::Map, depth).map(Some);
        };
        let Ok((parent, kind)) = self.walk(parents) else {
            return Ok(None);
        };
        if !fits(*last, kind) {
            return Ok(None);
        }
        match self.0.get(&parent, prop(*last)) {
            Ok(Some((item, id))) => self.json(&item, &id, depth).map(Some),
            Ok(None) => Ok(None),
            Err(error) => Err(refused(&error)),
        }
    }

    fn compact(&mut self) -> Vec<u8> {
        self.0.save()
    }

    fn write(
        &mut self,
        actor: [u8; 16],
        path: &[Step<'_>],
        write: &Write<'_>,
    ) -> Result<(), DocumentError> {
        let actor = ActorId::from(&actor[..]);
        if *self.0.get_actor() != actor {
            self.0.set_actor(actor);
        }
        if let Write::Splice { at, delete, insert } = *write {
            return self.splice(path, at, delete, insert);
        }
        let (&last, parents) = path.split_last().ok_or(DocumentError::OtherType(0))?;
        let here = parents.len();
        let (parent, kind) = self.walk(parents)?;
        if !fits(last, kind) {
            return Err(DocumentError::OtherType(here));
        }
        let there = self
            .0
            .get(&parent, prop(last))
            .map_err(|error| refused(&error))?
            .map(|(item, _)| item.is_counter());
        match (write, last, there) {
            (Write::Insert(value), Step::Index(at), _) if at <= self.0.length(&parent) => {
                self.insert(&parent, at, value)
            }
            (Write::Insert(_), Step::Key(_), _) => Err(DocumentError::OtherType(here)),
            (Write::Put(_) | Write::Text(_) | Write::Counter(_), Step::Key(_), _)
            | (_, _, Some(_)) => self.overwrite(&parent, last, write, there == Some(true), here),
            _ => Err(DocumentError::Missing(here)),
        }
    }

    fn pending(&self) -> u64 {
        self.0.pending_ops() as u64
    }

    fn commit(&mut self) -> Option<Vec<u8>> {
        if self.0.pending_ops() == 0 {
            return None;
        }
        let hash = self.0.commit_with(CommitOptions::default().with_time(0))?;
        self.0
            .get_change_by_hash(&hash)
            .map(|change| change.raw_bytes().to_vec())
    }
}

/// Whether this step can be taken from an object of this kind.
fn fits(step: Step<'_>, kind: ObjType) -> bool {
    match step {
        Step::Key(_) => matches!(kind, ObjType::Map | ObjType::Table),
        Step::Index(_) => kind == ObjType::List,
    }
}

impl Automerge {
    /// The object at the end of the path.
    fn walk(&self, path: &[Step<'_>]) -> Result<(ObjId, ObjType), DocumentError> {
        let (mut object, mut kind) = (ROOT, ObjType::Map);
        for (at, &step) in path.iter().enumerate() {
            if !fits(step, kind) {
                return Err(DocumentError::OtherType(at));
            }
            (object, kind) = match self
                .0
                .get(&object, prop(step))
                .map_err(|error| refused(&error))?
            {
                Some((Item::Object(kind), id)) => (id, kind),
                Some(_) => return Err(DocumentError::OtherType(at)),
                None => return Err(DocumentError::Missing(at)),
            };
        }
        Ok((object, kind))
    }

    fn overwrite(
        &mut self,
        parent: &ObjId,
        last: Step<'_>,
        write: &Write<'_>,
        counts: bool,
        here: usize,
    ) -> Result<(), DocumentError> {
        let last = prop(last);
        match write {
            Write::Put(value) => match kind_of(value) {
                None => self
                    .0
                    .put(parent, last, scalar(value))
                    .map_err(|error| refused(&error)),
                Some(kind) => {
                    let object = self
                        .0
                        .put_object(parent, last, kind)
                        .map_err(|error| refused(&error))?;
                    self.fill(&object, value)
                }
            },
            Write::Text(text) => {
                let object = self
                    .0
                    .put_object(parent, last, ObjType::Text)
                    .map_err(|error| refused(&error))?;
                self.0
                    .splice_text(&object, 0, 0, text)
                    .map_err(|error| refused(&error))
            }
            Write::Counter(start) => self
                .0
                .put(parent, last, ScalarValue::counter(*start))
                .map_err(|error| refused(&error)),
            Write::Delete => self.0.delete(parent, last).map_err(|error| refused(&error)),
            Write::Increment(by) if counts => self
                .0
                .increment(parent, last, *by)
                .map_err(|error| refused(&error)),
            Write::Increment(_) | Write::Insert(_) | Write::Splice { .. } => {
                Err(DocumentError::OtherType(here))
            }
        }
    }

    fn splice(
        &mut self,
        path: &[Step<'_>],
        at: usize,
        delete: usize,
        insert: &str,
    ) -> Result<(), DocumentError> {
        let here = path.len().saturating_sub(1);
        let (text, kind) = self.walk(path)?;
        if kind != ObjType::Text {
            return Err(DocumentError::OtherType(here));
        }
        let length = self.0.length(&text);
        if at.checked_add(delete).is_none_or(|end| end > length) {
            return Err(DocumentError::Missing(path.len()));
        }
        self.0
            .splice_text(&text, at, delete.cast_signed(), insert)
            .map_err(|error| refused(&error))
    }

    fn insert(&mut self, list: &ObjId, at: usize, value: &Value) -> Result<(), DocumentError> {
        match kind_of(value) {
            None => self
                .0
                .insert(list, at, scalar(value))
                .map_err(|error| refused(&error)),
            Some(kind) => {
                let object = self
                    .0
                    .insert_object(list, at, kind)
                    .map_err(|error| refused(&error))?;
                self.fill(&object, value)
            }
        }
    }

    /// Puts the contents of a value into a new object. The caller has checked the depth.
    fn fill(&mut self, object: &ObjId, value: &Value) -> Result<(), DocumentError> {
        if let Value::Array(items) = value {
            for (at, item) in items.iter().enumerate() {
                self.insert(object, at, item)?;
            }
        }
        if let Value::Object(entries) = value {
            for (key, item) in entries {
                match kind_of(item) {
                    None => self
                        .0
                        .put(object, key.as_str(), scalar(item))
                        .map_err(|error| refused(&error))?,
                    Some(kind) => {
                        let inner = self
                            .0
                            .put_object(object, key.as_str(), kind)
                            .map_err(|error| refused(&error))?;
                        self.fill(&inner, item)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn object(&self, object: &ObjId, kind: ObjType, depth: usize) -> Result<Value, DocumentError> {
        match kind {
            ObjType::Text => self
                .0
                .text(object)
                .map(Value::String)
                .map_err(|error| refused(&error)),
            ObjType::List => {
                let items = self.0.list_range(object, ..).map(|item| {
                    let id = item.id();
                    self.json(&item.value.into_value(), &id, depth)
                });
                items.collect::<Result<_, _>>().map(Value::Array)
            }
            ObjType::Map | ObjType::Table => {
                let entries = self.0.map_range(object, ..);
                let entries = entries.map(|entry| {
                    let (key, id) = (entry.key.to_string(), entry.id());
                    Ok((key, self.json(&entry.value.into_value(), &id, depth)?))
                });
                entries
                    .collect::<Result<Map<String, Value>, _>>()
                    .map(Value::Object)
            }
        }
    }

    fn json(&self, item: &Item<'_>, id: &ObjId, depth: usize) -> Result<Value, DocumentError> {
        let scalar = match item {
            Item::Object(kind) => {
                let depth = depth.checked_sub(1).ok_or(DocumentError::TooDeep {
                    limit: super::engine::DEPTH,
                })?;
                return self.object(id, *kind, depth);
            }
            Item::Scalar(scalar) => scalar.as_ref(),
        };
        Ok(match scalar {
            ScalarValue::Str(text) => Value::from(text.as_str()),
            ScalarValue::Int(number) | ScalarValue::Timestamp(number) => Value::from(*number),
            ScalarValue::Uint(number) => Value::from(*number),
            ScalarValue::F64(number) => Value::from(*number),
            ScalarValue::Counter(counter) => Value::from(i64::from(counter)),
            ScalarValue::Boolean(truth) => Value::from(*truth),
            ScalarValue::Bytes(bytes) => Value::from(bytes.as_slice()),
            ScalarValue::Unknown { .. } | ScalarValue::Null => Value::Null,
        })
    }
}

fn kind_of(value: &Value) -> Option<ObjType> {
    match value {
        Value::Array(_) => Some(ObjType::List),
        Value::Object(_) => Some(ObjType::Map),
        _ => None,
    }
}

fn scalar(value: &Value) -> ScalarValue {
    match value {
        Value::Bool(truth) => ScalarValue::Boolean(*truth),
        Value::String(text) => ScalarValue::Str(text.as_str().into()),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(number), _, _) => ScalarValue::Int(number),
            (_, Some(number), _) => ScalarValue::Uint(number),
            (_, _, number) => number.map_or(ScalarValue::Null, ScalarValue::F64),
        },
        Value::Null | Value::Array(_) | Value::Object(_) => ScalarValue::Null,
    }
}
