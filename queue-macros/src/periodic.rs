//! The options of a task that is enqueued by itself: `cron` or `every`, and those that go with them.

use std::time::Duration;

use proc_macro2::{Ident, TokenStream};
use queue_cron::{Cron, TimeZone};
use quote::quote;
use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::{Error, LitInt, LitStr, parenthesized, token};

use crate::duration;
use crate::entry::Entry;
use crate::parameter::Argument;

/// The options that mean nothing without `cron` or `every`.
const DETAILS: [&str; 5] = ["tz", "missed", "overlap", "tick_jitter", "revision"];

/// What the options say; what they leave out, the engine fills in.
#[derive(Debug, Default)]
pub(crate) struct Periodic {
    cron: Option<LitStr>,
    every: Option<Duration>,
    tz: Option<LitStr>,
    missed: Option<Missed>,
    overlap: Option<Ident>,
    jitter: Option<Duration>,
    revision: Option<u32>,
}

/// What becomes of ticks that nobody carried out in time.
#[derive(Debug)]
enum Missed {
    Skip(Option<Duration>),
    Last,
    All(u32),
}

impl Periodic {
    pub(crate) fn read_cron(&mut self, entry: &Entry<'_>) -> syn::Result<()> {
        let expression: LitStr = entry.value()?;
        Cron::new(&expression.value()).map_err(|error| Error::new(expression.span(), error))?;
        self.cron = Some(expression);
        Ok(())
    }

    pub(crate) fn read_every(&mut self, entry: &Entry<'_>) -> syn::Result<()> {
        entry.equals()?;
        let span = entry.input.span();
        // No unit is smaller than the shortest interval, a millisecond.
        self.every = match duration::parse(entry.input)? {
            Duration::ZERO => {
                let message = "an `every` of zero would be due at each moment\n\
                               help: say how long it is from one tick to the next, at least \"1ms\": `every = \"5m\"`";
                return Err(Error::new(span, message));
            }
            period => Some(period),
        };
        Ok(())
    }

    pub(crate) fn read_tz(&mut self, entry: &Entry<'_>) -> syn::Result<()> {
        let name: LitStr = entry.value()?;
        TimeZone::new(&name.value()).map_err(|error| Error::new(name.span(), error))?;
        self.tz = Some(name);
        Ok(())
    }

    pub(crate) fn read_missed(&mut self, entry: &Entry<'_>) -> syn::Result<()> {
        let word: Ident = entry.value()?;
        let kind = word.to_string();
        let missed = if entry.input.peek(token::Paren) {
            let content;
            parenthesized!(content in entry.input);
            let missed = match kind.as_str() {
                "skip" => Missed::Skip(Some(tolerance(&content)?)),
                "all" => Missed::All(at_most(entry, &content)?),
                _ => return Err(entry.wrong(word.span())),
            };
            if !content.is_empty() {
                return Err(entry.wrong(content.span()));
            }
            missed
        } else {
            match kind.as_str() {
                "skip" => Missed::Skip(None),
                "last" => Missed::Last,
                _ => return Err(entry.wrong(word.span())),
            }
        };
        self.missed = Some(missed);
        Ok(())
    }

    pub(crate) fn read_overlap(&mut self, entry: &Entry<'_>) -> syn::Result<()> {
        let variants = [("allow", "Allow"), ("skip", "Skip"), ("cancel_running", "CancelRunning")];
        self.overlap = Some(entry.variant(&variants)?);
        Ok(())
    }

    pub(crate) fn read_jitter(&mut self, entry: &Entry<'_>) -> syn::Result<()> {
        self.jitter = Some(entry.parse_with(duration::parse)?);
        Ok(())
    }

    pub(crate) fn read_revision(&mut self, entry: &Entry<'_>) -> syn::Result<()> {
        self.revision = Some(entry.number()?);
        Ok(())
    }

    /// What is wrong with these options beside each other; `given` are all of the task's, those that are wrong by
    /// themselves among them.
    pub(crate) fn contradiction(&self, given: &[Ident]) -> Option<Error> {
        let find = |name: &str| given.iter().find(|option| *option == name);
        match (find("cron"), find("every"), find("tz")) {
            (Some(_), Some(every), _) => {
                let message = "`cron` and `every` contradict each other: a schedule goes by one of them\n\
                               help: remove one of the two";
                Some(Error::new(every.span(), message))
            }
            (None, Some(_), Some(tz)) => {
                let message = "`tz` is for `cron`: an interval goes by no zone's clock\n\
                               help: remove it, or say the times of a clock: `cron = \"0 */2 * * *\"` for `every`";
                Some(Error::new(tz.span(), message))
            }
            (Some(_), None, Some(tz)) if self.cron_says_zone() => {
                let message =
                    "`tz` and the `CRON_TZ=` of the expression both say the zone\nhelp: remove one of the two";
                Some(Error::new(tz.span(), message))
            }
            (None, None, _) => given.iter().find(|option| DETAILS.iter().any(|name| *option == name)).map(idle),
            _ => None,
        }
    }

    fn cron_says_zone(&self) -> bool {
        self.cron.as_ref().is_some_and(|expression| expression.value().trim_start().starts_with("CRON_TZ="))
    }

    /// The method of the task's options that takes them; `private` is the path of what generated code names.
    pub(crate) fn tokens(&self, private: &TokenStream) -> Option<TokenStream> {
        let timing = match (&self.cron, self.every) {
            (Some(expression), None) => quote!(cron(#expression)),
            (None, Some(period)) => {
                let period = duration::tokens(period);
                quote!(every(#period))
            }
            _ => return None,
        };
        let (tz, overlap, revision) = (self.tz.iter(), self.overlap.iter(), self.revision.iter());
        let missed = self.missed.iter().map(|missed| missed.tokens(private));
        let jitter = self.jitter.iter().copied().map(duration::tokens);
        Some(quote! {
            .periodic(
                #private::Periodic::#timing
                    #(.tz(#tz))*
                    #(.missed(#missed))*
                    #(.overlap(#private::Overlap::#overlap))*
                    #(.jitter(#jitter))*
                    #(.revision(#revision))*
            )
        })
    }
}

impl Missed {
    fn tokens(&self, private: &TokenStream) -> TokenStream {
        match self {
            Self::Skip(None) => quote!(#private::Missed::DEFAULT),
            Self::Skip(Some(tolerance)) => {
                let tolerance = duration::tokens(*tolerance);
                quote!(#private::Missed::Skip { tolerance: #tolerance })
            }
            Self::Last => quote!(#private::Missed::Last),
            Self::All(most) => quote!(#private::Missed::All(#most)),
        }
    }
}

/// What to say of each argument that a periodic task can't be enqueued without.
pub(crate) fn without_default(given: &[Ident], arguments: &[&Argument]) -> Vec<Error> {
    let Some(option) = given.iter().find(|option| *option == "cron" || *option == "every") else {
        return Vec::new();
    };
    let when = if option == "cron" { "expression" } else { "period" };
    let error = |argument: &&Argument| {
        let message = format!(
            "`{option}` enqueues the task without arguments, and `{}` has no default\n\
             help: give it `#[serde(default)]`, or leave `{option}` out and say the call: \
             `Worker::builder(&client).{option}(name, {when}, call)`",
            argument.ident.unraw()
        );
        Error::new(argument.ident.span(), message)
    };
    arguments.iter().filter(|argument| !argument.may_be_left_out()).map(error).collect()
}

/// What to say of an option that says more of a schedule that there is not.
fn idle(option: &Ident) -> Error {
    let add = if option == "tz" { "`cron = \"0 3 * * *\"`" } else { "`cron = \"0 3 * * *\"` or `every = \"5m\"`" };
    let message = format!("`{option}` without a schedule: nothing says when the task is due\nhelp: add {add}");
    Error::new(option.span(), message)
}

/// How late a tick may be.
fn tolerance(input: ParseStream<'_>) -> syn::Result<Duration> {
    let span = input.span();
    match duration::parse(input)? {
        Duration::ZERO => {
            let message = "a tolerance of zero leaves out every tick: each is carried out a little late\n\
                           help: say how late is not too late: `missed = skip(\"10m\")`";
            Err(Error::new(span, message))
        }
        tolerance => Ok(tolerance),
    }
}

/// How many ticks are made good: as many as the engine will.
fn at_most(entry: &Entry<'_>, input: ParseStream<'_>) -> syn::Result<u32> {
    let span = input.span();
    let number: LitInt = input.parse().map_err(|_| entry.wrong(span))?;
    match number.base10_parse() {
        Ok(most @ 1..=1_000) if number.suffix().is_empty() => Ok(most),
        _ => Err(entry.wrong(span)),
    }
}
