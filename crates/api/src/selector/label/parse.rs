//! The grammar of label selectors, token by token.
//!
//! The order of checks is upstream's, so that a wrong selector is refused in the same words.

use std::collections::BTreeSet;

use super::{Operator, Requirement, check_key};
use crate::selector::SelectorError;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Word,
    In,
    NotIn,
    Equals,
    DoubleEquals,
    NotEquals,
    Greater,
    Less,
    Not,
    Comma,
    Open,
    Close,
    End,
    Error,
}

fn is_special(c: char) -> bool {
    matches!(c, '=' | '!' | '(' | ')' | ',' | '>' | '<')
}

/// As upstream has it: a form feed is part of a word, which is then refused.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn symbol(text: &str) -> Option<Token> {
    Some(match text {
        "=" => Token::Equals,
        "==" => Token::DoubleEquals,
        "!=" => Token::NotEquals,
        ">" => Token::Greater,
        "<" => Token::Less,
        "!" => Token::Not,
        "," => Token::Comma,
        "(" => Token::Open,
        ")" => Token::Close,
        _ => return None,
    })
}

fn scan(text: &str) -> Vec<(Token, String)> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(is_space);
        let Some(first) = rest.chars().next() else { break };
        if is_special(first) {
            let run = rest.find(|c| !is_special(c)).unwrap_or(rest.len());
            let longest = (1..=run.min(2)).rev().find_map(|n| Some((n, symbol(rest.get(..n)?)?)));
            let (length, token) = longest.unwrap_or((run, Token::Error));
            tokens.push((token, rest[..length].to_owned()));
            rest = &rest[length..];
        } else {
            let end = rest.find(|c: char| is_special(c) || is_space(c)).unwrap_or(rest.len());
            let token = match &rest[..end] {
                "in" => Token::In,
                "notin" => Token::NotIn,
                _ => Token::Word,
            };
            tokens.push((token, rest[..end].to_owned()));
            rest = &rest[end..];
        }
    }
    tokens.push((Token::End, String::new()));
    tokens
}

struct Parser {
    tokens: Vec<(Token, String)>,
    position: usize,
}

fn refuse<T>(text: String) -> Result<T, SelectorError> {
    Err(SelectorError(text))
}

impl Parser {
    fn at(&self, index: usize) -> (Token, String) {
        self.tokens.get(index).cloned().unwrap_or((Token::End, String::new()))
    }

    /// The next token where a word may stand: `in` and `notin` are words there.
    fn look(&self) -> (Token, String) {
        let (token, text) = self.at(self.position);
        (if matches!(token, Token::In | Token::NotIn) { Token::Word } else { token }, text)
    }

    fn take(&mut self) -> (Token, String) {
        let next = self.look();
        self.position += 1;
        next
    }

    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        let (mut token, mut key) = self.take();
        let negated = token == Token::Not;
        if negated {
            (token, key) = self.take();
        }
        if token != Token::Word {
            return refuse(format!("found '{key}', expected: identifier"));
        }
        check_key(&key)?;
        if negated {
            return Requirement::new(&key, Operator::DoesNotExist, Vec::new());
        }
        if matches!(self.look().0, Token::End | Token::Comma) {
            return Requirement::new(&key, Operator::Exists, Vec::new());
        }
        let (token, text) = self.at(self.position);
        self.position += 1;
        let operator = match token {
            Token::In => Operator::In,
            Token::NotIn => Operator::NotIn,
            Token::Equals | Token::DoubleEquals => Operator::Equals,
            Token::NotEquals => Operator::NotEquals,
            Token::Greater => Operator::GreaterThan,
            Token::Less => Operator::LessThan,
            _ => return refuse(format!("found '{text}', expected: in, notin, =, ==, !=, gt, lt")),
        };
        let values = match operator {
            Operator::In | Operator::NotIn => self.set()?,
            _ => vec![self.exact()?],
        };
        Requirement::new(&key, operator, values)
    }

    fn set(&mut self) -> Result<Vec<String>, SelectorError> {
        let (token, text) = self.take();
        if token != Token::Open {
            return refuse(format!("found '{text}' expected: '('"));
        }
        let (token, text) = self.look();
        match token {
            Token::Word | Token::Comma => {
                let values = self.words()?;
                if self.take().0 != Token::Close {
                    return refuse(format!("found '{text}', expected: ')'"));
                }
                Ok(values.into_iter().collect())
            }
            Token::Close => {
                self.take();
                Ok(Vec::new())
            }
            _ => refuse(format!("found '{text}', expected: ',', ')' or identifier")),
        }
    }

    fn words(&mut self) -> Result<BTreeSet<String>, SelectorError> {
        let mut values = BTreeSet::new();
        loop {
            let (token, text) = self.take();
            match token {
                Token::Word => {
                    values.insert(text);
                    match self.look() {
                        (Token::Comma, _) => {}
                        (Token::Close, _) => return Ok(values),
                        (_, text) => return refuse(format!("found '{text}', expected: ',' or ')'")),
                    }
                }
                Token::Comma => {
                    if values.is_empty() {
                        values.insert(String::new());
                    }
                    match self.look().0 {
                        Token::Close => {
                            values.insert(String::new());
                            return Ok(values);
                        }
                        Token::Comma => {
                            self.take();
                            values.insert(String::new());
                        }
                        _ => {}
                    }
                }
                _ => return refuse(format!("found '{text}', expected: ',', or identifier")),
            }
        }
    }

    fn exact(&mut self) -> Result<String, SelectorError> {
        if matches!(self.look().0, Token::End | Token::Comma) {
            return Ok(String::new());
        }
        match self.take() {
            (Token::Word, text) => Ok(text),
            (_, text) => refuse(format!("found '{text}', expected: identifier")),
        }
    }
}

pub(super) fn requirements(text: &str) -> Result<Vec<Requirement>, SelectorError> {
    let mut parser = Parser { tokens: scan(text), position: 0 };
    let mut found = Vec::new();
    loop {
        match parser.look() {
            (Token::Word | Token::Not, _) => {
                let requirement = parser.requirement();
                found.push(
                    requirement
                        .map_err(|why| SelectorError(format!("unable to parse requirement: {}", why.0)))?,
                );
                match parser.take() {
                    (Token::End, _) => return Ok(found),
                    (Token::Comma, _) => {
                        let (token, text) = parser.look();
                        if !matches!(token, Token::Word | Token::Not) {
                            return refuse(format!("found '{text}', expected: identifier after ','"));
                        }
                    }
                    (_, text) => return refuse(format!("found '{text}', expected: ',' or 'end of string'")),
                }
            }
            (Token::End, _) => return Ok(found),
            (_, text) => {
                return refuse(format!("found '{text}', expected: !, identifier, or 'end of string'"));
            }
        }
    }
}
