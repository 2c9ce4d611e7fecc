//! The instructions that the kernels of this project compile to.

/// No register: an operand that is left out.
pub const NOTHING: u32 = u32::MAX;

/// Type of an operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    Pred,
    B8,
    B16,
    B32,
    B64,
    U8,
    U16,
    U32,
    U64,
    S8,
    S16,
    S32,
    S64,
    F16,
    F32,
    F64,
}

impl Type {
    /// The type that an opcode's part names, without its dot.
    pub fn read(word: &str) -> Option<Type> {
        Some(match word {
            "pred" => Type::Pred,
            "b8" => Type::B8,
            "b16" => Type::B16,
            "b32" => Type::B32,
            "b64" => Type::B64,
            "u8" => Type::U8,
            "u16" => Type::U16,
            "u32" => Type::U32,
            "u64" => Type::U64,
            "s8" => Type::S8,
            "s16" => Type::S16,
            "s32" => Type::S32,
            "s64" => Type::S64,
            "f16" => Type::F16,
            "f32" => Type::F32,
            "f64" => Type::F64,
            _ => return None,
        })
    }

    /// Bytes in memory.
    pub fn bytes(self) -> usize {
        match self {
            Type::Pred | Type::B8 | Type::U8 | Type::S8 => 1,
            Type::B16 | Type::U16 | Type::S16 | Type::F16 => 2,
            Type::B32 | Type::U32 | Type::S32 | Type::F32 => 4,
            Type::B64 | Type::U64 | Type::S64 | Type::F64 => 8,
        }
    }

    /// The bits of a register that count.
    pub fn mask(self) -> u64 {
        match self {
            Type::Pred => 1,
            _ => u64::MAX >> (64 - 8 * self.bytes()),
        }
    }

    pub fn is_signed(self) -> bool {
        matches!(self, Type::S8 | Type::S16 | Type::S32 | Type::S64)
    }

    pub fn is_float(self) -> bool {
        matches!(self, Type::F16 | Type::F32 | Type::F64)
    }

    /// The number that a register holds, with its sign.
    pub fn whole(self, bits: u64) -> i128 {
        match self {
            Type::S8 => i128::from(bits as i8),
            Type::S16 => i128::from(bits as i16),
            Type::S32 => i128::from(bits as i32),
            Type::S64 => i128::from(bits as i64),
            _ => i128::from(bits & self.mask()),
        }
    }
}

/// Where an address points to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Space {
    Global,
    Shared,
    Parameter,
    Generic,
}

/// A comparison; those that end in U are true for NaN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    EqualU,
    NotEqualU,
    LessU,
    LessEqualU,
    GreaterU,
    GreaterEqualU,
    AnyNan,
    NoNan,
}

/// Rounding that an opcode names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    NotNamed,
    Nearest,
    Zero,
    Down,
    Up,
}

/// Operations on whole numbers and bits; the instruction's type gives width and sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whole {
    Add,
    Subtract,
    Multiply,
    MultiplyWide,
    MultiplyHigh,
    MultiplyAdd,
    Divide,
    Remainder,
    Negate,
    And,
    Or,
    Xor,
    Not,
    ShiftLeft,
    ShiftRight,
    /// Bit field insert.
    Insert,
    /// Four bytes chosen from eight.
    Permute,
}

/// Operations on f32 and f64, rounded to nearest unless the name says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Real {
    Add,
    AddTowardsZero,
    Subtract,
    Multiply,
    MultiplyAdd,
    MultiplyAddDown,
    Divide,
    Reciprocal,
    ReciprocalApprox,
    Root,
    RootReciprocalApprox,
    Exp2Approx,
    Absolute,
    Negate,
    CopySign,
}

/// Shuffles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shuffle {
    Up,
    Down,
    Butterfly,
    Index,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Move,
    Whole(Whole),
    F32(Real),
    F64(Real),
    Smallest,
    Largest,
    Select,
    Compare(Relation),
    Convert,
    /// Two f32 to two halves in one register; the first source goes to the upper half.
    ConvertPair,
    Pack,
    Unpack,
    SharedToGeneric,
    GenericToShared,
    Load(Space),
    Store(Space),
    AtomicLargest,
    Jump,
    JumpIf,
    JumpUnless,
    SkipIf,
    SkipUnless,
    Barrier,
    BarrierOr,
    Shuffle(Shuffle),
    VoteAll,
    MeetWarp,
    Call,
    Return,
}

/// One instruction. Registers are places in a thread's frame.
#[derive(Debug, Clone, Copy)]
pub struct Instruction {
    pub operation: Operation,
    /// Type of the result, of the sources too unless `from` says otherwise.
    pub kind: Type,
    /// Type of the source of a conversion.
    pub from: Type,
    pub rounding: Rounding,
    /// Results are kept within 0 and 1.
    pub saturates: bool,
    /// Registers in the list of operands.
    pub count: u8,
    pub target: u32,
    pub a: u32,
    pub b: u32,
    pub c: u32,
    /// Offset of an address, place of a jump, register of a fourth source.
    pub extra: i64,
    /// Line of the text; 0: made by the reader.
    pub line: u32,
}

impl Instruction {
    /// An instruction without operands.
    pub fn new(operation: Operation, line: u32) -> Self {
        Instruction {
            operation,
            kind: Type::B32,
            from: Type::B32,
            rounding: Rounding::NotNamed,
            saturates: false,
            count: 0,
            target: NOTHING,
            a: NOTHING,
            b: NOTHING,
            c: NOTHING,
            extra: 0,
            line,
        }
    }
}
