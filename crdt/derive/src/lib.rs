//! The derive macro `Crdt`, which `quorate-crdt` re-exports.

mod generate;
mod schema;

use proc_macro::TokenStream;
use syn::DeriveInput;

/// Makes a replicated type from a struct. The documentation, with examples, is at the re-export in
/// `quorate-crdt`.
#[proc_macro_derive(Crdt, attributes(crdt))]
pub fn derive_crdt(input: TokenStream) -> TokenStream {
    let input = syn::parse_macro_input!(input as DeriveInput);
    match schema::Schema::parse(input) {
        Ok(schema) => generate::generate(&schema).into(),
        Err(error) => error.into_compile_error().into(),
    }
}
