//! `#[derive(Crdt)]` of `quorate-crdt`, which re-exports it.

mod generate;
mod schema;

use proc_macro::TokenStream;
use syn::DeriveInput;

/// Makes a replicated type of a struct: its fields merge one by one under one context, and a transaction over several of
/// them is one delta.
///
/// ```
/// use quorate_crdt::{Crdt, NodeId, OrSet, ReplicaId, Replicated};
///
/// #[derive(Crdt)]
/// struct Cart {
///     items: OrSet<String>,
///     #[crdt(lww)]
///     paid: bool,
///     #[crdt(skip)]
///     selected: usize,
/// }
///
/// let mut amy = Replicated::<Cart>::new(ReplicaId::new(NodeId(1), 0));
/// let mut ben = Replicated::<Cart>::new(ReplicaId::new(NodeId(2), 0));
/// let delta = amy.update(|cart, tx| {
///     cart.items.add(tx, "bread".to_owned());
///     cart.paid.set(tx, true);
/// });
/// let effects = ben.merge(&delta)?;
/// assert_eq!(effects.paths(), ["items", "paid"]);
/// assert!(ben.items.contains("bread") && ben.paid.get() == Some(&true));
/// # Ok::<(), quorate_crdt::UnissuedEvents>(())
/// ```
///
/// The struct itself only says what is replicated. For `Cart` the derive makes, with the same visibility:
///
/// | made | is |
/// |---|---|
/// | `CartState` | what is held and merged: implements `Crdt`, and a replica of `Cart` reads like it |
/// | `CartEdit` | what a transaction writes through: a mutator per replicated field, `&mut` per skipped one |
/// | `CartEffects` | what a merge changed, per field; `paths()` names the fields |
/// | `impl Schema for Cart` | so that `Replicated<Cart>`, `OrMap<K, Cart>` and fields of type `Cart` work |
///
/// # Fields
///
/// | attribute | the state has | use it for |
/// |---|---|---|
/// | none | the type itself, or what its own derive made | types of the library, structs with `#[derive(Crdt)]` |
/// | `#[crdt(lww)]` | `LwwRegister<T>` | a plain value; of concurrent writes one stays |
/// | `#[crdt(mv)]` | `MvRegister<T>` | a plain value; concurrent writes stay side by side |
/// | `#[crdt(max)]` | `Max<T>` | a plain value that only grows |
/// | `#[crdt(with = "Type")]` | `Type`, which implements `Crdt` | any other choice |
/// | `#[crdt(skip)]` | `Local<T>` | what each replica has for itself: not merged, not encoded, not compared |
/// | `#[crdt(id = 7)]` | | the number of the field in the encoding; else its position, from 1, skipped fields counted |
///
/// On the struct:
///
/// | attribute | effect |
/// |---|---|
/// | `#[crdt(causal)]` | it can be a value of a map whose keys can be removed; all its fields must consist of dots |
/// | `#[crdt(crate = "path")]` | where the generated code finds the library, if not at `::quorate_crdt` |
///
/// Type parameters are supported, lifetimes are not: a replicated value owns its data.
///
/// # Versions
///
/// A field is known by its number. To add one, append it, or give it a free number; to rename or to move one, keep its
/// number. Never use the number of a removed field again, nor for a field of another type.
///
/// Older versions keep the fields that they do not know, merge them and pass them on, removals included; nothing is lost when
/// replicas of several versions run side by side. What grows meanwhile, at the older replicas: one piece per write to an
/// unknown field without dots (`lww`, `max`, counters that cannot be reset); of others, no more than is alive. Between
/// replicas of different versions equal values need not have equal bytes. What a forger puts into a field that one
/// version does not know is refused only by those that know it.
///
/// # What does not compile
///
/// A plain value that is not marked as one:
/// ```compile_fail,E0277
/// #[derive(quorate_crdt::Crdt)]
/// struct Cart {
///     paid: bool,
/// }
/// ```
/// A value without order where the last writer wins:
/// ```compile_fail,E0277
/// #[derive(quorate_crdt::Crdt)]
/// struct Cart {
///     #[crdt(lww)]
///     price: f64,
/// }
/// ```
/// A part without dots in a struct of dots:
/// ```compile_fail,E0277
/// #[derive(quorate_crdt::Crdt)]
/// #[crdt(causal)]
/// struct Line {
///     #[crdt(lww)]
///     price: u64,
/// }
/// ```
/// A struct that does not say that it consists of dots, in a map:
/// ```compile_fail,E0277
/// # use quorate_crdt::{Crdt, MvRegister, OrMap};
/// #[derive(Crdt)]
/// struct Line {
///     #[crdt(mv)]
///     price: u64,
/// }
///
/// #[derive(Crdt)]
/// struct Cart {
///     lines: OrMap<String, Line>,
/// }
/// ```
/// Two fields of one number; number 0; an option that does not exist, or two that exclude each other:
/// ```compile_fail
/// #[derive(quorate_crdt::Crdt)]
/// struct Cart {
///     #[crdt(lww, id = 2)]
///     paid: bool,
///     #[crdt(lww)]
///     sent: bool,
/// }
/// ```
/// ```compile_fail
/// #[derive(quorate_crdt::Crdt)]
/// struct Cart {
///     #[crdt(lww, id = 0)]
///     paid: bool,
/// }
/// ```
/// ```compile_fail
/// #[derive(quorate_crdt::Crdt)]
/// struct Cart {
///     #[crdt(last_writer_wins)]
///     paid: bool,
/// }
/// ```
/// ```compile_fail
/// #[derive(quorate_crdt::Crdt)]
/// struct Cart {
///     #[crdt(lww, mv)]
///     paid: bool,
/// }
/// ```
/// Anything but a struct with named fields, or one that holds nothing to replicate, or borrows it:
/// ```compile_fail
/// #[derive(quorate_crdt::Crdt)]
/// enum Status {
///     Open,
///     Paid,
/// }
/// ```
/// ```compile_fail
/// #[derive(quorate_crdt::Crdt)]
/// struct Cart(quorate_crdt::OrSet<String>);
/// ```
/// ```compile_fail
/// #[derive(quorate_crdt::Crdt)]
/// struct Cart {
///     #[crdt(skip)]
///     selected: usize,
/// }
/// ```
/// ```compile_fail
/// #[derive(quorate_crdt::Crdt)]
/// struct Cart<'a> {
///     #[crdt(skip)]
///     title: Option<&'a str>,
///     items: quorate_crdt::OrSet<String>,
/// }
/// ```
#[proc_macro_derive(Crdt, attributes(crdt))]
pub fn derive_crdt(input: TokenStream) -> TokenStream {
    let input = syn::parse_macro_input!(input as DeriveInput);
    match schema::Schema::parse(input) {
        Ok(schema) => generate::generate(&schema).into(),
        Err(error) => error.into_compile_error().into(),
    }
}
