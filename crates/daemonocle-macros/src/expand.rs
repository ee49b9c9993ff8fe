//! What becomes of the function: a nested one, and a `main` that hands it to the builder.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{Attribute, Type};

use crate::arguments::{Arguments, Setting};
use crate::function::{Function, Returns};
use crate::help;

pub(crate) fn main(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let (arguments, errors) = Arguments::parse(arguments);
    let errors: TokenStream = errors.iter().map(syn::Error::to_compile_error).collect();
    let main = match Function::parse(item) {
        Ok(function) => expand(&arguments, &function),
        Err((error, rest)) => {
            let error = error.to_compile_error();
            quote!(#error #rest)
        }
    };
    quote!(#errors #main)
}

fn expand(arguments: &Arguments, function: &Function) -> TokenStream {
    let Function { attributes, visibility, signature, body } = function;
    let (outer, inner): (Vec<_>, Vec<_>) = attributes.iter().partition(|it| is_of_both(it));
    let name = &signature.ident;
    let builder = builder(arguments, attributes);
    let run = run(function);
    quote! {
        #(#outer)*
        #visibility fn #name() -> ::std::process::ExitCode {
            #(#inner)*
            #signature #body

            #builder #run
        }
    }
}

/// Whether an attribute is about the new function too: documentation, conditions and lints. Others,
/// such as those that trace or time a call, mean the worker.
fn is_of_both(attribute: &Attribute) -> bool {
    const WORDS: [&str; 8] =
        ["doc", "cfg", "cfg_attr", "allow", "expect", "warn", "deny", "forbid"];
    WORDS.iter().any(|word| attribute.path().is_ident(word))
}

/// `Daemon::new(…).pid_file(…)`, each method at the place of its setting; for many workers in a `Multi`.
fn builder(arguments: &Arguments, attributes: &[Attribute]) -> TokenStream {
    let library = match &arguments.library {
        Some(path) => quote!(#path),
        None => quote!(::daemonocle),
    };
    let new = match &arguments.name {
        Some(name) => quote!(new(#name)),
        None => quote!(default()),
    };
    let about = (!arguments.has("about")).then(|| help::text(attributes)).flatten();
    let about = about.map(|text| quote!(.about(#text)));
    let settings = arguments
        .settings
        .iter()
        .map(|Setting { name, values }| quote_spanned!(name.span()=> .#name(#(#values),*)));
    let daemon = quote!(#library::Daemon::#new #about #(#settings)*);
    match &arguments.multi {
        Some(count) => quote!(#library::Multi::new(#count, #daemon)),
        None => daemon,
    }
}

/// `.run(…)`, or one of its sisters, with a closure that calls the worker.
fn run(function: &Function) -> TokenStream {
    let worker = &function.signature.ident;
    let mut types = function.parameters();
    let (context, options) = (types.next(), types.next());
    // Of the macro's own, and yet where the parameter is: there the compiler says what does not fit.
    let own = |name: &str, of: &Type| Ident::new(name, own_at(of));
    let context = context.map(|of| own("context", of));
    let options = options.map(|of| (own("options", of), of));

    let (arguments, parameters) = match (&context, &options) {
        (Some(context), Some((options, of))) => {
            (quote!(#context, #options), quote!(#context, #options: #of))
        }
        (Some(context), None) => (quote!(#context), quote!(#context)),
        _ => (quote!(), quote!(_)),
    };
    let wait = function.is_async().then(|| quote!(.await));
    let call = quote!(#worker(#arguments) #wait);
    let body = match function.returns() {
        Returns::Nothing => quote!({ #call; ::core::result::Result::Ok(()) }),
        Returns::Never => call,
        Returns::Result(of) => {
            // What does not fit is said of these words, as if they were the type.
            let result = Ident::new("result", own_at(of));
            let convert = quote_spanned! {own_at(of)=>
                ::std::boxed::Box::<
                    dyn ::std::error::Error + ::core::marker::Send + ::core::marker::Sync
                >::from
            };
            quote!({
                let #result = #call;
                let #result: ::core::result::Result<(), _> = #result;
                #result.map_err(#convert)
            })
        }
    };
    let method = match (function.is_async(), &options) {
        (false, None) => quote!(run),
        (true, None) => quote!(run_async),
        (false, Some((_, of))) => quote_spanned!(own_at(of)=> run_with),
        (true, Some((_, of))) => quote_spanned!(own_at(of)=> run_async_with),
    };
    let asyncness = &function.signature.asyncness;
    quote!(.#method(#asyncness |#parameters| #body))
}

/// The place of a type in the source, for names that nothing in the source can mean: of one with a path
/// the last word, as a place that the macro can name has one word only.
fn own_at(of: &Type) -> Span {
    let place = match of {
        Type::Reference(of) => return own_at(&of.elem),
        Type::Path(of) => {
            of.path.segments.last().map_or_else(|| of.span(), |last| last.ident.span())
        }
        _ => of.span(),
    };
    Span::mixed_site().located_at(place)
}
