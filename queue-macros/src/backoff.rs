//! The option `backoff`.

use std::time::Duration;

use proc_macro2::{Ident, Literal, TokenStream};
use quote::quote;
use syn::parse::ParseStream;
use syn::{Error, LitFloat, LitInt, Token, parenthesized, token};

use crate::duration;

const FORMS: &str = "`backoff` takes `fixed(\"5s\")` or `exponential(\"2s\", factor = 3, cap = \"1h\")`";

/// What `backoff = ..` says; what it leaves out, the engine fills in.
#[derive(Debug)]
pub(crate) enum Backoff {
    Fixed(Duration),
    Exponential { base: Duration, factor: Option<f64>, cap: Option<Duration> },
}

impl Backoff {
    /// Reads `fixed("5s")` or `exponential("2s", factor = 3, cap = "1h")`.
    pub(crate) fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let span = input.span();
        let kind = input.parse::<Ident>().ok().filter(|kind| kind == "fixed" || kind == "exponential");
        let Some(kind) = kind.filter(|_| input.peek(token::Paren)) else {
            return Err(Error::new(span, FORMS));
        };
        let content;
        parenthesized!(content in input);
        let first = duration::parse(&content)?;
        let backoff = if kind == "fixed" { Self::Fixed(first) } else { grow_from(first, &content)? };
        if content.is_empty() {
            return Ok(backoff);
        }
        Err(content.error(FORMS))
    }

    /// The backoff as an expression; `private` is the path of what generated code names.
    pub(crate) fn tokens(&self, private: &TokenStream) -> TokenStream {
        match self {
            Self::Fixed(delay) => {
                let delay = duration::tokens(*delay);
                quote!(#private::Backoff::fixed(#delay))
            }
            Self::Exponential { base, factor, cap } => {
                let base = duration::tokens(*base);
                let factor = option(factor.map(Literal::f64_suffixed));
                let cap = option(cap.map(duration::tokens));
                quote!(#private::exponential(#base, #factor, #cap))
            }
        }
    }
}

/// The rest of `exponential(..)`, after its first delay.
fn grow_from(base: Duration, input: ParseStream<'_>) -> syn::Result<Backoff> {
    let (mut factor, mut cap) = (None, None);
    while input.parse::<Option<Token![,]>>()?.is_some() && !input.is_empty() {
        let key: Ident = input.parse()?;
        let given_twice = match key.to_string().as_str() {
            "factor" => factor.replace(after_equals(input, parse_factor)?).is_some(),
            "cap" => cap.replace(after_equals(input, |input| parse_cap(input, base))?).is_some(),
            _ => return Err(Error::new(key.span(), FORMS)),
        };
        if given_twice {
            return Err(Error::new(key.span(), format!("`{key}` is given twice")));
        }
    }
    Ok(Backoff::Exponential { base, factor, cap })
}

fn after_equals<T>(input: ParseStream<'_>, parse: impl FnOnce(ParseStream<'_>) -> syn::Result<T>) -> syn::Result<T> {
    input.parse::<Token![=]>()?;
    parse(input)
}

fn parse_factor(input: ParseStream<'_>) -> syn::Result<f64> {
    let span = input.span();
    let factor = if input.peek(LitInt) {
        input.parse::<LitInt>()?.base10_parse()
    } else {
        input.parse::<LitFloat>().and_then(|factor| factor.base10_parse())
    };
    // A delay that shrinks from attempt to attempt is no backoff.
    match factor {
        Ok(factor) if (1.0..=1e6).contains(&factor) => Ok(factor),
        _ => Err(Error::new(span, "`factor` takes a number from 1: `factor = 3`")),
    }
}

fn parse_cap(input: ParseStream<'_>, base: Duration) -> syn::Result<Duration> {
    let span = input.span();
    match duration::parse(input)? {
        cap if cap < base => Err(Error::new(span, "`cap`, the longest delay, is shorter than the first delay")),
        cap => Ok(cap),
    }
}

fn option<T: quote::ToTokens>(value: Option<T>) -> TokenStream {
    match value {
        Some(value) => quote!(::core::option::Option::Some(#value)),
        None => quote!(::core::option::Option::None),
    }
}
