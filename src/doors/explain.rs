//! The document behind `quorate explain`: where a key lies, and what every replica holds of it.

use std::fmt::{self, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::table::Table;

#[cfg(test)]
mod tests;

/// A key, its placement, and its replicas.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The keyspace.
    pub keyspace: String,
    /// The key.
    pub key: Printable,
    /// Its partition.
    pub partition: u16,
    /// The epoch at which the placement of the partition last changed.
    pub epoch: u64,
    /// The nodes that the partition is on its way to; empty if it does not move.
    pub moving_to: Vec<String>,
    /// Every node that keeps a copy, in the order of preference.
    pub replicas: Vec<Holding>,
    /// Whether all of them answered and hold the same of this key.
    pub equal: bool,
}

/// Bytes in a document: themselves if they are text, otherwise base64.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Printable {
    /// They are UTF-8.
    Text(String),
    /// They are not.
    Base64(String),
}

/// What one node holds of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    /// The node.
    pub node: String,
    /// Its replica; `None` if it did not answer or has none.
    pub replica: Option<HeldKey>,
    /// Whether it answered.
    pub answered: bool,
}

/// A key in one replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldKey {
    /// The id under which the replica writes: `node.incarnation`.
    pub id: String,
    /// Whether it is being filled, and not read.
    pub filling: bool,
    /// Whether its word alone does not count.
    pub quarantined: bool,
    /// Hash of the key's live rows, 32 hexadecimal digits.
    pub digest: String,
    /// When the key expires, in milliseconds since 1970.
    pub expires: Option<u64>,
    /// How many live rows the key has.
    pub row_count: u64,
    /// The first hundred of them.
    pub rows: Vec<HeldRow>,
    /// What the replica has seen of the whole partition: `node.incarnation` and `1..7`, or
    /// `1..7, up to 9` if some between are missing.
    pub context: Vec<(String, String)>,
}

/// A live row of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldRow {
    /// `string`, `hash`, `set`, `expiry` or `request`.
    pub kind: String,
    /// The field or element; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<Printable>,
    /// Its live entries. Several are concurrent values, or the shares of a counter.
    pub entries: Vec<HeldEntry>,
}

/// A live entry of a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldEntry {
    /// The event that made it: `node.incarnation#counter`.
    pub dot: String,
    /// What it is: `value`, `count`, `member`, `expiry` or `request`; under a fencing token also
    /// `gone`, or `collection` where the key's string would be.
    pub what: String,
    /// The value, at most its first 256 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Printable>,
    /// The length of the whole value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_bytes: Option<u64>,
    /// What a share of a counter adds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<String>,
    /// Its stamp, in milliseconds since 1970: of concurrent values, the latest is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stamp: Option<u64>,
    /// The fencing token under which it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<u64>,
    /// When the key expires as far as this entry says, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
}

impl Printable {
    /// These bytes.
    pub fn of(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_not_text) => Self::Base64(STANDARD.encode(bytes)),
        }
    }
}

impl fmt::Display for Printable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(&text.escape_debug().to_string()),
            Self::Base64(text) => write!(f, "base64:{text}"),
        }
    }
}

/// The form for people: where the key lies, then a line for every entry of every replica.
impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes: Vec<&str> = self.replicas.iter().map(|held| &*held.node).collect();
        writeln!(f, "key        {} in {}", self.key, self.keyspace)?;
        writeln!(
            f,
            "partition  {}, placed at epoch {}",
            self.partition, self.epoch
        )?;
        writeln!(f, "replicas   {}", nodes.join(", "))?;
        if !self.moving_to.is_empty() {
            writeln!(f, "moving to  {}", self.moving_to.join(", "))?;
        }
        writeln!(f, "equal      {}", if self.equal { "yes" } else { "no" })?;
        for holding in &self.replicas {
            writeln!(f)?;
            match &holding.replica {
                None if !holding.answered => writeln!(f, "{}: does not answer", holding.node)?,
                None => writeln!(f, "{}: has no replica of the partition", holding.node)?,
                Some(held) => write!(f, "{}: {held}", holding.node)?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for HeldKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut state = String::new();
        for (is_so, text) in [
            (self.filling, ", being filled"),
            (self.quarantined, ", in quarantine"),
        ] {
            state.push_str(if is_so { text } else { "" });
        }
        if let Some(at) = self.expires {
            write!(state, ", expires at {at}")?;
        }
        writeln!(f, "replica {}, {} rows{state}", self.id, self.row_count)?;
        let mut table = Table::new(["  ROW", "FIELD", "DOT", "STAMP", "WHAT", "VALUE"]);
        for row in &self.rows {
            let field = row.field.as_ref().map(Printable::to_string);
            for entry in &row.entries {
                let stamp = entry.stamp.map(|stamp| stamp.to_string());
                table.push([
                    format!("  {}", row.kind),
                    field.clone().unwrap_or_default(),
                    entry.dot.clone(),
                    stamp.unwrap_or_default(),
                    entry.what.clone(),
                    entry.shown(),
                ]);
            }
        }
        if !self.rows.is_empty() {
            write!(f, "{table}")?;
        }
        let seen: Vec<String> = self
            .context
            .iter()
            .map(|(replica, events)| format!("{replica}: {events}"))
            .collect();
        writeln!(f, "  context  {}", seen.join("; "))
    }
}

impl HeldEntry {
    fn shown(&self) -> String {
        let value = self.value.as_ref().map(Printable::to_string);
        let value = value.or_else(|| self.count.clone()).unwrap_or_default();
        match self.expires {
            Some(at) => format!("{value} (expires at {at})"),
            None => value,
        }
    }
}
