//! The reasons why a history cannot be judged.

use super::model::Model;

/// Why a history cannot be judged. It has neither passed nor failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unusable {
    /// The indices do not increase.
    #[error("line {line}: its index is not greater than that of the line before")]
    Order {
        /// The line, counted from 1.
        line: usize,
    },
    /// An operation that no model knows.
    #[error("line {line}: no model knows the operation {name}")]
    UnknownOperation {
        /// The line, counted from 1.
        line: usize,
        /// The name of the operation.
        name: Box<str>,
    },
    /// A level that does not say how many replicas were asked.
    #[error(
        "line {line}: {level:?} does not say how many replicas were asked; record a level that CL accepts, but not DEFAULT, or none for QUORUM"
    )]
    UnknownLevel {
        /// The line, counted from 1.
        line: usize,
        /// The level in the history.
        level: Box<str>,
    },
    /// An increment without a number.
    #[error("line {line}: an increment must be a 64-bit integer, not {value}")]
    NoIncrement {
        /// The line, counted from 1.
        line: usize,
        /// The value in the history.
        value: Box<str>,
    },
    /// A request to hold something does not say how.
    #[error("key {key}: an acquire takes {{ttl, shared, permits, of}}: {cause}")]
    BadTerms {
        /// The key.
        key: Box<str>,
        /// What is wrong with its value.
        cause: Box<str>,
    },
    /// A process began an operation before its previous one had ended.
    #[error("line {line}: the process already has an operation under way")]
    TwoAtOnce {
        /// The line, counted from 1.
        line: usize,
    },
    /// An operation ended that had not begun.
    #[error("line {line}: the process has not begun this operation")]
    NotBegun {
        /// The line, counted from 1.
        line: usize,
    },
    /// A key is used as two kinds of data.
    #[error("key {key} is used as a {one} and as a {other}")]
    Mixed {
        /// The key.
        key: Box<str>,
        /// One kind.
        one: Model,
        /// The other kind.
        other: Model,
    },
    /// The history shows too little.
    #[error("too little to judge: {found} {what}, at least {least} are needed")]
    TooLittle {
        /// What there is too little of.
        what: &'static str,
        /// How much there is.
        found: usize,
        /// How much is required.
        least: usize,
    },
    /// The search for an order was given up.
    #[error(
        "key {key} has too many concurrent operations to find an order for them: spread them over more keys"
    )]
    TooHard {
        /// The key.
        key: Box<str>,
    },
}
