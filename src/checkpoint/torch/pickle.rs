//! An inert interpreter of pickle protocols 0 to 5 (without out-of-band buffers): opcodes in,
//! [`Arena`] out.
//!
//! Every opcode makes at most three nodes and every length is checked against what is left of the
//! input before anything is allocated, so memory is bounded by a multiple of the input's length.
//! There is no recursion.

use std::collections::HashMap;

use super::input::{Fault, Input, Result};
use super::literal;
use super::node::{Arena, Node, NodeId, Object};

/// A pickle that was read to its STOP.
pub(super) struct Parsed {
    pub(super) arena: Arena,
    pub(super) root: NodeId,
    /// Bytes up to and with STOP.
    pub(super) len: usize,
}

/// Reads the pickle that `input` begins with.
pub(super) fn parse(input: &[u8]) -> Result<Parsed> {
    let mut machine = Machine {
        input: Input::new(input),
        arena: Arena::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
    };
    let root = machine.run()?;
    Ok(Parsed {
        arena: machine.arena,
        root,
        len: machine.input.at(),
    })
}

struct Machine<'a> {
    input: Input<'a>,
    arena: Arena,
    stack: Vec<NodeId>,
    /// Heights of the stack at which a MARK stands.
    marks: Vec<usize>,
    memo: HashMap<u32, NodeId>,
}

impl<'a> Machine<'a> {
    fn run(&mut self) -> Result<NodeId> {
        loop {
            let code = self.input.opcode()?;
            if code == b'.' {
                return self.pop();
            }
            self.step(code)?;
        }
    }

    fn step(&mut self, code: u8) -> Result<()> {
        match code {
            0x80 => match self.input.u8()? {
                0..=5 => Ok(()),
                version => Err(self.fault("a protocol from 0 to 5", format!("protocol {version}"))),
            },
            0x95 => {
                let len = self.input.u64()?;
                self.input.check_left(len)
            }
            b'(' => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'0' => match self.marks.last() {
                Some(mark) if *mark == self.stack.len() => {
                    self.marks.pop();
                    Ok(())
                }
                _ => self.pop().map(drop),
            },
            b'1' => self.pop_mark().map(drop),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
                Ok(())
            }
            b'N' => self.push_id(Arena::NONE),
            0x88 => self.push_id(Arena::TRUE),
            0x89 => self.push_id(Arena::FALSE),
            b'I' | b'J' | b'K' | b'L' | b'M' | 0x8a | 0x8b | b'F' | b'G' => self.number(code),
            b'S' | b'U' | b'V' | b'X' | 0x8c | 0x8d => self.text(code),
            b'B' | b'C' | 0x8e | 0x96 => {
                let len = match code {
                    b'B' => u64::from(self.input.u32()?),
                    b'C' => u64::from(self.input.u8()?),
                    _ => self.input.u64()?,
                };
                self.bytes(len)
            }
            // Python 2 writes a string so that is longer than 255 bytes: no name, but data.
            b'T' => {
                let len = self.input.length_i32()?;
                self.bytes(len)
            }
            b'p' | b'q' | b'r' | 0x94 | b'g' | b'h' | b'j' => self.memo(code),
            b']' => self.push(Node::List(Vec::new())),
            b'}' => self.push(Node::Dict(Vec::new())),
            0x8f => self.push(Node::Set(Vec::new())),
            b')' | b't' | 0x85..=0x87 | b'l' | b'd' | 0x91 => self.build_container(code),
            b'a' | b'e' | b's' | b'u' | 0x90 => self.fill_container(code),
            b'c' | 0x93 | b'R' | b'i' | b'o' | 0x81 | 0x92 | b'b' | b'P' | b'Q' => {
                self.object(code)
            }
            0x82..=0x84 => Err(self.fault(
                "a value",
                "a number from Python's extension registry".into(),
            )),
            0x97 | 0x98 => Err(self.fault("a value", "an out-of-band buffer (protocol 5)".into())),
            _ => Err(self.fault("an opcode of protocols 0 to 5", format!("byte {code:#04x}"))),
        }
    }

    fn number(&mut self, code: u8) -> Result<()> {
        let node = match code {
            b'J' => Node::Int(i64::from(self.input.u32()? as i32)),
            b'K' => Node::Int(i64::from(self.input.u8()?)),
            b'M' => Node::Int(i64::from(u16::from_le_bytes(self.input.array()?))),
            b'G' => Node::Float(f64::from_be_bytes(self.input.array()?)),
            0x8a => {
                let len = self.input.u8()?;
                literal::long_bytes(self.input.take(len.into())?)
            }
            0x8b => {
                let len = self.input.length_i32()?;
                literal::long_bytes(self.input.take(len)?)
            }
            _ => {
                let line = self.input.line()?;
                let node = match code {
                    b'I' => literal::int(line),
                    b'L' => literal::long(line),
                    _ => literal::float(line).map(Node::Float),
                };
                node.ok_or_else(|| self.fault("a decimal number", excerpt(line)))?
            }
        };
        self.push(node)
    }

    fn bytes(&mut self, len: u64) -> Result<()> {
        let at = self.input.at();
        let len = self.input.take(len)?.len();
        self.push(Node::Bytes { at, len })
    }

    fn text(&mut self, code: u8) -> Result<()> {
        let text: Box<str> = match code {
            b'S' | b'V' => {
                let line = self.input.line()?;
                let text = match code {
                    b'S' => literal::quoted(line),
                    _ => literal::raw_unicode(line),
                };
                text.ok_or_else(|| self.fault("a string literal", excerpt(line)))?
                    .into()
            }
            _ => {
                let len = match code {
                    b'U' | 0x8c => self.input.u8()?.into(),
                    b'X' => self.input.u32()?.into(),
                    _ => self.input.u64()?,
                };
                String::from_utf8_lossy(self.input.take(len)?).into()
            }
        };
        self.push(Node::Str(text))
    }

    fn memo(&mut self, code: u8) -> Result<()> {
        let key = match code {
            b'p' | b'g' => {
                let line = self.input.line()?;
                let key = std::str::from_utf8(line)
                    .ok()
                    .and_then(|text| text.parse().ok());
                key.ok_or_else(|| self.fault("a memo number", excerpt(line)))?
            }
            b'q' | b'h' => self.input.u8()?.into(),
            b'r' | b'j' => self.input.u32()?,
            // One entry takes at least one byte of an input far shorter than 2³².
            _ => self.memo.len() as u32,
        };
        if matches!(code, b'g' | b'h' | b'j') {
            let id = self.memo.get(&key).copied();
            let id = id.ok_or_else(|| self.fault("a memo entry", format!("none under {key}")))?;
            return self.push_id(id);
        }
        let top = self.top()?;
        self.memo.insert(key, top);
        Ok(())
    }

    fn build_container(&mut self, code: u8) -> Result<()> {
        let node = match code {
            b')' => return self.push_id(Arena::EMPTY_TUPLE),
            0x85..=0x87 => {
                let mut items = vec![Arena::NONE; usize::from(code - 0x84)];
                for slot in items.iter_mut().rev() {
                    *slot = self.pop()?;
                }
                Node::Tuple(items.into())
            }
            b't' => Node::Tuple(self.pop_mark()?.into()),
            b'l' => Node::List(self.pop_mark()?),
            b'd' => Node::Dict(self.pop_pairs()?),
            _ => Node::Set(self.pop_mark()?),
        };
        self.push(node)
    }

    fn fill_container(&mut self, code: u8) -> Result<()> {
        if matches!(code, b's' | b'u') {
            let pairs = if code == b'u' {
                self.pop_pairs()?
            } else {
                let value = self.pop()?;
                vec![(self.pop()?, value)]
            };
            let target = self.top()?;
            match self.arena.node_mut(target) {
                Node::Dict(entries) => entries.extend(pairs),
                Node::Object(object) => object.entries.extend(pairs),
                other => {
                    let found = other.kind().to_owned();
                    return Err(self.fault("a dict to put entries into", found));
                }
            }
            return Ok(());
        }
        let items = if code == b'a' {
            vec![self.pop()?]
        } else {
            self.pop_mark()?
        };
        let target = self.top()?;
        match (self.arena.node_mut(target), code) {
            (Node::List(list), b'a' | b'e') => list.extend(items),
            (Node::Set(set), 0x90) => set.extend(items),
            (Node::Object(object), _) => object.elements.extend(items),
            (other, _) => {
                let found = other.kind().to_owned();
                return Err(self.fault("a list or set to put items into", found));
            }
        }
        Ok(())
    }

    fn object(&mut self, code: u8) -> Result<()> {
        let node = match code {
            b'c' => {
                let callable = self.global_of_lines()?;
                return self.push_id(callable);
            }
            0x93 => {
                let name = self.pop()?;
                let module = self.pop()?;
                for id in [module, name] {
                    if !matches!(self.arena.node(id), Node::Str(_)) {
                        let found = self.arena.node(id).kind().to_owned();
                        return Err(self.fault("module and name as strings", found));
                    }
                }
                Node::Global { module, name }
            }
            b'P' => {
                let line = self.input.line()?;
                let text = String::from_utf8_lossy(line).into();
                Node::Persistent(self.add(Node::Str(text))?)
            }
            b'Q' => Node::Persistent(self.pop()?),
            b'b' => {
                let state = self.pop()?;
                let target = self.top()?;
                return match self.arena.node_mut(target) {
                    Node::Object(object) => {
                        object.state = Some(state);
                        Ok(())
                    }
                    other => {
                        let found = other.kind().to_owned();
                        Err(self.fault("an object whose state is set", found))
                    }
                };
            }
            b'i' => {
                let args = self.pop_mark()?.into();
                let callable = self.global_of_lines()?;
                let args = self.add(Node::Tuple(args))?;
                call(callable, args)
            }
            b'o' => {
                let mut args = self.pop_mark()?;
                if args.is_empty() {
                    return Err(self.fault("a class after the mark", "nothing".into()));
                }
                let callable = args.remove(0);
                let args = self.add(Node::Tuple(args.into()))?;
                call(callable, args)
            }
            _ => {
                if code == 0x92 {
                    self.pop()?;
                }
                let args = self.pop()?;
                call(self.pop()?, args)
            }
        };
        self.push(node)
    }

    fn global_of_lines(&mut self) -> Result<NodeId> {
        let (module, name) = (self.input.line()?, self.input.line()?);
        let module = self.add(Node::Str(String::from_utf8_lossy(module).into()))?;
        let name = self.add(Node::Str(String::from_utf8_lossy(name).into()))?;
        self.add(Node::Global { module, name })
    }

    fn add(&mut self, node: Node) -> Result<NodeId> {
        let id = self.arena.push(node);
        id.ok_or_else(|| self.fault("a pickle of fewer values", "too many to keep".into()))
    }

    fn push(&mut self, node: Node) -> Result<()> {
        let id = self.add(node)?;
        self.push_id(id)
    }

    fn push_id(&mut self, id: NodeId) -> Result<()> {
        self.stack.push(id);
        Ok(())
    }

    /// Where the values above the last MARK begin.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Result<NodeId> {
        let above = self.stack.get(self.floor()..).and_then(<[NodeId]>::last);
        above
            .copied()
            .ok_or_else(|| self.fault("a value on the stack", "none".into()))
    }

    fn pop(&mut self) -> Result<NodeId> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_mark(&mut self) -> Result<Vec<NodeId>> {
        match self.marks.pop() {
            Some(mark) => Ok(self.stack.split_off(mark)),
            None => Err(self.fault("a mark on the stack", "none".into())),
        }
    }

    fn pop_pairs(&mut self) -> Result<Vec<(NodeId, NodeId)>> {
        let items = self.pop_mark()?;
        match items.as_chunks() {
            (pairs, []) => Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect()),
            _ => Err(self.fault("keys with values", format!("{} items", items.len()))),
        }
    }

    fn fault(&self, expected: &'static str, found: String) -> Fault {
        self.input.fault(expected, found)
    }
}

fn call(callable: NodeId, args: NodeId) -> Node {
    let (entries, elements) = (Vec::new(), Vec::new());
    Node::Object(Box::new(Object {
        callable,
        args,
        state: None,
        entries,
        elements,
    }))
}

/// The beginning of a line, printable.
fn excerpt(line: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(&line[..line.len().min(40)]))
}
