//! Collects panics. A task of a node that panics ends quietly, because its runtime catches it; here
//! it counts as a violation.

use std::cell::RefCell;
use std::panic;
use std::sync::Once;

/// The payload of a panic that the plan asks for.
struct Planned;

/// Ends the current task as a broken invariant would.
pub(super) fn planned() -> ! {
    panic::panic_any(Planned)
}

/// The check that reports panics.
pub const PANIC: &str = "panic";

thread_local! {
    static FIRST: RefCell<Option<String>> = const { RefCell::new(None) };
    static WATCHED: RefCell<bool> = const { RefCell::new(false) };
}

/// From now on panics on this thread are collected instead of printed.
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

/// The first panic on this thread since the last call.
pub(super) fn taken() -> Option<String> {
    FIRST.with_borrow_mut(Option::take)
}
