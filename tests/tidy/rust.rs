//! What the rules ask about a Rust file: its tokens, and the items that it declares.

use std::collections::BTreeSet;

use proc_macro2::{Delimiter, Group, Ident, Spacing, Span, TokenStream, TokenTree};
use syn::visit::{self, Visit};

/// One token without its place in the tree; `::` is one, a doc comment is none.
pub(crate) struct Token {
    pub(crate) text: String,
    /// The line of its first character, from 1.
    pub(crate) line: usize,
    /// The line of its last character.
    pub(crate) end: usize,
}

/// What one file declares, without its tests.
#[derive(Default)]
pub(crate) struct Items {
    /// Everything that has a name, methods and variants as `Type::name`.
    pub(crate) names: BTreeSet<String>,
    pub(crate) structs: Vec<Struct>,
    pub(crate) public_types: Vec<PublicType>,
    pub(crate) uses: Vec<Use>,
    /// Functions that take two arguments or more as one tuple.
    pub(crate) packing: Vec<(usize, String)>,
    /// The type or trait whose items are being visited.
    owner: Option<String>,
    /// Whether a trait of someone else may dictate the signatures that are being visited.
    implements: bool,
}

/// A struct and its size.
pub(crate) struct Struct {
    pub(crate) line: usize,
    pub(crate) name: String,
    pub(crate) fields: usize,
}

/// A type or trait behind a plain `pub`.
pub(crate) struct PublicType {
    pub(crate) line: usize,
    pub(crate) name: String,
    pub(crate) doc: String,
}

/// One name that a `use` brings into scope; `*` stands for all that there are.
pub(crate) struct Use {
    pub(crate) line: usize,
    pub(crate) path: Vec<String>,
    pub(crate) name: String,
    pub(crate) reexports: bool,
}

/// `stream` without the items under `#[cfg(test)]`. Those of them that are modules in files of
/// their own are added to `modules`.
pub(crate) fn without_tests(stream: TokenStream, modules: &mut Vec<String>) -> TokenStream {
    let trees = stream.into_iter().collect::<Vec<_>>();
    let mut kept = Vec::new();
    let mut at = 0;
    while at < trees.len() {
        let attributes = trees[at..]
            .chunks(2)
            .map_while(attribute)
            .collect::<Vec<_>>();
        let behind = at + 2 * attributes.len();
        if attributes.into_iter().any(is_for_tests) {
            let end = behind + item_len(&trees[behind..]);
            if let [.., TokenTree::Ident(name), TokenTree::Punct(_)] = &trees[behind..end] {
                modules.push(name.to_string());
            }
            at = end;
            continue;
        }
        kept.extend_from_slice(&trees[at..behind]);
        if let Some(tree) = trees.get(behind) {
            kept.push(match tree {
                TokenTree::Group(group) => {
                    let inner = without_tests(group.stream(), modules);
                    let mut new = Group::new(group.delimiter(), inner);
                    new.set_span(group.span());
                    new.into()
                }
                other => other.clone(),
            });
        }
        at = behind + 1;
    }
    kept.into_iter().collect()
}

/// The tokens of `stream` in the order of the text.
pub(crate) fn tokens(stream: TokenStream) -> Vec<Token> {
    let mut found = Vec::new();
    flatten(stream, &mut found);
    found
}

/// The names of the test functions in `code`, also of those in a macro such as `proptest!`.
pub(crate) fn tests(code: &[Token]) -> BTreeSet<String> {
    let text = |at: usize| code[at].text.as_str();
    let is_test = |at: &usize| {
        let before = (0..*at)
            .rev()
            .take_while(|at| ![";", "}"].contains(&text(*at)));
        let mut attributes = before.filter(|at| text(*at) == "test");
        attributes.any(|at| ["]", "("].contains(&text(at + 1)))
    };
    let functions = (0..code.len().saturating_sub(1)).filter(|at| text(*at) == "fn");
    functions
        .filter(is_test)
        .map(|at| text(at + 1).to_owned())
        .collect()
}

/// The items of `stream`, which must be a whole file.
///
/// # Errors
///
/// The place where the grammar ends.
pub(crate) fn items(stream: TokenStream) -> syn::Result<Items> {
    let mut items = Items::default();
    items.visit_file(&syn::parse2(stream)?);
    Ok(items)
}

/// What an outer attribute has between its brackets.
fn attribute(pair: &[TokenTree]) -> Option<&Group> {
    match pair {
        [sign, TokenTree::Group(group)] if is_sign(sign, '#') => {
            (group.delimiter() == Delimiter::Bracket).then_some(group)
        }
        _ => None,
    }
}

fn is_for_tests(attribute: &Group) -> bool {
    let text = attribute.stream().to_string().replace(' ', "");
    let tests = text.contains("(test)") || text.contains("(test,");
    text.starts_with("cfg(") && tests && !text.contains("not(test")
}

/// How many trees the item takes that begins them: up to its braces or its semicolon.
fn item_len(trees: &[TokenTree]) -> usize {
    let braces =
        |tree: &TokenTree| matches!(tree, TokenTree::Group(g) if g.delimiter() == Delimiter::Brace);
    let end = trees
        .iter()
        .position(|tree| is_sign(tree, ';') || braces(tree));
    let len = end.map_or(trees.len(), |end| end + 1);
    len + usize::from(trees.get(len).is_some_and(|tree| is_sign(tree, ';')))
}

fn flatten(stream: TokenStream, found: &mut Vec<Token>) {
    let push = |found: &mut Vec<Token>, text: String, span: Span| {
        let line = span.start().line;
        let end = line + text.matches('\n').count();
        found.push(Token { text, line, end });
    };
    let mut trees = stream.into_iter().peekable();
    while let Some(tree) = trees.next() {
        // A doc comment is an attribute whose tokens all begin where it does.
        let mut is_comment = false;
        if is_sign(&tree, '#') {
            let place = tree.span().start();
            while trees.next_if(|next| next.span().start() == place).is_some() {
                is_comment = true;
            }
        }
        match tree {
            _ if is_comment => {}
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                push(found, open.to_owned(), group.span_open());
                flatten(group.stream(), found);
                push(found, close.to_owned(), group.span_close());
            }
            TokenTree::Punct(sign) if sign.as_char() == ':' && sign.spacing() == Spacing::Joint => {
                let is_double = trees.next_if(|next| is_sign(next, ':')).is_some();
                let text = if is_double { "::" } else { ":" };
                push(found, text.to_owned(), sign.span());
            }
            tree => push(found, tree.to_string(), tree.span()),
        }
    }
}

fn is_sign(tree: &TokenTree, sign: char) -> bool {
    matches!(tree, TokenTree::Punct(punct) if punct.as_char() == sign)
}

impl Items {
    fn declare(&mut self, name: &Ident) {
        self.names.insert(match &self.owner {
            Some(owner) => format!("{owner}::{name}"),
            None => name.to_string(),
        });
    }

    fn declare_type(
        &mut self,
        name: &Ident,
        seen: &syn::Visibility,
        attributes: &[syn::Attribute],
    ) {
        self.declare(name);
        if matches!(seen, syn::Visibility::Public(_)) {
            let (line, doc) = (name.span().start().line, doc(attributes));
            let name = name.to_string();
            self.public_types.push(PublicType { line, name, doc });
        }
    }

    fn signature(&mut self, signature: &syn::Signature) {
        self.declare(&signature.ident);
        let packs = |argument: &syn::FnArg| match argument {
            syn::FnArg::Typed(typed) => {
                matches!(&*typed.ty, syn::Type::Tuple(tuple) if tuple.elems.len() > 1)
            }
            syn::FnArg::Receiver(_) => false,
        };
        if !self.implements && signature.inputs.iter().any(packs) {
            let line = signature.ident.span().start().line;
            self.packing.push((line, signature.ident.to_string()));
        }
    }

    fn within(&mut self, owner: String, implements: bool, visit: impl FnOnce(&mut Self)) {
        let outer = (self.owner.replace(owner), self.implements);
        self.implements = implements;
        visit(self);
        (self.owner, self.implements) = outer;
    }

    fn import(&mut self, tree: &syn::UseTree, path: &[String], reexports: bool) {
        let line = syn::spanned::Spanned::span(tree).start().line;
        let longer = |name: &Ident| {
            let itself = name == "self";
            [path, &[name.to_string()][usize::from(itself)..]].concat()
        };
        let (path, name) = match tree {
            syn::UseTree::Path(inner) => {
                return self.import(&inner.tree, &longer(&inner.ident), reexports);
            }
            syn::UseTree::Group(group) => {
                let inner = group.items.iter();
                return inner.for_each(|tree| self.import(tree, path, reexports));
            }
            syn::UseTree::Name(name) => {
                let path = longer(&name.ident);
                let name = path.last().cloned().unwrap_or_default();
                (path, name)
            }
            syn::UseTree::Rename(name) => (longer(&name.ident), name.rename.to_string()),
            syn::UseTree::Glob(_) => (path.to_vec(), "*".to_owned()),
        };
        self.uses.push(Use {
            line,
            path,
            name,
            reexports,
        });
    }
}

impl<'ast> Visit<'ast> for Items {
    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.declare_type(&item.ident, &item.vis, &item.attrs);
        let (line, fields) = (item.ident.span().start().line, item.fields.len());
        let name = item.ident.to_string();
        self.structs.push(Struct { line, name, fields });
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.declare_type(&item.ident, &item.vis, &item.attrs);
        self.within(item.ident.to_string(), false, |items| {
            item.variants
                .iter()
                .for_each(|variant| items.declare(&variant.ident));
        });
    }

    fn visit_item_type(&mut self, item: &'ast syn::ItemType) {
        self.declare_type(&item.ident, &item.vis, &item.attrs);
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.declare_type(&item.ident, &item.vis, &item.attrs);
        let visit = |items: &mut Self| visit::visit_item_trait(items, item);
        self.within(item.ident.to_string(), false, visit);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let owner = match &*item.self_ty {
            syn::Type::Path(path) => path.path.segments.last().map(|last| last.ident.to_string()),
            _ => None,
        };
        let visit = |items: &mut Self| visit::visit_item_impl(items, item);
        self.within(owner.unwrap_or_default(), item.trait_.is_some(), visit);
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        self.signature(signature);
    }

    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.declare(&item.ident);
    }

    fn visit_item_static(&mut self, item: &'ast syn::ItemStatic) {
        self.declare(&item.ident);
    }

    fn visit_item_macro(&mut self, item: &'ast syn::ItemMacro) {
        item.ident.iter().for_each(|name| self.declare(name));
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let reexports = !matches!(item.vis, syn::Visibility::Inherited);
        self.import(&item.tree, &[], reexports);
    }
}

fn doc(attributes: &[syn::Attribute]) -> String {
    let lines = attributes
        .iter()
        .filter_map(|attribute| match &attribute.meta {
            syn::Meta::NameValue(meta) if meta.path.is_ident("doc") => match &meta.value {
                syn::Expr::Lit(syn::ExprLit {
                    lit: syn::Lit::Str(line),
                    ..
                }) => Some(line.value()),
                _ => None,
            },
            _ => None,
        });
    lines.collect::<Vec<_>>().join("\n")
}
