//! The options of `#[task(..)]`.

use std::str::FromStr;
use std::time::Duration;

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{Error, LitInt, LitStr, Path, Token, bracketed};

use crate::backoff::Backoff;
use crate::duration;
use crate::limits::Limits;
use crate::name;
use crate::parameter::Argument;
use crate::serde_attrs::skip_to_comma;

/// Every option, with what it takes and an example.
const VALID: [(&str, &str, &str); 21] = [
    ("name", "a string", "name = \"send_email\""),
    ("aliases", "a list of strings", "aliases = [\"mail\", \"send_mail\"]"),
    ("queue", "a string", "queue = \"mail\""),
    ("priority", "an `i32`", "priority = 10"),
    ("retries", "a `u32`", "retries = 3"),
    ("backoff", "a backoff", "backoff = exponential(\"2s\", cap = \"1h\")"),
    ("jitter", "`none`, `full` or `equal`", "jitter = full"),
    ("retry_for", "a duration", "retry_for = \"10m\""),
    ("retry_if", "the path to a function", "retry_if = is_transient"),
    ("timeout", "a duration", "timeout = \"90s\""),
    ("expires", "a duration", "expires = \"1h\""),
    ("deadline", "a duration", "deadline = \"2h\""),
    ("tags", "a list of strings", "tags = [\"mail\", \"weekly\"]"),
    ("keep", "a duration", "keep = \"1d\""),
    ("unique", "nothing, or how", "unique(key = \"customer\", until = started)"),
    ("concurrency", "a number", "concurrency(5, key = \"tenant\")"),
    ("rate", "starts in a period", "rate(\"100/s\", burst = 5)"),
    ("lock", "a name", "lock = \"ledger\""),
    ("at_most_once", "no value", "at_most_once"),
    ("args", "a name for the struct", "args = SendEmail"),
    ("crate", "the path to the library", "crate = my_framework::queue"),
];

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
            "jitter" => self.jitter = Some(entry.jitter()?),
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
    pub(crate) fn unknown_arguments(&self, arguments: &[&Argument]) -> Vec<Error> {
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
        }
    }
}

/// One option, its key read.
struct Entry<'a> {
    key: Ident,
    input: ParseStream<'a>,
}

impl<'a> Entry<'a> {
    fn new(input: ParseStream<'a>) -> syn::Result<Self> {
        let key = input.call(Ident::parse_any).map_err(|error| {
            let message = "expected an option, such as `name = \"send_email\"` or `retries = 3`";
            Error::new(error.span(), message)
        })?;
        Ok(Self { key, input })
    }

    fn unknown(&self) -> Error {
        let valid = VALID.map(|(name, ..)| format!("`{name}`")).join(", ");
        let message = format!("unknown task option `{}`\nhelp: valid options are {valid}", self.key);
        Error::new(self.key.span(), message)
    }

    /// The value is not what this option takes.
    fn wrong(&self, span: Span) -> Error {
        let key = self.key.to_string();
        let (_, takes, example) = VALID.into_iter().find(|(name, ..)| *name == key).unwrap_or_default();
        Error::new(span, format!("`{key}` takes {takes}: `{example}`"))
    }

    fn equals(&self) -> syn::Result<()> {
        match self.input.parse::<Token![=]>() {
            Ok(_) => Ok(()),
            Err(_) => Err(self.wrong(self.key.span())),
        }
    }

    fn parse_with<T>(&self, parse: fn(ParseStream<'_>) -> syn::Result<T>) -> syn::Result<T> {
        self.equals()?;
        parse(self.input)
    }

    fn value<T: Parse>(&self) -> syn::Result<T> {
        self.equals()?;
        let span = self.input.span();
        self.input.parse().map_err(|_| self.wrong(span))
    }

    fn flag(&self) -> syn::Result<Span> {
        if self.input.peek(Token![=]) {
            return Err(self.wrong(self.input.span()));
        }
        Ok(self.key.span())
    }

    fn number<T: FromStr<Err: std::fmt::Display>>(&self) -> syn::Result<T> {
        let literal: LitInt = self.value()?;
        let number = literal.base10_parse().ok().filter(|_| literal.suffix().is_empty());
        number.ok_or_else(|| self.wrong(literal.span()))
    }

    fn name(&self, what: &str) -> syn::Result<LitStr> {
        name::checked(what, self.value()?)
    }

    fn names(&self, what: &str) -> syn::Result<Vec<LitStr>> {
        self.equals()?;
        let span = self.input.span();
        let list = |input: ParseStream<'_>| {
            let content;
            bracketed!(content in input);
            Punctuated::<LitStr, Token![,]>::parse_terminated(&content)
        };
        let names = list(self.input).map_err(|_| self.wrong(span))?;
        names.into_iter().map(|name| name::checked(what, name)).collect()
    }

    /// As many labels as a job may have.
    fn tags(&self) -> syn::Result<Vec<LitStr>> {
        const MOST: usize = 8;
        let tags = self.names("tag")?;
        match tags.get(MOST) {
            Some(tag) => Err(Error::new(tag.span(), format!("a job has {MOST} tags at most"))),
            None => Ok(tags),
        }
    }

    /// The variant of `Jitter`.
    fn jitter(&self) -> syn::Result<Ident> {
        let word: Ident = self.value()?;
        let variant = match word.to_string().as_str() {
            "none" => "None",
            "full" => "Full",
            "equal" => "Equal",
            _ => return Err(self.wrong(word.span())),
        };
        Ok(Ident::new(variant, word.span()))
    }

    fn timeout(&self) -> syn::Result<Duration> {
        self.equals()?;
        let span = self.input.span();
        match duration::parse(self.input)? {
            Duration::ZERO => {
                Err(Error::new(span, "a `timeout` of zero ends every attempt at once\nhelp: leave it out for no limit"))
            }
            timeout => Ok(timeout),
        }
    }

    fn function(&self) -> syn::Result<Path> {
        self.equals()?;
        let span = self.input.span();
        self.input.call(Path::parse_mod_style).map_err(|_| self.wrong(span))
    }

    /// A path that can be written as text, as serde asks for it.
    fn path(&self) -> syn::Result<Path> {
        self.equals()?;
        let span = self.input.span();
        let path = self.input.call(Path::parse_mod_style).map_err(|_| self.wrong(span))?;
        if path.segments.iter().any(|segment| segment.ident == "$crate") {
            let message = "`crate` can't start with `$crate`, which has no meaning to serde's derive\n\
                           help: name the crate: `crate = ::my_framework::queue`";
            return Err(Error::new(span, message));
        }
        Ok(path)
    }
}
