//! The options `unique`, `concurrency`, `rate` and `lock`.

use std::time::Duration;

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::{Error, LitInt, LitStr, Token, bracketed, parenthesized, token};

use crate::duration;

pub(crate) const UNIQUE: &str = "`unique` stands alone, or takes `unique(key = \"customer\", until = started, \
                                 conflict = replace)`: `key` names an argument or a list of them, `shared` a key of your own; \
                                 `until` is `started`, `finished` or `forever`, or `within = \"10m\"`; `conflict` is \
                                 `existing`, `reject`, `replace`, `debounce` or `run_after`";
pub(crate) const CONCURRENCY: &str = "`concurrency` takes a number above 0: `concurrency = 5`, `concurrency(5, key = \"tenant\")` for five of \
                                      each value of an argument, `concurrency(5, shared = \"name\")` for five of all tasks \
                                      that share the name; `full = cancel` cancels instead of waiting";
pub(crate) const RATE: &str = "`rate` takes `rate = \"100/s\"`, `rate(\"100/s\", burst = 5, cost = 2, key = \"tenant\")` or \
                               `shared = \"name\"`; a period is `s`, `m`, `h`, `d` or a duration, as in \"3/10s\"";
pub(crate) const LOCK: &str = "`lock` takes `lock = \"name\"` or `lock(\"name\", full = cancel)`";

/// What the options say of other jobs.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    unique: Option<TokenStream>,
    limits: Vec<TokenStream>,
    /// Arguments that are named, to be checked against those there are.
    pub(crate) named: Vec<LitStr>,
}

/// What stands behind an option's name.
#[derive(Debug, Default)]
struct Settings {
    keys: Vec<LitStr>,
    shared: Option<LitStr>,
    cancel: bool,
    burst: Option<LitInt>,
    cost: Option<LitInt>,
    until: Option<Ident>,
    within: Option<Duration>,
    conflict: Option<Ident>,
}

impl Limits {
    pub(crate) fn read_unique(&mut self, option: Span, input: ParseStream<'_>) -> syn::Result<()> {
        let settings = if input.peek(token::Paren) {
            let content;
            parenthesized!(content in input);
            Settings::read(&content, &["key", "shared", "until", "within", "conflict"], UNIQUE)?
        } else if input.peek(Token![=]) {
            return Err(Error::new(option, UNIQUE));
        } else {
            Settings::default()
        };
        let keys = &settings.keys;
        let by = match (&settings.shared, keys.is_empty()) {
            (Some(_), false) => return Err(Error::new(option, "`key` and `shared` contradict each other: remove one")),
            (Some(shared), true) => quote!(key(#shared)),
            (None, true) => quote!(args()),
            (None, false) => quote!(by(&[#(#keys),*])),
        };
        let window = settings.window()?;
        let conflict = settings.conflict()?;
        self.unique = Some(quote!(Unique::#by #window #conflict));
        self.named.extend(settings.keys);
        Ok(())
    }

    pub(crate) fn read_concurrency(&mut self, option: Span, input: ParseStream<'_>) -> syn::Result<()> {
        let number = |input: ParseStream<'_>| positive(input, CONCURRENCY);
        let (most, settings) = one(option, input, number, &["key", "shared", "full"], CONCURRENCY)?;
        let limit = match settings.scope(option)? {
            Scope::Task => quote!(Limit::concurrency(#most)),
            Scope::Argument(key) => quote!(Limit::concurrency_by(#most, #key)),
            Scope::Shared(name) => quote!(shared_concurrency(#most, #name)),
        };
        self.push(&limit, &settings);
        Ok(())
    }

    pub(crate) fn read_rate(&mut self, option: Span, input: ParseStream<'_>) -> syn::Result<()> {
        let ((starts, period), settings) = one(option, input, rate, &["key", "shared", "burst", "cost"], RATE)?;
        let period = duration::tokens(period);
        settings.check_cost()?;
        let burst = settings.burst.as_ref().map_or_else(|| quote!(1), |burst| quote!(#burst));
        let limit = match settings.scope(option)? {
            Scope::Task => quote!(rate(#period, #starts, #burst)),
            Scope::Argument(key) => quote!(rate_by(#period, #starts, #burst, #key)),
            Scope::Shared(name) => quote!(shared_rate(#period, #starts, #burst, #name)),
        };
        self.push(&limit, &settings);
        Ok(())
    }

    pub(crate) fn read_lock(&mut self, option: Span, input: ParseStream<'_>) -> syn::Result<()> {
        let name = |input: ParseStream<'_>| {
            let span = input.span();
            let name: LitStr = input.parse().map_err(|_| Error::new(span, LOCK))?;
            if name.value().is_empty() { Err(Error::new(span, LOCK)) } else { Ok(name) }
        };
        let (name, settings) = one(option, input, name, &["full"], LOCK)?;
        self.push(&quote!(Limit::lock(#name)), &settings);
        Ok(())
    }

    fn push(&mut self, limit: &TokenStream, settings: &Settings) {
        let cancel = settings.cancel.then(|| quote!(.or_cancel()));
        let cost = settings.cost.iter();
        self.limits.push(quote!(#limit #cancel #(.cost(#cost))*));
        self.named.extend(settings.keys.iter().cloned());
    }

    /// The methods of the task's options that take them; `private` is the path of what generated code names.
    pub(crate) fn tokens(&self, private: &TokenStream) -> TokenStream {
        let unique = self.unique.iter().map(|unique| {
            quote!(.unique({
                const UNIQUE: &#private::Unique = &#private::#unique;
                UNIQUE
            }))
        });
        let limits = self.limits.iter();
        let all = (!self.limits.is_empty()).then(|| {
            quote!(.limits({
                const LIMITS: &[#private::Limit] = &[#(#private::#limits),*];
                LIMITS
            }))
        });
        quote!(#(#unique)* #all)
    }
}

/// Whose limit it is.
enum Scope {
    Task,
    Argument(LitStr),
    Shared(LitStr),
}

impl Settings {
    /// Reads `name = value, ..`, of which `valid` are allowed.
    fn read(input: ParseStream<'_>, valid: &[&str], forms: &str) -> syn::Result<Self> {
        let mut settings = Self::default();
        let mut seen: Vec<Ident> = Vec::new();
        while !input.is_empty() {
            let name = input.call(Ident::parse_any).map_err(|error| Error::new(error.span(), forms))?;
            let text = name.to_string();
            if !valid.contains(&text.as_str()) {
                return Err(Error::new(name.span(), forms));
            }
            if seen.contains(&name) {
                return Err(Error::new(name.span(), format!("`{name}` is given twice")));
            }
            seen.push(name);
            let span = input.span();
            input.parse::<Token![=]>().map_err(|_| Error::new(span, forms))?;
            settings.read_one(&text, input).map_err(|error| match text.as_str() {
                "within" => error,
                _ => Error::new(error.span(), forms),
            })?;
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(settings)
    }

    fn read_one(&mut self, name: &str, input: ParseStream<'_>) -> syn::Result<()> {
        match name {
            "key" => self.keys = keys(input)?,
            "shared" => self.shared = Some(input.parse()?),
            "full" => {
                let word: Ident = input.parse()?;
                self.cancel = match word.to_string().as_str() {
                    "cancel" => true,
                    "wait" => false,
                    _ => return Err(Error::new(word.span(), "")),
                };
            }
            "burst" => self.burst = Some(positive(input, "")?),
            "cost" => self.cost = Some(positive(input, "")?),
            "until" => self.until = Some(input.parse()?),
            "within" => self.within = Some(duration::parse(input)?),
            _ => self.conflict = Some(input.parse()?),
        }
        Ok(())
    }

    /// What costs more than the whole burst would never start.
    fn check_cost(&self) -> syn::Result<()> {
        let number = |literal: &LitInt| literal.base10_parse::<u32>();
        let burst = self.burst.as_ref().map_or(Ok(1), number)?;
        match &self.cost {
            Some(cost) if number(cost)? > burst => {
                let message = format!(
                    "a cost of {cost} under a burst of {burst}: the job could never start\nhelp: raise `burst`"
                );
                Err(Error::new(cost.span(), message))
            }
            _ => Ok(()),
        }
    }

    fn scope(&self, option: Span) -> syn::Result<Scope> {
        match (&self.keys[..], &self.shared) {
            ([], None) => Ok(Scope::Task),
            ([key], None) => Ok(Scope::Argument(key.clone())),
            ([], Some(name)) => Ok(Scope::Shared(name.clone())),
            ([_, second, ..], None) => Err(Error::new(second.span(), "a limit goes by one argument")),
            _ => Err(Error::new(option, "`key` and `shared` contradict each other: remove one")),
        }
    }

    fn window(&self) -> syn::Result<Option<TokenStream>> {
        match (&self.until, self.within) {
            (Some(until), Some(_)) => {
                Err(Error::new(until.span(), "`until` and `within` contradict each other: remove one"))
            }
            (None, Some(within)) => {
                let within = duration::tokens(within);
                Ok(Some(quote!(.within(#within))))
            }
            (None, None) => Ok(None),
            (Some(until), None) => match until.to_string().as_str() {
                "started" => Ok(Some(quote!(.until_started()))),
                "finished" => Ok(Some(quote!(.until_finished()))),
                "forever" => Ok(Some(quote!(.forever()))),
                _ => Err(Error::new(until.span(), UNIQUE)),
            },
        }
    }

    fn conflict(&self) -> syn::Result<Option<TokenStream>> {
        let Some(conflict) = &self.conflict else { return Ok(None) };
        let method = match conflict.to_string().as_str() {
            "existing" => quote!(.or_existing()),
            "reject" => quote!(.or_reject()),
            "replace" => quote!(.or_replace()),
            "debounce" => quote!(.or_debounce()),
            "run_after" if self.until.is_some() || self.within.is_some() => {
                let message =
                    "`run_after` has a window of its own, until the job starts: leave `until` and `within` out";
                return Err(Error::new(conflict.span(), message));
            }
            "run_after" => quote!(.or_run_after()),
            _ => return Err(Error::new(conflict.span(), UNIQUE)),
        };
        Ok(Some(method))
    }
}

/// `= value`, or `(value, name = value, ..)`.
fn one<T>(
    option: Span,
    input: ParseStream<'_>,
    value: impl Fn(ParseStream<'_>) -> syn::Result<T>,
    valid: &[&str],
    forms: &str,
) -> syn::Result<(T, Settings)> {
    if input.parse::<Option<Token![=]>>()?.is_some() {
        return Ok((value(input)?, Settings::default()));
    }
    if !input.peek(token::Paren) {
        return Err(Error::new(option, forms));
    }
    let content;
    parenthesized!(content in input);
    let value = value(&content)?;
    if !content.is_empty() {
        let span = content.span();
        content.parse::<Token![,]>().map_err(|_| Error::new(span, forms))?;
    }
    Ok((value, Settings::read(&content, valid, forms)?))
}

/// A whole number above zero that fits a `u32`.
fn positive(input: ParseStream<'_>, forms: &str) -> syn::Result<LitInt> {
    let span = input.span();
    let wrong = || Error::new(span, forms);
    let number: LitInt = input.parse().map_err(|_| wrong())?;
    match number.base10_parse::<u32>() {
        Ok(1..) if number.suffix().is_empty() => Ok(number),
        _ => Err(wrong()),
    }
}

/// `"tenant"` or `["customer", "month"]`.
fn keys(input: ParseStream<'_>) -> syn::Result<Vec<LitStr>> {
    if !input.peek(token::Bracket) {
        return Ok(vec![input.parse()?]);
    }
    let content;
    bracketed!(content in input);
    let keys: Vec<_> = content.parse_terminated(<LitStr as syn::parse::Parse>::parse, Token![,])?.into_iter().collect();
    if keys.is_empty() { Err(content.error("")) } else { Ok(keys) }
}

/// `"100/s"`: how many starts in which period.
fn rate(input: ParseStream<'_>) -> syn::Result<(u32, Duration)> {
    let span = input.span();
    let text: LitStr = input.parse().map_err(|_| Error::new(span, RATE))?;
    let value = text.value();
    let parts = value.split_once('/').and_then(|(starts, period)| {
        let starts = starts.trim().parse::<u32>().ok().filter(|starts| *starts > 0)?;
        let period = period.trim();
        let with_count =
            if period.starts_with(|c: char| c.is_ascii_digit()) { period.to_owned() } else { format!("1{period}") };
        let period = duration::from_text(&with_count).ok().filter(|period| !period.is_zero())?;
        Some((starts, period))
    });
    parts.ok_or_else(|| Error::new(span, RATE))
}
