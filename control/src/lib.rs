//! Quorate control.
