//! Generates the types that the derive adds, and their trait implementations.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::Ident;

use crate::schema::Schema;

/// The names that all parts of the generated code share.
struct Names {
    state: Ident,
    edit: Ident,
    effects: Ident,
}

pub(crate) fn generate(schema: &Schema) -> TokenStream {
    let name = &schema.name;
    let names = Names {
        state: format_ident!("{name}State"),
        edit: format_ident!("{name}Edit"),
        effects: format_ident!("{name}Effects"),
    };
    let types = [
        state(schema, &names),
        edit(schema, &names),
        effects(schema, &names),
    ];
    let traits = [
        used(schema),
        value_traits(schema, &names),
        crdt(schema, &names),
        effects_traits(schema, &names),
        causal(schema, &names),
    ];
    quote! {
        #(#types)*
        const _: () = { #(#traits)* };
    }
}

fn state(schema: &Schema, Names { state, .. }: &Names) -> TokenStream {
    let Schema {
        name,
        visibility,
        library,
        generics,
        ..
    } = schema;
    let where_clause = &generics.where_clause;
    let summary = format!("The replicated state of a [`{name}`].");
    let docs = &schema.docs;
    let fields = schema.fields.iter().map(|field| {
        let (docs, name, state) = (field.docs(), &field.name, schema.state_of(field));
        quote!(#docs pub #name: #state)
    });
    quote! {
        #[doc = #summary]
        #[doc = ""]
        #(#docs)*
        #[allow(dead_code, unreachable_pub)]
        #visibility struct #state #generics #where_clause {
            #(#fields,)*
            __unknown: #library::unknown::Unknown,
        }
    }
}

fn edit(schema: &Schema, Names { edit, .. }: &Names) -> TokenStream {
    let Schema {
        name,
        visibility,
        library,
        ..
    } = schema;
    let generics = schema.generics_of_edit();
    let where_clause = &generics.where_clause;
    let summary = format!("A [`{name}`] open for writing: one mutator per field.");
    let replicated = schema.replicated().into_iter().map(|field| {
        let (docs, name, state) = (field.docs(), &field.name, schema.state_of(field));
        quote!(#docs pub #name: <#state as #library::Crdt>::Edit<'a>)
    });
    let skipped = schema.skipped().map(|field| {
        let (docs, name, plain) = (field.docs(), &field.name, &field.plain);
        quote!(#docs pub #name: &'a mut #plain)
    });
    quote! {
        #[doc = #summary]
        #[allow(dead_code, unreachable_pub, missing_debug_implementations)]
        #visibility struct #edit #generics #where_clause {
            #(#replicated,)*
            #(#skipped,)*
        }
    }
}

fn effects(schema: &Schema, Names { effects, .. }: &Names) -> TokenStream {
    let Schema {
        name,
        visibility,
        library,
        generics,
        ..
    } = schema;
    let where_clause = &generics.where_clause;
    let parameters = schema.type_parameters();
    let summary = format!("What a merge changed in a [`{name}`], field by field.");
    let fields = schema.replicated().into_iter().map(|field| {
        let (docs, name, state) = (field.docs(), &field.name, schema.state_of(field));
        quote!(#docs pub #name: <#state as #library::Crdt>::Effects)
    });
    quote! {
        #[doc = #summary]
        #[allow(dead_code, unreachable_pub)]
        #visibility struct #effects #generics #where_clause {
            #(#fields,)*
            __unknown: #library::Changed,
            __of: ::core::marker::PhantomData<fn() -> (#(#parameters,)*)>,
        }
    }
}

/// The struct itself only declares what is replicated. This uses it, so that the compiler does not
/// call it unused.
fn used(schema: &Schema) -> TokenStream {
    let name = &schema.name;
    let (generics, arguments, where_clause) = schema.generics.split_for_impl();
    let fields: Vec<_> = schema.fields.iter().map(|field| &field.name).collect();
    quote! {
        #[allow(dead_code)]
        fn used #generics (schema: #name #arguments) -> #name #arguments #where_clause {
            #name { #(#fields: schema.#fields,)* }
        }
    }
}

fn value_traits(
    schema: &Schema,
    Names {
        state,
        edit,
        effects,
    }: &Names,
) -> TokenStream {
    let Schema { name, library, .. } = schema;
    let (generics, arguments, where_clause) = schema.generics.split_for_impl();
    let fields: Vec<_> = schema.fields.iter().map(|field| &field.name).collect();
    let compared: Vec<_> = schema
        .replicated()
        .into_iter()
        .map(|field| &field.name)
        .collect();
    let [state_name, edit_name, effects_name] = [state, edit, effects].map(Ident::to_string);
    // Whether a field can be printed is uncertain only if it depends on a parameter.
    let mut printed = schema.generics.clone();
    if !schema.type_parameters().is_empty() {
        for field in &schema.fields {
            let state = schema.state_of(field);
            printed
                .make_where_clause()
                .predicates
                .push(syn::parse_quote!(#state: ::core::fmt::Debug));
        }
    }
    let where_printed = &printed.where_clause;
    let edit_parameters = schema.generics_of_edit();
    let (edit_generics, edit_arguments, edit_where) = edit_parameters.split_for_impl();
    quote! {
        impl #generics #library::Schema for #name #arguments #where_clause {
            type State = #state #arguments;
        }

        impl #generics ::core::clone::Clone for #state #arguments #where_clause {
            fn clone(&self) -> Self {
                Self {
                    #(#fields: ::core::clone::Clone::clone(&self.#fields),)*
                    __unknown: ::core::clone::Clone::clone(&self.__unknown),
                }
            }
        }

        impl #generics ::core::default::Default for #state #arguments #where_clause {
            fn default() -> Self {
                Self {
                    #(#fields: ::core::default::Default::default(),)*
                    __unknown: ::core::default::Default::default(),
                }
            }
        }

        impl #generics ::core::cmp::PartialEq for #state #arguments #where_clause {
            fn eq(&self, other: &Self) -> bool {
                #(self.#compared == other.#compared &&)* self.__unknown == other.__unknown
            }
        }

        impl #generics ::core::fmt::Debug for #state #arguments #where_printed {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.debug_struct(#state_name)
                    #(.field(::core::stringify!(#fields), &self.#fields))*
                    .finish_non_exhaustive()
            }
        }

        impl #edit_generics ::core::fmt::Debug for #edit #edit_arguments #edit_where {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.debug_struct(#edit_name).finish_non_exhaustive()
            }
        }

        impl #generics ::core::fmt::Debug for #effects #arguments #where_clause {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.debug_struct(#effects_name)
                    #(.field(::core::stringify!(#compared), &self.#compared))*
                    .finish_non_exhaustive()
            }
        }
    }
}

fn crdt(
    schema: &Schema,
    Names {
        state,
        edit,
        effects,
    }: &Names,
) -> TokenStream {
    let library = &schema.library;
    let (generics, arguments, where_clause) = schema.generics.split_for_impl();
    let edit_parameters = schema.generics_of_edit();
    let (_, edit_arguments, _) = edit_parameters.split_for_impl();
    let replicated: Vec<_> = schema
        .replicated()
        .into_iter()
        .map(|field| &field.name)
        .collect();
    let skipped: Vec<_> = schema.skipped().map(|field| &field.name).collect();
    let (bytes, hooks) = (bytes(schema), hooks(schema));
    quote! {
        impl #generics #library::Crdt for #state #arguments #where_clause {
            type Edit<'a> = #edit #edit_arguments where Self: 'a;
            type Effects = #effects #arguments;

            fn tag(tag: &mut #library::codec::Tag) {
                tag.structure();
            }

            fn is_bottom(&self) -> bool {
                #(#library::Crdt::is_bottom(&self.#replicated) &&)* self.__unknown.is_bottom()
            }

            fn join(&mut self, theirs: &Self, contexts: #library::Contexts<'_>) -> Self::Effects {
                #effects {
                    #(#replicated: #library::Crdt::join(
                        &mut self.#replicated,
                        &theirs.#replicated,
                        contexts,
                    ),)*
                    __unknown: self.__unknown.join(&theirs.__unknown, contexts),
                    __of: ::core::marker::PhantomData,
                }
            }

            fn dots(&self, visit: &mut dyn ::core::ops::FnMut(#library::Dot)) {
                #(#library::Crdt::dots(&self.#replicated, visit);)*
                self.__unknown.dots(visit);
            }

            fn dot_count(&self) -> usize {
                #(#library::Crdt::dot_count(&self.#replicated) +)* self.__unknown.dot_count()
            }

            #hooks

            fn part(
                &self,
                dots: &#library::CausalContext,
                undotted: #library::Undotted<'_>,
            ) -> Self {
                Self {
                    #(#replicated: #library::Crdt::part(&self.#replicated, dots, undotted),)*
                    #(#skipped: ::core::default::Default::default(),)*
                    __unknown: self.__unknown.part(dots, undotted),
                }
            }

            fn edit<'a>(state: &'a mut Self, delta: &'a mut Self) -> Self::Edit<'a> {
                #edit {
                    #(#replicated: #library::Crdt::edit(
                        &mut state.#replicated,
                        &mut delta.#replicated,
                    ),)*
                    #(#skipped: &mut state.#skipped.0,)*
                }
            }

            #bytes
        }
    }
}

/// The hooks that ask each field in turn.
fn hooks(schema: &Schema) -> TokenStream {
    let library = &schema.library;
    let fields: Vec<_> = schema
        .replicated()
        .into_iter()
        .map(|field| &field.name)
        .collect();
    quote! {
        fn has_dot(&self, dot: #library::Dot) -> bool {
            #(#library::Crdt::has_dot(&self.#fields, dot) ||)* self.__unknown.has_dot(dot)
        }

        fn has_undotted(&self) -> bool {
            #(#library::Crdt::has_undotted(&self.#fields) ||)* false
        }

        fn named(&self, replica: #library::ReplicaId) -> u64 {
            let named: &[u64] = &[#(#library::Crdt::named(&self.#fields, replica),)*];
            named.iter().copied().max().unwrap_or(0)
        }

        fn contradicts(&self, theirs: &Self, replica: #library::ReplicaId) -> bool {
            #(#library::Crdt::contradicts(&self.#fields, &theirs.#fields, replica) ||)* false
        }

        #[allow(unused_variables)]
        fn stamps(&self, visit: &mut dyn ::core::ops::FnMut(#library::Stamp)) {
            #(#library::Crdt::stamps(&self.#fields, visit);)*
        }

        fn wants_whole(&self) -> bool {
            #(#library::Crdt::wants_whole(&self.#fields) ||)* self.__unknown.is_crowded()
        }

        fn is_opaque(&self) -> bool {
            #(#library::Crdt::is_opaque(&self.#fields) ||)* !self.__unknown.is_bottom()
        }
    }
}

fn bytes(schema: &Schema) -> TokenStream {
    let Schema {
        library, causal, ..
    } = schema;
    let fields = schema.replicated();
    let (names, ids): (Vec<_>, Vec<_>) = fields
        .into_iter()
        .map(|field| (&field.name, field.id))
        .unzip();
    quote! {
        fn encode(&self, out: &mut #library::codec::Writer) {
            let bottoms = [#(#library::Crdt::is_bottom(&self.#names),)*];
            let known = bottoms.into_iter().filter(|bottom| !bottom).count();
            let mut fields = #library::unknown::FieldWriter::new(out, known, &self.__unknown);
            #(fields.field(#ids, &self.#names);)*
            fields.finish();
        }

        fn decode(
            input: &mut #library::codec::Reader<'_>,
        ) -> ::core::result::Result<Self, #library::codec::DecodeError> {
            let mut state: Self = ::core::default::Default::default();
            let mut fields = #library::unknown::FieldReader::new(input)?;
            while let ::core::option::Option::Some(id) = fields.id()? {
                match id {
                    #(#ids => state.#names = fields.known()?,)*
                    _ => fields.unknown(&mut state.__unknown, #causal)?,
                }
            }
            ::core::result::Result::Ok(state)
        }
    }
}

fn effects_traits(schema: &Schema, Names { effects, .. }: &Names) -> TokenStream {
    let library = &schema.library;
    let (generics, arguments, where_clause) = schema.generics.split_for_impl();
    let names: Vec<_> = schema
        .replicated()
        .into_iter()
        .map(|field| &field.name)
        .collect();
    quote! {
        impl #generics ::core::default::Default for #effects #arguments #where_clause {
            fn default() -> Self {
                Self {
                    #(#names: ::core::default::Default::default(),)*
                    __unknown: ::core::default::Default::default(),
                    __of: ::core::marker::PhantomData,
                }
            }
        }

        impl #generics #library::Effects for #effects #arguments #where_clause {
            fn is_empty(&self) -> bool {
                #(#library::Effects::is_empty(&self.#names) &&)*
                    #library::Effects::is_empty(&self.__unknown)
            }
        }

        #[allow(dead_code, unreachable_pub)]
        impl #generics #effects #arguments #where_clause {
            /// The names of the fields that changed. It can be empty although the effects are not:
            /// then a field of a newer version changed.
            pub fn paths(&self) -> #library::unknown::Vec<&'static str> {
                let fields = [#((
                    ::core::stringify!(#names),
                    #library::Effects::is_empty(&self.#names),
                ),)*];
                let changed = fields.into_iter().filter(|(_, unchanged)| !unchanged);
                changed.map(|(name, _)| name).collect()
            }
        }
    }
}

fn causal(schema: &Schema, Names { state, .. }: &Names) -> TokenStream {
    if !schema.causal {
        return TokenStream::new();
    }
    let library = &schema.library;
    let (generics, arguments, where_clause) = schema.generics.split_for_impl();
    let checks = schema.replicated().into_iter().map(|field| {
        let (state, span) = (
            schema.state_of(field),
            syn::spanned::Spanned::span(&field.plain),
        );
        quote::quote_spanned!(span=> let _ = every_field_has_dots_alone::<#state>;)
    });
    quote! {
        impl #generics #library::DotStore for #state #arguments #where_clause {}

        #[allow(dead_code)]
        fn every_field_has_dots_alone<T: #library::DotStore>() {}

        #[allow(dead_code)]
        fn checks #generics () #where_clause {
            #(#checks)*
        }
    }
}
