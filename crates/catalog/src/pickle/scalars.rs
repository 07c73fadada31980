//! The machine's instructions for plain values: numbers, texts, bytes.

use super::machine::{Machine, Step, parse};
use super::opcode as op;
use super::reader::Refusal;
use super::value::{Span, Value};

impl Machine<'_> {
    pub(super) fn integer(&mut self, opcode: u8) -> Step {
        let value = match opcode {
            op::BININT1 => Value::Int(i64::from(self.reader.byte()?)),
            op::BININT2 => Value::Int(i64::from(u16::from_le_bytes(self.reader.array()?))),
            op::BININT => Value::Int(i64::from(i32::from_le_bytes(self.reader.array()?))),
            op::LONG1 => {
                let len = u64::from(self.reader.byte()?);
                self.long(len)?
            }
            op::LONG4 => {
                let len = i32::from_le_bytes(self.reader.array()?);
                self.long(u64::try_from(len).map_err(|_| format!("a number of {len} bytes"))?)?
            }
            _ => {
                let line = self.reader.line()?;
                match self.tree.span(line) {
                    b"00" if opcode == op::INT => Value::Bool(false),
                    b"01" if opcode == op::INT => Value::Bool(true),
                    digits => parse(digits.strip_suffix(b"L").unwrap_or(digits))
                        .map(Value::Int)
                        .ok_or("a number that cannot be read")?,
                }
            }
        };
        self.push(value)
    }

    pub(super) fn long(&mut self, len: u64) -> Result<Value, Refusal> {
        let span = self.reader.span(len, "a number")?;
        let bytes = self.tree.span(span);
        if bytes.len() > 8 {
            return Ok(Value::Big(span));
        }
        // Two's complement, little-endian: the sign fills what is missing.
        let fill = if bytes.last().is_some_and(|last| last & 0x80 != 0) { 0xff } else { 0 };
        let mut whole = [fill; 8];
        whole.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        Ok(Value::Int(i64::from_le_bytes(whole)))
    }

    pub(super) fn float(&mut self, opcode: u8) -> Step {
        let value = if opcode == op::BINFLOAT {
            f64::from_be_bytes(self.reader.array()?)
        } else {
            let line = self.reader.line()?;
            parse(self.tree.span(line)).ok_or("a number that cannot be read")?
        };
        self.push(Value::Float(value))
    }

    /// The texts of protocol 0. torch writes none; those without escapes are read all the same.
    pub(super) fn line_of_text(&mut self, opcode: u8) -> Step {
        let mut line = self.reader.line()?;
        let bytes = self.tree.span(line);
        if bytes.contains(&b'\\') {
            return Err("a text of protocol 0 with escapes".to_owned());
        }
        if opcode == op::STRING {
            let quoted = |quote: u8| bytes.len() >= 2 && bytes.starts_with(&[quote]) && bytes.ends_with(&[quote]);
            if !quoted(b'\'') && !quoted(b'"') {
                return Err("a text of protocol 0 without quotes".to_owned());
            }
            line = Span { start: line.start + 1, len: line.len - 2 };
        }
        self.push_text(line)
    }

    pub(super) fn text(&mut self, opcode: u8) -> Step {
        let len = match opcode {
            op::SHORT_BINSTRING | op::SHORT_BINUNICODE => u64::from(self.reader.byte()?),
            op::BINUNICODE8 => u64::from_le_bytes(self.reader.array()?),
            _ => u64::from(u32::from_le_bytes(self.reader.array()?)),
        };
        let span = self.reader.span(len, "a text")?;
        self.push_text(span)
    }

    /// Python 2 wrote bytes and texts alike: what is no UTF-8 is bytes.
    pub(super) fn push_text(&mut self, span: Span) -> Step {
        let is_text = std::str::from_utf8(self.tree.span(span)).is_ok();
        self.push(if is_text { Value::Text(span) } else { Value::Bytes(span) })
    }

    pub(super) fn bytes(&mut self, opcode: u8) -> Step {
        let len = match opcode {
            op::SHORT_BINBYTES => u64::from(self.reader.byte()?),
            op::BINBYTES => u64::from(u32::from_le_bytes(self.reader.array()?)),
            _ => u64::from_le_bytes(self.reader.array()?),
        };
        let span = self.reader.span(len, "bytes")?;
        self.push(Value::Bytes(span))
    }
}
