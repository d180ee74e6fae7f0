//! The options of `#[task(..)]`.

use std::time::Duration;

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Error, LitStr, Path, Token};

use crate::backoff::Backoff;
use crate::duration;
use crate::entry::Entry;
use crate::limits::Limits;
use crate::name;
use crate::parameter::Argument;
use crate::periodic::{self, Periodic};
use crate::serde_attrs::skip_to_comma;

/// What the attribute says; what it leaves out, the engine fills in.
#[derive(Debug, Default)]
pub(crate) struct Options {
    /// The path to the library; `::queue` when absent.
    pub(crate) krate: Option<Path>,
    /// The name of the arguments' struct; the function's when absent.
    pub(crate) args: Option<Ident>,
    /// The name of the task; the function's when absent.
    pub(crate) name: Option<LitStr>,
    pub(crate) aliases: Vec<LitStr>,
    queue: Option<LitStr>,
    priority: Option<i32>,
    retries: Option<u32>,
    backoff: Option<Backoff>,
    jitter: Option<Ident>,
    retry_for: Option<Duration>,
    /// A function of the error.
    pub(crate) retry_if: Option<Path>,
    timeout: Option<Duration>,
    expires: Option<Duration>,
    deadline: Option<Duration>,
    tags: Vec<LitStr>,
    keep: Option<Duration>,
    at_most_once: Option<Span>,
    limits: Limits,
    periodic: Periodic,
    seen: Vec<Ident>,
}

impl Options {
    /// Reads the attribute of the task that is named `function` unless it says otherwise.
    ///
    /// What is wrong with one option hides nothing of the others, and leaves it as if it were not given.
    pub(crate) fn read(attribute: TokenStream, function: &Ident) -> (Self, Vec<Error>) {
        let (mut options, mut errors) = (Self::default(), Vec::new());
        let entries = |input: ParseStream<'_>| {
            while !input.is_empty() {
                if let Err(error) = options.read_one(input) {
                    errors.push(error);
                    skip_to_comma(input)?;
                }
                if !input.is_empty() {
                    input.parse::<Token![,]>()?;
                }
            }
            Ok(())
        };
        let ended = entries.parse2(attribute);
        // After an error it may be no more than what that one left unread.
        errors.extend(ended.err().filter(|_| errors.is_empty()));
        errors.extend(options.contradiction());
        errors.extend(options.idle_retry_option());
        errors.extend(options.periodic.contradiction(&options.seen));
        errors.extend(options.name_fault(function));
        (options, errors)
    }

    fn read_one(&mut self, input: ParseStream<'_>) -> syn::Result<()> {
        let entry = Entry::new(input)?;
        if self.seen.contains(&entry.key) {
            let message = format!("the option `{}` is given twice", entry.key);
            return Err(Error::new(entry.key.span(), message));
        }
        self.seen.push(entry.key.clone());
        match entry.key.to_string().as_str() {
            "name" => self.name = Some(entry.name("task")?),
            "aliases" => self.aliases = entry.names("task")?,
            "queue" => self.queue = Some(entry.name("queue")?),
            "priority" => self.priority = Some(entry.number()?),
            "retries" => self.retries = Some(entry.number()?),
            "backoff" => self.backoff = Some(entry.parse_with(Backoff::parse)?),
            "jitter" => self.jitter = Some(entry.variant(&[("none", "None"), ("full", "Full"), ("equal", "Equal")])?),
            "retry_for" => self.retry_for = Some(entry.parse_with(duration::parse)?),
            "retry_if" => self.retry_if = Some(entry.function()?),
            "timeout" => self.timeout = Some(entry.timeout()?),
            "expires" => self.expires = Some(entry.parse_with(duration::parse)?),
            "deadline" => self.deadline = Some(entry.parse_with(duration::parse)?),
            "tags" => self.tags = entry.tags()?,
            "keep" => self.keep = Some(entry.parse_with(duration::parse)?),
            "unique" => self.limits.read_unique(entry.key.span(), input)?,
            "concurrency" => self.limits.read_concurrency(entry.key.span(), input)?,
            "rate" => self.limits.read_rate(entry.key.span(), input)?,
            "lock" => self.limits.read_lock(entry.key.span(), input)?,
            "at_most_once" => self.at_most_once = Some(entry.flag()?),
            "cron" => self.periodic.read_cron(&entry)?,
            "every" => self.periodic.read_every(&entry)?,
            "tz" => self.periodic.read_tz(&entry)?,
            "missed" => self.periodic.read_missed(&entry)?,
            "overlap" => self.periodic.read_overlap(&entry)?,
            "tick_jitter" => self.periodic.read_jitter(&entry)?,
            "revision" => self.periodic.read_revision(&entry)?,
            "args" => self.args = Some(entry.value()?),
            "crate" => self.krate = Some(entry.path()?),
            _ => return Err(entry.unknown()),
        }
        Ok(())
    }

    fn contradiction(&self) -> Option<Error> {
        self.retries.filter(|&retries| retries > 0)?;
        self.at_most_once.map(|span| {
            Error::new(
                span,
                "`at_most_once` and `retries` contradict each other: each retry runs the task once more\n\
                 help: remove one of the two",
            )
        })
    }

    /// Says how to retry where nothing is retried: most often `retries` was forgotten, and the first failure is the last.
    fn idle_retry_option(&self) -> Option<Error> {
        if self.seen.iter().any(|option| option == "retries") {
            return None;
        }
        let given = [
            ("backoff", self.backoff.is_some()),
            ("jitter", self.jitter.is_some()),
            ("retry_for", self.retry_for.is_some()),
        ];
        let idle = |option: &&Ident| given.iter().any(|(name, given)| *given && *option == name);
        self.seen.iter().find(idle).map(|option| {
            let message = format!(
                "`{option}` without `retries`: the task would run once, and its first failure would be its last\n\
                 help: say how often with `retries = 3`; or `retries = 0` where only calls say it"
            );
            Error::new(option.span(), message)
        })
    }

    /// A task without a name of its own has the function's; no name may stand for two things.
    fn name_fault(&self, function: &Ident) -> Option<Error> {
        let own = function.unraw().to_string();
        let own = match &self.name {
            Some(name) => name.value(),
            None => match name::fault("task", &own) {
                Some(why) => {
                    let message = format!("{why}\nhelp: name the task with `name = \"..\"`");
                    return Some(Error::new(function.span(), message));
                }
                None => own,
            },
        };
        let mut names = vec![own];
        self.aliases.iter().find_map(|alias| {
            let text = alias.value();
            if names.contains(&text) {
                let message = format!("the task has the name `{text}` already");
                return Some(Error::new(alias.span(), message));
            }
            names.push(text);
            None
        })
    }

    /// The options that name arguments which the task does not have. A field may be stored under another name: where one
    /// is renamed, what is named is only known when a job is enqueued.
    fn unknown_arguments(&self, arguments: &[&Argument]) -> Vec<Error> {
        let renamed =
            |argument: &&Argument| argument.attrs.iter().any(|attr| quote!(#attr).to_string().contains("rename"));
        if arguments.iter().any(renamed) {
            return Vec::new();
        }
        let names: Vec<String> = arguments.iter().map(|argument| argument.ident.unraw().to_string()).collect();
        let unknown = self.limits.named.iter().filter(|named| !names.contains(&named.value()));
        let all = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let error = |named: &LitStr| {
            Error::new(
                named.span(),
                format!("the task has no argument `{}`\nhelp: its arguments are {all}", named.value()),
            )
        };
        unknown.map(error).collect()
    }

    /// What is wrong with the arguments for a task with these options.
    pub(crate) fn unfit_arguments(&self, arguments: &[&Argument]) -> Vec<Error> {
        let mut errors = self.unknown_arguments(arguments);
        errors.extend(periodic::without_default(&self.seen, arguments));
        errors
    }

    /// The task's options as an expression; `private` is the path of what generated code names.
    pub(crate) fn tokens(&self, private: &TokenStream) -> TokenStream {
        let queue = self.queue.iter();
        let priority = self.priority.iter();
        let retries = self.retries.iter();
        let backoff = self.backoff.iter().map(|backoff| backoff.tokens(private));
        let jitter = self.jitter.iter();
        let retry_for = self.retry_for.iter().copied().map(duration::tokens);
        let timeout = self.timeout.iter().copied().map(duration::tokens);
        let expires = self.expires.iter().copied().map(duration::tokens);
        let deadline = self.deadline.iter().copied().map(duration::tokens);
        let tags = Some(&self.tags).filter(|tags| !tags.is_empty()).into_iter();
        let tags = tags.map(|tags| quote!(.tags(&[#(#tags),*])));
        let keep = self.keep.iter().copied().map(duration::tokens);
        let limits = self.limits.tokens(private);
        let periodic = self.periodic.tokens(private);
        let at_most_once = self.at_most_once.iter().map(|_| quote!(.at_most_once()));
        quote! {
            #private::TaskOptions::DEFAULT
                #(.queue(#queue))*
                #(.priority(#priority))*
                #(.retries(#retries))*
                #(#backoff)*
                #(.jitter(#private::Jitter::#jitter))*
                #(.retry_for(#retry_for))*
                #(.timeout(#timeout))*
                #(.expires(#expires))*
                #(.deadline(#deadline))*
                #(#tags)*
                #(.keep(#keep))*
                #limits
                #(#at_most_once)*
                #periodic
        }
    }
}
