//! `#[derive(Crdt)]` of `quorate-crdt`, which re-exports it.

mod generate;
mod schema;

use proc_macro::TokenStream;
use syn::DeriveInput;

/// Makes a replicated type of a struct. The documentation, with examples, is where `quorate-crdt`
/// re-exports it.
#[proc_macro_derive(Crdt, attributes(crdt))]
pub fn derive_crdt(input: TokenStream) -> TokenStream {
    let input = syn::parse_macro_input!(input as DeriveInput);
    match schema::Schema::parse(input) {
        Ok(schema) => generate::generate(&schema).into(),
        Err(error) => error.into_compile_error().into(),
    }
}
