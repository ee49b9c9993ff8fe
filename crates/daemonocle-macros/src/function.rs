//! The function below the attribute: what it may look like.

use proc_macro2::{TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::ext::IdentExt as _;
use syn::parse::{ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{
    Attribute, Error, FnArg, Ident, LitStr, Result, ReturnType, Safety, Signature, Token, Type,
    Visibility,
};

/// A function that can be a worker.
pub(crate) struct Function {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) visibility: Visibility,
    pub(crate) signature: Signature,
    pub(crate) body: TokenTree,
}

/// What a worker gives back.
pub(crate) enum Returns<'a> {
    Nothing,
    Never,
    Result(&'a Type),
}

impl Function {
    /// # Errors
    ///
    /// Everything that is wrong with it, at its place, and what to leave of it in the program.
    pub(crate) fn parse(item: TokenStream) -> std::result::Result<Self, (Error, TokenStream)> {
        let parser = |input: ParseStream<'_>| {
            let attributes = input.call(Attribute::parse_outer)?;
            let visibility = input.parse()?;
            expect_function(input)?;
            let signature = input.parse()?;
            if input.is_empty() || input.peek(Token![;]) {
                return Err(input.error("a worker needs a body: write what the daemon does"));
            }
            Ok(Self { attributes, visibility, signature, body: input.parse()? })
        };
        let function = parser.parse2(item.clone()).map_err(|error| (error, item.clone()))?;
        match function.check() {
            Ok(()) => Ok(function),
            Err(error) if function.signature.ident.unraw() == "main" => {
                Err((error, function.stand_in()))
            }
            Err(error) => Err((error, item)),
        }
    }

    /// A `main` for a program that will not be, so that the compiler does not miss it, nor the use of
    /// what the body uses.
    fn stand_in(self) -> TokenStream {
        let Self { mut signature, body, .. } = self;
        let name = signature.ident.clone();
        signature.constness = None;
        let function =
            signature.receiver().is_none().then(|| quote!(#[allow(dead_code)] #signature #body));
        quote!(fn #name() { #function })
    }

    /// The parameter for the context, and the one for the options.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = &Type> {
        self.signature.inputs.iter().filter_map(|parameter| match parameter {
            FnArg::Typed(parameter) => Some(&*parameter.ty),
            FnArg::Receiver(_) => None,
        })
    }

    pub(crate) fn returns(&self) -> Returns<'_> {
        match &self.signature.output {
            ReturnType::Default => Returns::Nothing,
            ReturnType::Type(_, of) => match &**of {
                Type::Tuple(unit) if unit.elems.is_empty() => Returns::Nothing,
                Type::Never(_) => Returns::Never,
                of => Returns::Result(of),
            },
        }
    }

    pub(crate) fn is_async(&self) -> bool {
        self.signature.asyncness.is_some()
    }

    fn check(&self) -> Result<()> {
        let mut errors = Errors(None);
        self.check_attributes(&mut errors);
        self.check_qualifiers(&mut errors);
        self.check_parameters(&mut errors);
        let Returns::Result(of) = self.returns() else { return errors.into_result() };
        if last_word(of).is_some_and(|word| word == "ExitCode") {
            let message = "a worker returns nothing or a `daemonocle::Result`: for an exit code of \
                           your own return the error `daemonocle::Exit`";
            errors.at(of, message);
        }
        errors.into_result()
    }

    fn check_attributes(&self, errors: &mut Errors) {
        // `#[tokio::main]`, above all, which would make threads before the forks.
        let is_main = |attribute: &&Attribute| {
            attribute.path().segments.last().is_some_and(|last| last.ident == "main")
        };
        for attribute in self.attributes.iter().filter(is_main) {
            let message = "a daemon has one `main`, and its runtime is made after the forks: leave \
                           this attribute out, `async fn` is enough";
            errors.at(attribute, message);
        }
    }

    fn check_qualifiers(&self, errors: &mut Errors) {
        let Signature { ident, generics, .. } = &self.signature;
        if ident.unraw() != "main" {
            let message = format!(
                "`#[daemonocle::main]` is for the function `main`: rename `{ident}`, or hand it to \
                 `daemonocle::Daemon::run`"
            );
            errors.at(ident, message);
        }
        if let Some(word) = &self.signature.constness {
            errors.at(word, "a worker cannot be `const`: leave the word out");
        }
        if let Some(word) = &self.signature.asyncness
            && !cfg!(feature = "tokio")
        {
            let message = "an `async` worker needs the feature `tokio` of daemonocle: write \
                           `features = [\"tokio\"]` in Cargo.toml";
            errors.at(word, message);
        }
        if let Safety::Unsafe(word) = &self.signature.safety {
            errors.at(word, "a worker cannot be `unsafe`: put the blocks that are into it");
        }
        if let Some(abi) = &self.signature.abi {
            errors.at(abi, "a worker is a function of Rust: leave `extern` out");
        }
        if !generics.params.is_empty() {
            errors.at(
                &generics.params,
                "a worker cannot be generic: nobody would say for what types",
            );
        }
        if let Some(clause) = &generics.where_clause {
            errors.at(clause, "a worker cannot be generic: leave the clause out");
        }
    }

    fn check_parameters(&self, errors: &mut Errors) {
        let inputs = &self.signature.inputs;
        for input in inputs {
            if let FnArg::Receiver(receiver) = input {
                errors.at(receiver, "a worker has no `self`: write `ctx: &Context`");
                return;
            }
        }
        if inputs.len() > 2 {
            let message = "a worker has two parameters at most, its context and its options: put all \
                           options into one struct";
            let more: Punctuated<_, Token![,]> = inputs.iter().skip(2).collect();
            errors.at(more, message);
        }
        let mut types = self.parameters();
        if let Some(context) = types.next() {
            match (context, self.is_async()) {
                (Type::Reference(of), true) => {
                    errors.at(of, "an `async` worker owns its context: write `Context`");
                }
                (Type::Reference(of), false) if of.mutability.is_some() => {
                    errors.at(of, "a worker shares its context: write `&Context`");
                }
                (Type::Reference(_), false) | (_, true) => {}
                (other, false) => {
                    let message = "the first parameter of a worker is its context, `ctx: &Context`; \
                                   options are the second";
                    errors.at(other, message);
                }
            }
        }
        match types.next() {
            Some(Type::Reference(of)) => {
                errors.at(of, "a worker owns its options: leave the `&` out");
            }
            Some(Type::ImplTrait(of)) => {
                errors.at(of, "name the type of the options: a struct that derives `clap::Args`");
            }
            _ => {}
        }
    }
}

/// Refuses what is not a function, at the word that says so.
fn expect_function(input: ParseStream<'_>) -> Result<()> {
    let ahead = input.fork();
    loop {
        if ahead.peek(Token![fn]) {
            return Ok(());
        }
        let is_qualifier = ahead.peek(Token![const])
            || ahead.peek(Token![async])
            || ahead.peek(Token![unsafe])
            || ahead.peek(Token![extern])
            || ahead.peek(LitStr);
        if !is_qualifier {
            let message = "`#[daemonocle::main]` is for a function: write it above `fn main`";
            return Err(input.error(message));
        }
        ahead.parse::<TokenTree>()?;
    }
}

/// `ExitCode` of `std::process::ExitCode`.
fn last_word(of: &Type) -> Option<&Ident> {
    match of {
        Type::Path(of) => of.path.segments.last().map(|last| &last.ident),
        _ => None,
    }
}

/// Several errors that are one.
struct Errors(Option<Error>);

impl Errors {
    fn at(&mut self, tokens: impl ToTokens, message: impl std::fmt::Display) {
        let error = Error::new_spanned(tokens, message);
        match &mut self.0 {
            Some(all) => all.combine(error),
            None => self.0 = Some(error),
        }
    }

    fn into_result(self) -> Result<()> {
        self.0.map_or(Ok(()), Err)
    }
}
