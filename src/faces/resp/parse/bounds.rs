//! How large a request may be, and what is said of one that is not allowed.

/// The most arguments of one command. Guess: an eighth of Redis's limit, because each is a request
/// of its own, or a row.
pub const ARGUMENTS_MAX: i64 = 128 * 1024;
/// The most arguments that Redis accepts.
pub(super) const REDIS_ARGUMENTS_MAX: i64 = 1024 * 1024;
/// The longest argument, in bytes: the longest value that the data plane accepts.
pub const ARGUMENT_BYTES_MAX: i64 = 16 * 1024 * 1024;
const _: () =
    assert!(ARGUMENT_BYTES_MAX.unsigned_abs() == quorate_dynamo::op::VALUE_BYTES_MAX as u64);
/// The longest argument that Redis accepts (`proto-max-bulk-len`), in bytes.
pub(super) const REDIS_ARGUMENT_BYTES_MAX: i64 = 512 * 1024 * 1024;
/// The longest request, in bytes, over all its arguments.
pub const REQUEST_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The longest inline request, in bytes. Redis: `PROTO_INLINE_MAX_SIZE`.
pub const INLINE_BYTES_MAX: usize = 64 * 1024;
/// The most arguments before the client has authenticated. Redis: 10.
pub const STRANGER_ARGUMENTS_MAX: i64 = 10;
/// The longest argument before the client has authenticated. Redis: 16384.
pub const STRANGER_ARGUMENT_BYTES_MAX: i64 = 16 * 1024;

/// The bytes are not a request. The texts are Redis's own. The connection cannot be used any
/// further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The number of arguments is not a number, or more than Redis accepts.
    #[error("invalid multibulk length")]
    ArgumentCount,
    /// More arguments than [`ARGUMENTS_MAX`], although Redis would accept them.
    #[error(
        "invalid multibulk length: {arguments} arguments are more than the {ARGUMENTS_MAX} allowed; nothing was applied"
    )]
    TooManyArguments {
        /// As announced.
        arguments: i64,
    },
    /// More arguments than a client may send before it has authenticated.
    #[error("unauthenticated multibulk length")]
    StrangerArgumentCount,
    /// The length of an argument is not a number, or more than Redis accepts.
    #[error("invalid bulk length")]
    ArgumentLength,
    /// An argument longer than [`ARGUMENT_BYTES_MAX`], although Redis would accept it.
    #[error(
        "invalid bulk length: {bytes} bytes is more than the {ARGUMENT_BYTES_MAX} allowed; nothing was applied"
    )]
    ArgumentTooLong {
        /// As announced.
        bytes: i64,
    },
    /// A longer argument than a client may send before it has authenticated.
    #[error("unauthenticated bulk length")]
    StrangerArgumentLength,
    /// Something other than a bulk string: RESP3 aggregates, nested arrays, garbage.
    #[error("expected '$', got '{}'", .byte.escape_ascii())]
    NotBulk {
        /// The byte found instead.
        byte: u8,
    },
    /// A request begins with a type that is not an array.
    #[error("expected '*', got '{}'", .byte.escape_ascii())]
    NotArray {
        /// The byte it begins with.
        byte: u8,
    },
    /// An argument is not followed by CR LF.
    #[error("expected CR LF after the bulk string")]
    Unterminated,
    /// The whole request is longer than [`REQUEST_BYTES_MAX`].
    #[error("too big request")]
    TooBig,
    /// An inline request is longer than [`INLINE_BYTES_MAX`].
    #[error("too big inline request")]
    TooBigInline,
    /// An inline request has a quote without its partner, or text directly after a closing quote.
    #[error("unbalanced quotes in request")]
    Quotes,
}
