//! The option `backoff`.

use std::time::Duration;

use proc_macro2::{Ident, Literal, TokenStream};
use quote::quote;
use syn::parse::ParseStream;
use syn::{Error, LitFloat, LitInt, Token, parenthesized};

use crate::duration;

/// What `backoff = ..` says.
#[derive(Debug)]
pub(crate) enum Backoff {
    Fixed(Duration),
    Exponential {
        base: Duration,
        factor: Option<f64>,
        cap: Option<Duration>,
    },
}

impl Backoff {
    /// Reads `fixed("5s")` or `exponential("2s", factor = 3, cap = "1h")`.
    pub(crate) fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let kind: Ident = input.parse()?;
        let exponential = kind == "exponential";
        if !exponential && kind != "fixed" {
            let message = format!("unknown backoff `{kind}`\nhelp: write `fixed(..)` or `exponential(..)`");
            return Err(Error::new(kind.span(), message));
        }
        let content;
        parenthesized!(content in input);
        let base = duration::parse(&content)?;
        let backoff = if exponential {
            Self::exponential(base, &content)?
        } else {
            Self::Fixed(base)
        };
        if content.is_empty() {
            return Ok(backoff);
        }
        Err(content.error(format!("`{kind}(..)` takes nothing more")))
    }

    fn exponential(base: Duration, input: ParseStream<'_>) -> syn::Result<Self> {
        let (mut factor, mut cap) = (None, None);
        while input.parse::<Option<Token![,]>>()?.is_some() && !input.is_empty() {
            let key: Ident = input.parse()?;
            let once = |given: bool| match given {
                true => Err(Error::new(key.span(), format!("`{key}` is given twice"))),
                false => input.parse::<Token![=]>(),
            };
            match key.to_string().as_str() {
                "factor" => {
                    once(factor.is_some())?;
                    factor = Some(parse_factor(input)?);
                }
                "cap" => {
                    once(cap.is_some())?;
                    let span = input.span();
                    let longest = duration::parse(input)?;
                    if longest < base {
                        return Err(Error::new(span, "`cap` is shorter than the first delay"));
                    }
                    cap = Some(longest);
                }
                _ => {
                    let message = format!("`exponential(..)` has no `{key}`\nhelp: after the first delay it takes `factor = 3` and `cap = \"1h\"`");
                    return Err(Error::new(key.span(), message));
                }
            }
        }
        Ok(Self::Exponential { base, factor, cap })
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
                let factor = option(factor.map(|factor| {
                    let factor = Literal::f64_suffixed(factor);
                    quote!(#factor)
                }));
                let cap = option(cap.map(duration::tokens));
                quote!(#private::exponential(#base, #factor, #cap))
            }
        }
    }
}
