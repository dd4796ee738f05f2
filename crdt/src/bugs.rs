//! The rules of this library that tests break on purpose: see [`planted`](crate::planted).

crate::bugs! {
    /// Decoding accepts bytes in any form that it understands.
    ANY_FORM = "crdt-any-form": "two different sequences of bytes decode to one value";
    /// The bytes do not say which type they are of.
    ANY_TYPE = "crdt-any-type": "the bytes of one type decode as another";
    /// A change to something without dots issues no event.
    SILENT_CHANGE = "crdt-silent-change": "a counter that lost its memory continues under the same id and nobody notices";
    /// Writes that another replica made under this id are merged.
    UNNOTICED_CLONE = "crdt-unnoticed-clone": "two copies with one id diverge without an error";
    /// Stamps are not compared with the clock.
    ANY_STAMP = "crdt-any-stamp": "a wrong clock wins until its time has come";
    /// An answer to a summary does not say which events it is about.
    STALE_ANSWER = "crdt-stale-answer": "what was removed between two summaries stays at one replica";
    /// A merge that removes reports no effect.
    QUIET_REMOVAL = "crdt-quiet-removal": "readers see a change that no effect reports";
    /// The deletion of characters does not include their places.
    PLACELESS_DELETION = "crdt-placeless-deletion": "characters wait for ever for a place that was deleted before it came";
    /// A removed element is forgotten although a replica still holds what its removal had ended.
    EARLY_FORGET = "crdt-early-forget": "an element that was removed comes back";
}
