//! What is between the parentheses of the attribute.

use proc_macro2::{TokenStream, TokenTree};
use syn::ext::IdentExt as _;
use syn::parse::{ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::token::Paren;
use syn::{Error, Expr, Ident, Path, Result, Token, parenthesized};

use crate::settings::{self, CALLS, FLAGS, WORKERS};

/// The arguments that are right.
#[derive(Default)]
pub(crate) struct Arguments {
    /// The path of the library, unless it is `::daemonocle`.
    pub(crate) library: Option<Path>,
    pub(crate) name: Option<Expr>,
    /// How many workers there are, if there are many.
    pub(crate) multi: Option<Expr>,
    /// In the order in which they are written.
    pub(crate) settings: Vec<Setting>,
}

/// A method of the builder, and what it is called with.
pub(crate) struct Setting {
    pub(crate) name: Ident,
    /// None for a flag.
    pub(crate) values: Vec<Expr>,
}

impl Arguments {
    /// Reads them all, and keeps what is right beside the errors: the less is missing, the less the
    /// compiler says about what is not wrong.
    pub(crate) fn parse(tokens: TokenStream) -> (Self, Vec<Error>) {
        let mut reader = Reader::default();
        if let Err(error) = Parser::parse2(|input: ParseStream<'_>| reader.read(input), tokens) {
            reader.errors.push(error);
        }
        (reader.arguments, reader.errors)
    }

    pub(crate) fn has(&self, setting: &str) -> bool {
        self.settings.iter().any(|known| known.name == setting)
    }
}

#[derive(Default)]
struct Reader {
    arguments: Arguments,
    seen: Vec<Ident>,
    errors: Vec<Error>,
}

impl Reader {
    fn read(&mut self, input: ParseStream<'_>) -> Result<()> {
        while !input.is_empty() {
            if !input.peek(Ident::peek_any) {
                let message = "the name of a setting is missing: write `name = value`, as in \
                               `pid_file = \"/run/example.pid\"`";
                return Err(input.error(message));
            }
            let name = Ident::parse_any(input)?;
            if let Err(error) = self.argument(name, input) {
                self.errors.push(error);
                skip(input)?;
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(())
    }

    /// Reads what follows a name, up to the next comma.
    fn argument(&mut self, name: Ident, input: ParseStream<'_>) -> Result<()> {
        let known = name.to_string();
        let is_one_of = |names: &[&str]| names.contains(&&*known);
        if !settings::all().any(|setting| setting == known) {
            self.report(&name, unknown(&known));
            return skip(input);
        }
        if is_one_of(CALLS) {
            return self.call(name, input);
        }
        let is_first = !self.seen.contains(&name);
        if !is_first {
            self.report(&name, format!("`{known}` is set twice: leave one of them out"));
        }
        self.seen.push(name.clone());
        let value = match self.value(&name, is_one_of(FLAGS), input)? {
            Some(value) => Some(value),
            None if is_one_of(FLAGS) => None,
            None => return Ok(()),
        };
        match value {
            _ if !is_first => {}
            Some(value) if known == "name" => self.arguments.name = Some(value),
            Some(value) if known == "multi" => self.arguments.multi = Some(value),
            Some(Expr::Path(value)) if known == "crate" => {
                self.arguments.library = Some(value.path)
            }
            Some(value) if known == "crate" => {
                let message =
                    "`crate` is the path of daemonocle: write `crate = path`, without quotes";
                self.errors.push(Error::new_spanned(value, message));
            }
            value => {
                let values = value.into_iter().collect();
                self.arguments.settings.push(Setting { name, values });
            }
        }
        Ok(())
    }

    /// Reads `= value`. `None`: there is none, which has been reported unless it is right.
    fn value(
        &mut self,
        name: &Ident,
        is_flag: bool,
        input: ParseStream<'_>,
    ) -> Result<Option<Expr>> {
        let is_over = |input: ParseStream<'_>| input.is_empty() || input.peek(Token![,]);
        match is_flag {
            true if is_over(input) => return Ok(None),
            true => {
                let message = format!("`{name}` takes no value: write `{name}`, or leave it out");
                return Err(input.error(message));
            }
            false if is_over(input) => {}
            false if input.peek(Token![=]) => {
                input.parse::<Token![=]>()?;
            }
            false => return Err(input.error(format!("write `{name} = value`"))),
        }
        if is_over(input) {
            self.report(name, format!("`{name}` needs a value: write `{name} = value`"));
            return Ok(None);
        }
        input.parse().map(Some)
    }

    /// Reads `(value, …)`.
    fn call(&mut self, name: Ident, input: ParseStream<'_>) -> Result<()> {
        if !input.peek(Paren) {
            let message = format!("write `{name}(…)`, with what the builder's method takes");
            self.report(&name, message);
            return skip(input);
        }
        let content;
        parenthesized!(content in input);
        let values = content.call(Punctuated::<Expr, Token![,]>::parse_terminated)?;
        self.arguments.settings.push(Setting { name, values: values.into_iter().collect() });
        Ok(())
    }

    fn report(&mut self, name: &Ident, message: String) {
        self.errors.push(Error::new(name.span(), message));
    }
}

/// Goes to the next comma.
fn skip(input: ParseStream<'_>) -> Result<()> {
    while !input.is_empty() && !input.peek(Token![,]) {
        input.parse::<TokenTree>()?;
    }
    Ok(())
}

fn unknown(name: &str) -> String {
    if WORKERS.contains(&name) {
        return format!(
            "`{name}` cannot be set: this function is the worker; use `Daemon` without the \
             attribute for another one"
        );
    }
    let known: Vec<_> = settings::all().map(|name| format!("`{name}`")).collect();
    let known = known.join(", ");
    match settings::nearest(name) {
        Some(nearest) => {
            format!("unknown setting `{name}`: did you mean `{nearest}`? known are {known}")
        }
        None => format!("unknown setting `{name}`: known are {known}"),
    }
}
