//! Parses and checks the input of the derive: the struct and its attributes.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::meta::ParseNestedMeta;
use syn::spanned::Spanned;
use syn::{
    Attribute, Data, DeriveInput, Error, Field, Fields, GenericParam, Generics, Ident, LitInt,
    LitStr, Path, Result, Type, Visibility,
};

/// A struct with `#[derive(Crdt)]`.
pub(crate) struct Schema {
    pub(crate) name: Ident,
    pub(crate) visibility: Visibility,
    pub(crate) docs: Vec<Attribute>,
    pub(crate) generics: Generics,
    /// Whether its state can be a value in a map.
    pub(crate) causal: bool,
    /// The path under which the generated code finds the library.
    pub(crate) library: Path,
    pub(crate) fields: Vec<Part>,
}

/// A field of the struct.
pub(crate) struct Part {
    pub(crate) name: Ident,
    pub(crate) docs: Vec<Attribute>,
    pub(crate) plain: Type,
    pub(crate) kind: Kind,
    pub(crate) id: u64,
}

/// Which replicated type stands for a field.
pub(crate) enum Kind {
    /// The one that the field's own type names.
    Schema,
    /// A type of the library over the field's type.
    Over(&'static str),
    /// Another type, as given.
    With(Box<Type>),
    /// None: the field is not replicated.
    Skip,
}

impl Schema {
    pub(crate) fn parse(input: DeriveInput) -> Result<Self> {
        let Data::Struct(data) = input.data else {
            return Err(Error::new(
                input.ident.span(),
                "only structs can be derived: keep an enum or a union in a field with `#[crdt(lww)]` (`LwwRegister`) or `#[crdt(mv)]` (`MvRegister`)",
            ));
        };
        let Fields::Named(named) = data.fields else {
            return Err(Error::new(
                input.ident.span(),
                "only structs with named fields can be derived: name the fields, or keep the whole in a field with `#[crdt(lww)]` (`LwwRegister`) or `#[crdt(mv)]` (`MvRegister`)",
            ));
        };
        if let Some(lifetime) = input.generics.lifetimes().next() {
            return Err(Error::new(
                lifetime.span(),
                "a replicated value owns its data: no lifetimes",
            ));
        }
        let (causal, library) = struct_options(&input.attrs)?;
        let fields = named
            .named
            .into_iter()
            .zip(1..)
            .map(|(field, position)| Part::parse(field, position))
            .collect::<Result<Vec<_>>>()?;
        if fields.iter().all(|field| matches!(field.kind, Kind::Skip)) {
            return Err(Error::new(input.ident.span(), "no field is replicated"));
        }
        let schema = Self {
            name: input.ident,
            visibility: input.vis,
            docs: docs(&input.attrs),
            generics: input.generics,
            causal,
            library,
            fields,
        };
        schema.check_ids()?;
        Ok(schema)
    }

    /// The replicated fields, ascending by number, which is the order of the encoding.
    pub(crate) fn replicated(&self) -> Vec<&Part> {
        let mut fields: Vec<&Part> = self
            .fields
            .iter()
            .filter(|field| !matches!(field.kind, Kind::Skip))
            .collect();
        fields.sort_by_key(|field| field.id);
        fields
    }

    pub(crate) fn skipped(&self) -> impl Iterator<Item = &Part> {
        self.fields
            .iter()
            .filter(|field| matches!(field.kind, Kind::Skip))
    }

    /// The type of the field in the state, with the span of the field's type.
    pub(crate) fn state_of(&self, field: &Part) -> TokenStream {
        let (library, plain) = (&self.library, &field.plain);
        let span = plain.span();
        match &field.kind {
            Kind::Schema => quote_spanned! {span=> <#plain as #library::Schema>::State },
            Kind::Over(over) => {
                let over = Ident::new(over, span);
                quote_spanned! {span=> #library::#over<#plain> }
            }
            Kind::With(other) => other.to_token_stream(),
            Kind::Skip => quote_spanned! {span=> #library::Local<#plain> },
        }
    }

    /// The type parameters, for code that must mention all of them.
    pub(crate) fn type_parameters(&self) -> Vec<&Ident> {
        self.generics
            .type_params()
            .map(|parameter| &parameter.ident)
            .collect()
    }

    /// The generics with `'a` in front, which all type parameters outlive.
    pub(crate) fn generics_of_edit(&self) -> Generics {
        let mut generics = self.generics.clone();
        let parameters: Vec<Ident> = self.type_parameters().into_iter().cloned().collect();
        generics
            .params
            .insert(0, GenericParam::Lifetime(syn::parse_quote!('a)));
        for parameter in parameters {
            generics
                .make_where_clause()
                .predicates
                .push(syn::parse_quote!(#parameter: 'a));
        }
        generics
    }

    fn check_ids(&self) -> Result<()> {
        for (at, field) in self.fields.iter().enumerate() {
            if let Some(first) = self.fields[..at].iter().find(|other| other.id == field.id) {
                let message = format!(
                    "fields `{}` and `{}` both have the number {}: give one of them a free `#[crdt(id = …)]`",
                    first.name, field.name, field.id
                );
                return Err(Error::new(field.name.span(), message));
            }
        }
        Ok(())
    }
}

impl Part {
    fn parse(field: Field, position: u64) -> Result<Self> {
        let name = field
            .ident
            .ok_or_else(|| Error::new(Span::call_site(), "only named fields"))?;
        let (mut kind, mut id) = (None, None);
        for attribute in crdt_attributes(&field.attrs) {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("id") {
                    return set(&mut id, number(&meta)?, &meta);
                }
                let found = kind_of(&meta)?;
                set(&mut kind, found, &meta)
            })?;
        }
        Ok(Self {
            name,
            docs: docs(&field.attrs),
            plain: field.ty,
            kind: kind.unwrap_or(Kind::Schema),
            id: id.unwrap_or(position),
        })
    }

    /// The documentation of the field, or a stand-in, because the generated fields are public.
    pub(crate) fn docs(&self) -> TokenStream {
        if self.docs.is_empty() {
            let text = format!("The field `{}`.", self.name);
            return quote!(#[doc = #text]);
        }
        let docs = &self.docs;
        quote!(#(#docs)*)
    }
}

fn kind_of(meta: &ParseNestedMeta<'_>) -> Result<Kind> {
    let kinds = [("lww", "LwwRegister"), ("mv", "MvRegister"), ("max", "Max")];
    if let Some((_, over)) = kinds.iter().find(|(name, _)| meta.path.is_ident(name)) {
        return Ok(Kind::Over(over));
    }
    if meta.path.is_ident("skip") {
        return Ok(Kind::Skip);
    }
    if meta.path.is_ident("with") {
        return Ok(Kind::With(Box::new(
            meta.value()?.parse::<LitStr>()?.parse()?,
        )));
    }
    Err(meta.error(
        "unknown option; a field takes `lww`, `mv`, `max`, `skip`, `with = \"Type\"` and `id = N`",
    ))
}

fn number(meta: &ParseNestedMeta<'_>) -> Result<u64> {
    let literal: LitInt = meta.value()?.parse()?;
    let id: u32 = literal.base10_parse()?;
    if id == 0 {
        Err(Error::new(literal.span(), "numbers of fields begin with 1"))
    } else {
        Ok(u64::from(id))
    }
}

fn struct_options(attributes: &[Attribute]) -> Result<(bool, Path)> {
    let (mut causal, mut library) = (None, None);
    for attribute in crdt_attributes(attributes) {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("causal") {
                return set(&mut causal, (), &meta);
            }
            if meta.path.is_ident("crate") {
                let path = meta.value()?.parse::<LitStr>()?.parse()?;
                return set(&mut library, path, &meta);
            }
            Err(meta.error("unknown option; a struct takes `causal` and `crate = \"path\"`"))
        })?;
    }
    Ok((
        causal.is_some(),
        library.unwrap_or_else(|| syn::parse_quote!(::quorate_crdt)),
    ))
}

fn set<T>(option: &mut Option<T>, value: T, meta: &ParseNestedMeta<'_>) -> Result<()> {
    if option.replace(value).is_some() {
        Err(meta.error("given twice, or in conflict with another option"))
    } else {
        Ok(())
    }
}

fn crdt_attributes(attributes: &[Attribute]) -> impl Iterator<Item = &Attribute> {
    attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("crdt"))
}

fn docs(attributes: &[Attribute]) -> Vec<Attribute> {
    attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("doc"))
        .cloned()
        .collect()
}
