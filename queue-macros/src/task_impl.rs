//! The implementation of `Task`: what a worker needs to know of the function, and how it runs it.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{LitStr, Type};

use crate::expand::Task;
use crate::parameter::{Argument, Parameter};

impl Task {
    pub(crate) fn implementation(&self) -> TokenStream {
        let Self { name, private, options, .. } = self;
        let (task_name, aliases, constants) = (self.task_name(), &options.aliases, options.tokens(private));
        let (output, requires, run) = (self.output(), self.requires(), self.run());
        quote! {
            #[allow(deprecated)]
            impl #private::Task for #name {
                #output
                const NAME: &'static ::core::primitive::str = #task_name;
                const ALIASES: &'static [&'static ::core::primitive::str] = &[#(#aliases),*];
                const OPTIONS: #private::TaskOptions = #constants;
                const PLACE: &'static ::core::primitive::str =
                    ::core::concat!(::core::file!(), ":", ::core::line!());
                #requires
                #run
            }
        }
    }

    /// The bare name: moving a function to another module must not orphan its stored jobs.
    fn task_name(&self) -> LitStr {
        let function = &self.function.sig.ident;
        let own = || LitStr::new(&function.unraw().to_string(), function.span());
        self.options.name.clone().unwrap_or_else(own)
    }

    fn output(&self) -> TokenStream {
        let (private, returned) = (&self.private, self.function.output());
        quote_spanned!(returned.span()=> type Output = <#returned as #private::TaskReturn>::Output;)
    }

    /// Said in a method body: an associated type would leak private types.
    fn requires(&self) -> Option<TokenStream> {
        let private = &self.private;
        let types: Vec<&Type> = self.parameters.iter().filter_map(Parameter::injected).collect();
        if types.is_empty() {
            return None;
        }
        Some(quote_spanned! {Span::mixed_site()=>
            fn requires(requirements: &mut #private::Requirements) {
                #(<#types as #private::FromContext>::requires(requirements);)*
            }
        })
    }

    /// What is handed in is taken first: a task that is not async then takes to its thread no more than it uses.
    fn run(&self) -> TokenStream {
        let private = &self.private;
        let (mut takes, mut values) = (Vec::new(), Vec::new());
        for parameter in &self.parameters {
            match parameter {
                Parameter::Argument(Argument { ident, .. }) => {
                    values.push(quote_spanned!(Span::mixed_site()=> self.#ident));
                }
                Parameter::Injected(ty) => {
                    let local = format_ident!("injected{}", takes.len(), span = Span::mixed_site());
                    values.push(local.to_token_stream());
                    takes.push(quote_spanned! {Span::mixed_site()=>
                        let #local = <#ty as #private::FromContext>::from_context(&ctx)?;
                    });
                }
            }
        }
        let ctx = Ident::new(if takes.is_empty() { "_ctx" } else { "ctx" }, Span::mixed_site());
        // A future that is not `Send` is reported at its output.
        let output = quote_spanned! {self.function.output().span()=>
            ::core::result::Result<Self::Output, #private::TaskError>
        };
        let outcome = self.outcome(&values);
        quote_spanned! {Span::mixed_site()=>
            async fn run(self, #ctx: #private::Context) -> #output {
                #(#takes)*
                #outcome
            }
        }
    }

    /// Calls the function, here or, when it is not async, on the blocking pool.
    fn outcome(&self, values: &[TokenStream]) -> TokenStream {
        let (private, function, returned) = (&self.private, &self.function.sig.ident, self.function.output());
        let call = quote!(#function(#(#values),*));
        let into_result = |value| match &self.options.retry_if {
            None => quote_spanned!(returned.span()=> <#returned as #private::TaskReturn>::into_result(#value)),
            // A function of another type is reported where it is named.
            Some(retry_if) => quote_spanned!(retry_if.span()=> #private::judged::<#returned, _>(#value, #retry_if)),
        };
        if self.function.sig.asyncness.is_some() {
            into_result(quote!(#call.await))
        } else {
            let result = into_result(call);
            quote!(#private::run_blocking(move || #result).await)
        }
    }
}
