//! What each opcode means. Whatever is not listed is refused.

use super::instruction::{Instruction, NOTHING, Operation, Real, Relation, Rounding, Shuffle, Space, Type, Whole};
use super::reader::Reader;

/// An opcode in its parts: `fma`, `rn`, `f32`.
struct Opcode<'a> {
    name: &'a str,
    parts: Vec<&'a str>,
}

impl Opcode<'_> {
    fn has(&self, part: &str) -> bool {
        self.parts.contains(&part)
    }

    fn rounding(&self) -> Rounding {
        let named = self.parts.iter().find_map(|part| match *part {
            "rn" | "rni" => Some(Rounding::Nearest),
            "rz" | "rzi" => Some(Rounding::Zero),
            "rm" | "rmi" => Some(Rounding::Down),
            "rp" | "rpi" => Some(Rounding::Up),
            _ => None,
        });
        named.unwrap_or(Rounding::NotNamed)
    }
}

impl Reader<'_> {
    /// Adds the instruction `text` with its operands.
    pub(super) fn instruction(&mut self, line: u32, text: &str, operands: &[String]) -> Result<(), String> {
        let mut words = text.split('.');
        let opcode = Opcode { name: words.next().unwrap_or_default(), parts: words.collect() };
        let types: Vec<Type> = opcode.parts.iter().filter_map(|part| Type::read(part)).collect();
        let mut instruction = Instruction::new(Operation::Move, line);
        instruction.kind = types.first().copied().unwrap_or(Type::B32);
        instruction.from = types.get(1).copied().unwrap_or(instruction.kind);
        instruction.rounding = opcode.rounding();
        instruction.saturates = opcode.has("sat");
        let given: Vec<&str> = operands.iter().map(String::as_str).collect();
        match (opcode.name, given.as_slice()) {
            ("ld" | "st", &[first, second]) => self.access(&opcode, instruction, first, second),
            ("mov", &[target, source]) => self.movement(instruction, target, source),
            ("bar", given) => self.barrier(&opcode, instruction, given),
            ("shfl", &[target, source, lane, clamp, mask]) => {
                self.shuffle(&opcode, instruction, target, source, [lane, clamp, mask])
            }
            ("vote", &[target, source, mask]) if opcode.has("all") && opcode.has("pred") => {
                instruction.operation = Operation::VoteAll;
                instruction.target = self.register(target);
                instruction.a = self.source(source, Type::Pred)?;
                instruction.c = self.source(mask, Type::B32)?;
                self.push(instruction);
                Ok(())
            }
            ("atom", &[target, address, source])
                if opcode.has("global") && opcode.has("max") && instruction.kind == Type::U32 =>
            {
                instruction.operation = Operation::AtomicLargest;
                instruction.target = self.register(target);
                let (register, offset) = self.address(address)?;
                instruction.a = register.map_err(|_| "the address is not understood")?;
                instruction.extra = offset;
                instruction.b = self.source(source, Type::U32)?;
                self.push(instruction);
                Ok(())
            }
            (_, given) => self.arithmetic(&opcode, instruction, given),
        }
    }

    /// Loads and stores.
    fn access(&mut self, opcode: &Opcode, mut now: Instruction, first: &str, second: &str) -> Result<(), String> {
        let loads = opcode.name == "ld";
        let (values, address) = if loads { (first, second) } else { (second, first) };
        let space = match () {
            () if opcode.has("global") => Space::Global,
            () if opcode.has("shared") => Space::Shared,
            () if opcode.has("param") => Space::Parameter,
            () => Space::Generic,
        };
        let (register, offset) = self.address(address)?;
        match register {
            Ok(register) => {
                now.operation = if loads { Operation::Load(space) } else { Operation::Store(space) };
                now.a = register;
                now.extra = offset;
                (now.target, now.count) = self.list(values, now.kind)?;
            }
            // A parameter of a called function, or its result, is a register here.
            Err(name) if space == Space::Parameter && offset == 0 => {
                let (parameter, value) = (self.register(&name), self.source(values, now.kind)?);
                (now.target, now.a) = if loads { (value, parameter) } else { (parameter, value) };
            }
            Err(_) => return Err("the address is not understood".to_owned()),
        }
        self.push(now);
        Ok(())
    }

    fn movement(&mut self, mut now: Instruction, target: &str, source: &str) -> Result<(), String> {
        if target.starts_with('{') {
            now.operation = Operation::Unpack;
            (now.target, now.count) = self.list(target, Type::B32)?;
            now.a = self.source(source, now.kind)?;
        } else if source.starts_with('{') {
            now.operation = Operation::Pack;
            (now.a, now.count) = self.list(source, Type::B32)?;
            now.target = self.register(target);
        } else {
            now.target = self.register(target);
            now.a = self.source(source, now.kind)?;
        }
        self.push(now);
        Ok(())
    }

    fn barrier(&mut self, opcode: &Opcode, mut now: Instruction, given: &[&str]) -> Result<(), String> {
        match *given {
            [mask] if opcode.has("warp") => {
                now.operation = Operation::MeetWarp;
                now.a = self.source(mask, Type::B32)?;
            }
            ["0"] if opcode.has("sync") => now.operation = Operation::Barrier,
            [target, "0", source] if opcode.has("red") && opcode.has("or") => {
                now.operation = Operation::BarrierOr;
                now.target = self.register(target);
                now.a = self.source(source, Type::Pred)?;
            }
            _ => return Err("the barrier is not known".to_owned()),
        }
        self.push(now);
        Ok(())
    }

    /// `more` are lane, clamp and mask.
    fn shuffle(
        &mut self,
        opcode: &Opcode,
        mut now: Instruction,
        target: &str,
        source: &str,
        more: [&str; 3],
    ) -> Result<(), String> {
        now.operation = Operation::Shuffle(match opcode.parts.get(1) {
            Some(&"up") => Shuffle::Up,
            Some(&"down") => Shuffle::Down,
            Some(&"bfly") => Shuffle::Butterfly,
            Some(&"idx") => Shuffle::Index,
            _ => return Err("the shuffle is not known".to_owned()),
        });
        let (target, inside) = target.split_once('|').map_or((target, None), |(target, inside)| (target, Some(inside)));
        now.target = self.register(target);
        now.a = self.source(source, Type::B32)?;
        let mut list = [NOTHING; 4];
        for (register, text) in list.iter_mut().zip(more) {
            *register = self.source(text, Type::B32)?;
        }
        list[3] = inside.map_or(NOTHING, |inside| self.register(inside));
        self.lists.push(list);
        now.b = self.lists.len() as u32 - 1;
        self.push(now);
        Ok(())
    }

    /// One target, up to four sources.
    fn arithmetic(&mut self, opcode: &Opcode, mut now: Instruction, given: &[&str]) -> Result<(), String> {
        now.operation = meaning(opcode, &now).ok_or("the opcode is not known")?;
        let most = if now.operation == Operation::Whole(Whole::Insert) { 5 } else { 4 };
        let (&target, sources) = given.split_first().ok_or("the opcode has no operands")?;
        if given.len() > most {
            return Err("there are too many operands".to_owned());
        }
        now.target = self.register(target);
        let kind = if now.operation == Operation::Convert { now.from } else { now.kind };
        let is_shift = matches!(now.operation, Operation::Whole(Whole::ShiftLeft | Whole::ShiftRight));
        let is_insertion = now.operation == Operation::Whole(Whole::Insert);
        for (k, text) in sources.iter().enumerate() {
            let kind = match k {
                1 if is_shift => Type::B32,
                2 if now.operation == Operation::Select => Type::Pred,
                2 | 3 if is_insertion => Type::B32,
                _ => kind,
            };
            let register = self.source(text, kind)?;
            match k {
                0 => now.a = register,
                1 => now.b = register,
                2 => now.c = register,
                _ => now.extra = i64::from(register),
            }
        }
        self.push(now);
        Ok(())
    }
}

/// The operation of an opcode with one target; `None` if it is not known.
fn meaning(opcode: &Opcode, now: &Instruction) -> Option<Operation> {
    let kind = now.kind;
    // Subnormal numbers count, but where an approximation says otherwise.
    if opcode.has("ftz") && !opcode.has("approx") {
        return None;
    }
    if opcode.name == "cvt" {
        let pairs = opcode.has("f16x2");
        let known = kind == Type::F32 && now.rounding == Rounding::Nearest && !now.saturates;
        return if pairs { known.then_some(Operation::ConvertPair) } else { Some(Operation::Convert) };
    }
    if now.saturates {
        return None;
    }
    let plain = match opcode.name {
        "selp" => Some(Operation::Select),
        "setp" => Some(Operation::Compare(relation(opcode.parts.first()?)?)),
        "min" if kind.bytes() >= 4 => Some(Operation::Smallest),
        "max" if kind.bytes() >= 4 => Some(Operation::Largest),
        "cvta" => Some(match (opcode.has("to"), opcode.has("shared"), opcode.has("global")) {
            (true, true, false) => Operation::GenericToShared,
            (false, true, false) => Operation::SharedToGeneric,
            (_, false, true) => Operation::Move,
            _ => return None,
        }),
        _ => None,
    };
    plain.or_else(|| match kind {
        Type::F32 | Type::F64 => {
            let operation = real(opcode, kind, now.rounding)?;
            Some(if kind == Type::F32 { Operation::F32(operation) } else { Operation::F64(operation) })
        }
        Type::F16 => None,
        _ => whole(opcode, kind).map(Operation::Whole),
    })
}

fn relation(part: &str) -> Option<Relation> {
    Some(match part {
        "eq" => Relation::Equal,
        "ne" => Relation::NotEqual,
        "lt" | "lo" => Relation::Less,
        "le" | "ls" => Relation::LessEqual,
        "gt" | "hi" => Relation::Greater,
        "ge" | "hs" => Relation::GreaterEqual,
        "equ" => Relation::EqualU,
        "neu" => Relation::NotEqualU,
        "ltu" => Relation::LessU,
        "leu" => Relation::LessEqualU,
        "gtu" => Relation::GreaterU,
        "geu" => Relation::GreaterEqualU,
        "nan" => Relation::AnyNan,
        "num" => Relation::NoNan,
        _ => return None,
    })
}

fn whole(opcode: &Opcode, kind: Type) -> Option<Whole> {
    let low = opcode.has("lo");
    Some(match opcode.name {
        "add" if kind.bytes() > 1 => Whole::Add,
        "sub" if kind.bytes() > 1 => Whole::Subtract,
        "mul" if low => Whole::Multiply,
        "mul" if opcode.has("wide") && matches!(kind, Type::U16 | Type::U32 | Type::S32) => Whole::MultiplyWide,
        "mul" if opcode.has("hi") && kind == Type::U32 => Whole::MultiplyHigh,
        "mad" if low => Whole::MultiplyAdd,
        "div" if kind == Type::U32 => Whole::Divide,
        "rem" if kind == Type::U32 => Whole::Remainder,
        "neg" => Whole::Negate,
        "and" => Whole::And,
        "or" => Whole::Or,
        "xor" => Whole::Xor,
        "not" => Whole::Not,
        "shl" => Whole::ShiftLeft,
        "shr" => Whole::ShiftRight,
        "bfi" => Whole::Insert,
        "prmt" if opcode.parts == ["b32"] => Whole::Permute,
        _ => return None,
    })
}

fn real(opcode: &Opcode, kind: Type, rounding: Rounding) -> Option<Real> {
    let nearest = matches!(rounding, Rounding::NotNamed | Rounding::Nearest);
    let exact = rounding == Rounding::Nearest;
    let is_double = kind == Type::F64;
    let approx = opcode.has("approx");
    Some(match opcode.name {
        "add" if nearest => Real::Add,
        "add" if is_double && rounding == Rounding::Zero => Real::AddTowardsZero,
        "sub" if nearest => Real::Subtract,
        "mul" if nearest => Real::Multiply,
        "fma" if exact => Real::MultiplyAdd,
        "fma" if !is_double && rounding == Rounding::Down => Real::MultiplyAddDown,
        "div" if exact => Real::Divide,
        "rcp" if exact => Real::Reciprocal,
        "rcp" if is_double && approx => Real::ReciprocalApprox,
        "rsqrt" if is_double && approx => Real::RootReciprocalApprox,
        "sqrt" if exact => Real::Root,
        "ex2" if !is_double && approx => Real::Exp2Approx,
        "abs" => Real::Absolute,
        "neg" => Real::Negate,
        "copysign" => Real::CopySign,
        _ => return None,
    })
}
