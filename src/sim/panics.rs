//! A task of a node that panics ends quietly: its runtime catches it. Here it is a violation.

use std::cell::RefCell;
use std::panic;
use std::sync::Once;

/// What a shard panics with because the plan says so.
struct Planned;

/// Ends the task in which it is called, as a broken invariant would.
pub(super) fn planned() -> ! {
    panic::panic_any(Planned)
}

/// The check that finds them.
pub const PANIC: &str = "panic";

thread_local! {
    static FIRST: RefCell<Option<String>> = const { RefCell::new(None) };
    static WATCHED: RefCell<bool> = const { RefCell::new(false) };
}

/// From now on panics of this thread are kept instead of printed.
pub(super) fn watch() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !WATCHED.with_borrow(|watched| *watched) {
                usual(info);
                return;
            }
            if info.payload().is::<Planned>() {
                return;
            }
            FIRST.with_borrow_mut(|first| {
                first.get_or_insert_with(|| info.to_string());
            });
        }));
    });
    WATCHED.with_borrow_mut(|watched| *watched = true);
}

/// The first panic of this thread since the last call.
pub(super) fn taken() -> Option<String> {
    FIRST.with_borrow_mut(Option::take)
}
