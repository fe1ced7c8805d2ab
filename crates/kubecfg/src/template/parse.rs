//! From parts and tokens to nodes.

use std::collections::BTreeMap;
use std::vec::IntoIter;

use serde_json::Value;

use super::lex::{self, Part, Token};
use super::{Base, Node, Operand, Pipeline, Template, Wrong, funcs};

/// Reads a template.
pub(super) fn parse(text: &str) -> Result<Template, Wrong> {
    let mut parser = Parser { parts: lex::parts(text)?.into_iter(), named: BTreeMap::new() };
    let (body, end) = parser.nodes()?;
    match end {
        Stop::Text => Ok(Template { body, named: parser.named }),
        Stop::Else(_) => Err(Wrong::Syntax("unexpected {{else}}".to_owned())),
        Stop::End => Err(Wrong::Syntax("unexpected {{end}}".to_owned())),
    }
}

struct Parser<'a> {
    parts: IntoIter<Part<'a>>,
    named: BTreeMap<String, Vec<Node>>,
}

/// What ended a list of nodes.
enum Stop {
    Text,
    End,
    /// With what stood behind the word: `if ...`.
    Else(Vec<Token>),
}

/// Which of the three.
#[derive(Clone, Copy)]
enum Control {
    If,
    With,
    Range,
}

impl Control {
    fn of(word: &str) -> Option<Self> {
        match word {
            "if" => Some(Self::If),
            "with" => Some(Self::With),
            "range" => Some(Self::Range),
            _ => None,
        }
    }

    fn node(self, pipeline: Pipeline, body: Vec<Node>, other: Vec<Node>) -> Node {
        match self {
            Self::If => Node::If(pipeline, body, other),
            Self::With => Node::With(pipeline, body, other),
            Self::Range => Node::Range(pipeline, body, other),
        }
    }
}

impl Parser<'_> {
    fn nodes(&mut self) -> Result<(Vec<Node>, Stop), Wrong> {
        let mut nodes = Vec::new();
        while let Some(part) = self.parts.next() {
            let action = match part {
                Part::Text(text) => {
                    nodes.push(Node::Text(text.to_owned()));
                    continue;
                }
                Part::Action(action) => lex::tokens(action)?,
            };
            let word = match action.first() {
                Some(Token::Word(word)) => word.clone(),
                _ => String::new(),
            };
            let rest = || action[1..].to_vec();
            if let Some(control) = Control::of(&word) {
                let node = self.control(control, rest())?;
                nodes.push(node);
                continue;
            }
            match word.as_str() {
                "end" => return Ok((nodes, Stop::End)),
                "else" => return Ok((nodes, Stop::Else(rest()))),
                "define" => self.define(&rest())?,
                "template" => nodes.push(call(rest())?),
                _ => nodes.push(Node::Print(pipeline(action)?)),
            }
        }
        Ok((nodes, Stop::Text))
    }

    fn control(&mut self, control: Control, head: Vec<Token>) -> Result<Node, Wrong> {
        let pipeline = pipeline(head)?;
        let (body, end) = self.nodes()?;
        let other = match end {
            Stop::Text => return Err(Wrong::Syntax("unexpected EOF".to_owned())),
            Stop::End => Vec::new(),
            Stop::Else(rest) => match rest.first() {
                // `else if` closes both with one end.
                Some(Token::Word(word)) => {
                    let control = Control::of(word)
                        .ok_or_else(|| Wrong::Syntax(format!("unexpected <{word}> in else")))?;
                    vec![self.control(control, rest[1..].to_vec())?]
                }
                Some(_) => return Err(Wrong::Syntax("unexpected token in else".to_owned())),
                None => match self.nodes()? {
                    (other, Stop::End) => other,
                    _ => return Err(Wrong::Syntax("expected {{end}}".to_owned())),
                },
            },
        };
        Ok(control.node(pipeline, body, other))
    }

    fn define(&mut self, head: &[Token]) -> Result<(), Wrong> {
        let [Token::Literal(Value::String(name))] = head else {
            return Err(Wrong::Syntax("a definition needs a quoted name".to_owned()));
        };
        let (body, end) = self.nodes()?;
        let Stop::End = end else { return Err(Wrong::Syntax("expected {{end}} of a definition".to_owned())) };
        self.named.insert(name.clone(), body);
        Ok(())
    }
}

fn call(head: Vec<Token>) -> Result<Node, Wrong> {
    let mut head = head.into_iter();
    let Some(Token::Literal(Value::String(name))) = head.next() else {
        return Err(Wrong::Syntax("a template call needs a quoted name".to_owned()));
    };
    let rest: Vec<Token> = head.collect();
    Ok(Node::Call(name, if rest.is_empty() { None } else { Some(pipeline(rest)?) }))
}

/// `$a, $b := commands`.
fn pipeline(mut tokens: Vec<Token>) -> Result<Pipeline, Wrong> {
    let mut made = Pipeline::default();
    let sign = tokens.iter().position(|token| matches!(token, Token::Declare | Token::Assign));
    if let Some(sign) = sign {
        for token in tokens.drain(..=sign) {
            match token {
                Token::Variable(name) => made.declare.push(name),
                Token::Assign => made.assign = true,
                Token::Comma | Token::Declare => {}
                _ => return Err(Wrong::Syntax("only variables can be declared".to_owned())),
            }
        }
    }
    let mut tokens = tokens.into_iter().peekable();
    made.commands = commands(&mut tokens, false)?;
    if tokens.next().is_some() {
        return Err(Wrong::Syntax("unexpected right paren".to_owned()));
    }
    Ok(made)
}

type Tokens = std::iter::Peekable<IntoIter<Token>>;

fn commands(tokens: &mut Tokens, inner: bool) -> Result<Vec<Vec<Operand>>, Wrong> {
    let mut commands = Vec::new();
    let mut command: Vec<Operand> = Vec::new();
    loop {
        match tokens.peek() {
            None if inner => return Err(Wrong::Syntax("unclosed left paren".to_owned())),
            None => break,
            Some(Token::Close) if inner => break,
            Some(Token::Close) => break,
            Some(Token::Pipe) => {
                tokens.next();
                if command.is_empty() {
                    return Err(Wrong::Syntax("missing value for command".to_owned()));
                }
                commands.push(std::mem::take(&mut command));
            }
            Some(_) => command.push(operand(tokens)?),
        }
    }
    if command.is_empty() {
        return Err(Wrong::Syntax("missing value for command".to_owned()));
    }
    commands.push(command);
    Ok(commands)
}

fn operand(tokens: &mut Tokens) -> Result<Operand, Wrong> {
    let base = match tokens.next() {
        Some(Token::Dot) => Base::Dot,
        Some(Token::Fields(fields, _)) => return Ok(Operand { base: Base::Dot, fields }),
        Some(Token::Variable(name)) => Base::Variable(name),
        Some(Token::Literal(value)) => Base::Literal(value),
        Some(Token::Word(name)) if funcs::known(&name) => Base::Function(name),
        Some(Token::Word(name)) => return Err(Wrong::Function(name)),
        Some(Token::Open) => {
            let inner = Pipeline { commands: commands(tokens, true)?, ..Pipeline::default() };
            tokens.next();
            Base::Inner(inner)
        }
        Some(other) => return Err(Wrong::Syntax(format!("unexpected {other:?} in command"))),
        None => return Err(Wrong::Syntax("missing value for command".to_owned())),
    };
    let mut fields = Vec::new();
    if let Some(Token::Fields(names, _)) = tokens.next_if(|next| matches!(next, Token::Fields(_, true))) {
        fields = names;
    }
    Ok(Operand { base, fields })
}
