//! Bugs put back on purpose, to show that a check finds them.
//!
//! Every rule of the data plane has a switch at the place where the rule is upheld; turned on, it
//! breaks the rule. `plant` turns one on for the current thread. `quorate sim --planted` does so
//! for each in turn and names the check that found it. Without the feature `planted-bugs`, no
//! switch can be turned on, and the compiler removes them all.
//!
//! ```
//! quorate_crdt::bugs! {
//!     /// Merging forgets the right-hand side.
//!     FORGETFUL_MERGE = "forgetful-merge": "a merge keeps only what it had";
//! }
//! assert!(!FORGETFUL_MERGE.is_planted());
//! assert_eq!(ALL[0].name, "forgetful-merge");
//! ```

/// A bug that can be planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bug {
    /// The name on the command line.
    pub name: &'static str,
    /// What goes wrong, as one clause.
    pub breaks: &'static str,
}

#[cfg(feature = "planted-bugs")]
std::thread_local! {
    static PLANTED: std::cell::Cell<Option<&'static str>> = const { std::cell::Cell::new(None) };
}

impl Bug {
    /// Whether this bug is active on the current thread. Always false without the feature
    /// `planted-bugs`.
    #[inline(always)]
    #[allow(
        clippy::inline_always,
        reason = "without the feature nothing of the switch may be left"
    )]
    pub fn is_planted(&self) -> bool {
        #[cfg(feature = "planted-bugs")]
        return PLANTED.get() == Some(self.name);
        #[cfg(not(feature = "planted-bugs"))]
        false
    }
}

/// Activates a bug on the current thread, or none, and returns the name of the one that was active
/// before.
#[cfg(feature = "planted-bugs")]
pub fn plant(bug: Option<&Bug>) -> Option<&'static str> {
    PLANTED.replace(bug.map(|bug| bug.name))
}

/// Declares the bugs of a module: a constant for each, and `ALL`.
#[macro_export]
macro_rules! bugs {
    ($($(#[$doc:meta])* $bug:ident = $name:literal : $breaks:literal;)*) => {
        $(
            $(#[$doc])*
            pub const $bug: $crate::planted::Bug = $crate::planted::Bug {
                name: $name,
                breaks: $breaks,
            };
        )*
        /// Every bug declared in this module.
        pub const ALL: &[$crate::planted::Bug] = &[$($bug),*];
    };
}
