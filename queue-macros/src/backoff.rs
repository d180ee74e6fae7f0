//! The option `backoff`.

use std::time::Duration;

use proc_macro2::{Ident, Literal, Span, TokenStream};
use quote::quote;
use syn::parse::ParseStream;
use syn::{Error, LitFloat, LitInt, Path, Token, bracketed, parenthesized, token};

use crate::duration;

const FORMS: &str = "`backoff` takes `fixed(\"5s\")`, `exponential(\"2s\", factor = 3, cap = \"1h\")`, \
                     `linear(\"2s\", step = \"3s\", cap = \"1m\")`, a list `[\"2s\", \"10s\"]`, or the path to a \
                     `fn(u32) -> Duration`";

/// The longest list that the library holds.
const LONGEST: usize = 16;

/// What `backoff = ..` says; what it leaves out, the engine fills in.
#[derive(Debug)]
pub(crate) enum Backoff {
    Fixed(Duration),
    Exponential { base: Duration, factor: Option<f64>, cap: Option<Duration> },
    Linear { base: Duration, step: Option<Duration>, cap: Option<Duration> },
    List(Vec<Duration>),
    Function(Path),
}

impl Backoff {
    /// Reads one of the [`FORMS`].
    pub(crate) fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let span = input.span();
        if input.peek(token::Bracket) {
            let content;
            bracketed!(content in input);
            return list(span, &content);
        }
        let wrong = |_| Error::new(span, FORMS);
        let path = input.call(Path::parse_mod_style).map_err(wrong)?;
        let kind = path.get_ident().map(ToString::to_string);
        let kind = kind.as_deref().filter(|kind| matches!(*kind, "fixed" | "exponential" | "linear" | "list"));
        match (kind, input.peek(token::Paren)) {
            (Some(kind), true) => Self::of_kind(kind, span, input),
            (None, false) => Ok(Self::Function(path)),
            _ => Err(Error::new(span, FORMS)),
        }
    }

    fn of_kind(kind: &str, span: Span, input: ParseStream<'_>) -> syn::Result<Self> {
        let content;
        parenthesized!(content in input);
        let backoff = match kind {
            "list" => list(span, &content)?,
            "fixed" => Self::Fixed(duration::parse(&content)?),
            _ => grow(kind, &content)?,
        };
        if content.is_empty() { Ok(backoff) } else { Err(content.error(FORMS)) }
    }

    /// The method of the task's options that takes the backoff, and it; `private` is the path of what generated code
    /// names.
    pub(crate) fn tokens(&self, private: &TokenStream) -> TokenStream {
        match self {
            Self::Fixed(delay) => {
                let delay = duration::tokens(*delay);
                quote!(.backoff(#private::Backoff::fixed(#delay)))
            }
            Self::Exponential { base, factor, cap } => {
                let base = duration::tokens(*base);
                let factor = option(factor.map(Literal::f64_suffixed));
                let cap = option(cap.map(duration::tokens));
                quote!(.backoff(#private::exponential(#base, #factor, #cap)))
            }
            Self::Linear { base, step, cap } => {
                let base = duration::tokens(*base);
                let (step, cap) = (option(step.map(duration::tokens)), option(cap.map(duration::tokens)));
                quote!(.backoff(#private::linear(#base, #step, #cap)))
            }
            Self::List(delays) => {
                let delays = delays.iter().copied().map(duration::tokens);
                quote!(.backoff(#private::Backoff::list(&[#(#delays),*])))
            }
            Self::Function(path) => quote!(.backoff_fn(#path)),
        }
    }
}

/// The delays of a list.
fn list(span: Span, input: ParseStream<'_>) -> syn::Result<Backoff> {
    let mut delays = Vec::new();
    while !input.is_empty() {
        delays.push(duration::parse(input)?);
        if !input.is_empty() {
            input.parse::<Token![,]>()?;
        }
    }
    match delays.len() {
        1..=LONGEST => Ok(Backoff::List(delays)),
        count => Err(Error::new(
            span,
            format!("a list of delays holds 1 to {LONGEST} of them, this one {count}; the last is repeated"),
        )),
    }
}

/// What stands in `exponential(..)` and `linear(..)`.
fn grow(kind: &str, input: ParseStream<'_>) -> syn::Result<Backoff> {
    let base = duration::parse(input)?;
    let (mut factor, mut step, mut cap) = (None, None, None);
    while input.parse::<Option<Token![,]>>()?.is_some() && !input.is_empty() {
        let key: Ident = input.parse()?;
        let given_twice = match (key.to_string().as_str(), kind) {
            ("factor", "exponential") => factor.replace(after_equals(input, parse_factor)?).is_some(),
            ("step", "linear") => step.replace(after_equals(input, duration::parse)?).is_some(),
            ("cap", _) => cap.replace(after_equals(input, |input| parse_cap(input, base))?).is_some(),
            _ => return Err(Error::new(key.span(), FORMS)),
        };
        if given_twice {
            return Err(Error::new(key.span(), format!("`{key}` is given twice")));
        }
    }
    Ok(match kind {
        "linear" => Backoff::Linear { base, step, cap },
        _ => Backoff::Exponential { base, factor, cap },
    })
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
