//! What serde attributes on a parameter mean for the code around the field they move to.

use proc_macro2::{Span, TokenTree};
use syn::meta::ParseNestedMeta;
use syn::parse::ParseStream;
use syn::spanned::Spanned;
use syn::{Attribute, LitStr, Token, token};

/// The facts that the macro needs; everything else is serde's own matter.
#[derive(Debug, Default)]
pub(crate) struct SerdeFacts {
    /// The key under which the argument is decoded, when it is not its name.
    pub(crate) key: Option<String>,
    /// Functions or bounds of the user's own stand in for the type's: no bound may be put on it.
    pub(crate) own_bounds: bool,
    /// A function of the user's own decodes it: serde then takes no `Option` to be `None` where it is left out.
    pub(crate) own_decoding: bool,
    /// It has a value where it is left out.
    pub(crate) default: bool,
    /// It has no key of its own.
    pub(crate) flattened: bool,
    /// Where it says that it is left out.
    pub(crate) skipped: Option<Span>,
}

impl SerdeFacts {
    pub(crate) fn of(attrs: &[Attribute]) -> Self {
        let mut facts = Self::default();
        for attr in attrs {
            // What can't be read here can't be read by serde, which says so better.
            let _ = attr.parse_nested_meta(|meta| facts.note(&meta));
        }
        facts
    }

    fn note(&mut self, meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
        let word = meta.path.get_ident().map(ToString::to_string);
        match word.as_deref() {
            Some("rename") if meta.input.peek(token::Paren) => {
                return meta.parse_nested_meta(|inner| {
                    let text = inner.value()?.parse::<LitStr>()?.value();
                    if inner.path.is_ident("deserialize") {
                        self.key = Some(text);
                    }
                    Ok(())
                });
            }
            Some("rename") => self.key = Some(meta.value()?.parse::<LitStr>()?.value()),
            Some("with" | "deserialize_with") => (self.own_bounds, self.own_decoding) = (true, true),
            Some("serialize_with" | "bound") => self.own_bounds = true,
            Some("default") => self.default = true,
            Some("flatten") => self.flattened = true,
            Some("skip" | "skip_serializing" | "skip_deserializing") => {
                self.skipped = Some(meta.path.span());
            }
            _ => {}
        }
        skip_to_comma(meta.input)
    }
}

/// Passes over the rest of an entry.
pub(crate) fn skip_to_comma(input: ParseStream<'_>) -> syn::Result<()> {
    while !input.is_empty() && !input.peek(Token![,]) {
        input.parse::<TokenTree>()?;
    }
    Ok(())
}
