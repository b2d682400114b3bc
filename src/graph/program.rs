//! Several maps as one node: what would otherwise take dozens of nodes for each parameter in each step of an optimizer.

use super::{BinaryOp, UnaryOp};
use std::cell::RefCell;
use std::hash::{Hash, Hasher};
use std::ops;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Formulas over operands of one shape and dtype, and over numbers that may differ from run to run. Planning takes it
/// apart into the ops that it is made of. No gradient flows through it.
#[derive(Debug)]
pub struct Program {
    id: u64,
    /// How many numbers it takes.
    pub numbers: usize,
    /// In an order in which operands come before their users.
    pub lines: Vec<Line>,
    /// The lines that are its outputs.
    pub results: Vec<usize>,
}

/// One value of a program; operands are earlier lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Line {
    Operand(usize),
    Number(usize),
    Unary(UnaryOp, usize),
    Binary(BinaryOp, usize, usize),
}

/// Programs are the same only where they are one: formulas are written once, into statics.
impl PartialEq for Program {
    fn eq(&self, other: &Program) -> bool {
        self.id == other.id
    }
}
impl Eq for Program {}
impl Hash for Program {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

impl Program {
    /// The program that `formula` writes down, given its operands and its numbers.
    ///
    /// ```
    /// use sunstone::graph::program::Program;
    /// let axpy = Program::new(|[x, y], [a]| [a * x + y]);
    /// assert_eq!((axpy.lines.len(), axpy.results.len()), (5, 1));
    /// ```
    pub fn new<const I: usize, const N: usize, const R: usize>(
        formula: impl FnOnce([Expr; I], [Expr; N]) -> [Expr; R],
    ) -> Arc<Program> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let lines = Rc::new(RefCell::new(Vec::new()));
        let operands = std::array::from_fn(|i| Expr::new(&lines, Line::Operand(i)));
        let numbers = std::array::from_fn(|i| Expr::new(&lines, Line::Number(i)));
        let results = formula(operands, numbers).iter().map(|e| e.line).collect();
        let lines = lines.take();
        Arc::new(Program { id: NEXT.fetch_add(1, Ordering::Relaxed), numbers: N, lines, results })
    }
}

/// A value of a program that is being written down.
#[derive(Debug, Clone)]
pub struct Expr {
    lines: Rc<RefCell<Vec<Line>>>,
    line: usize,
}

impl Expr {
    fn new(lines: &Rc<RefCell<Vec<Line>>>, line: Line) -> Expr {
        let mut all = lines.borrow_mut();
        all.push(line);
        Expr { lines: lines.clone(), line: all.len() - 1 }
    }

    /// `√x`
    pub fn sqrt(&self) -> Expr {
        Expr::new(&self.lines, Line::Unary(UnaryOp::Sqrt, self.line))
    }
}

macro_rules! operators {
    ($($trait:ident $method:ident $op:ident;)*) => {$(
        impl ops::$trait<&Expr> for &Expr {
            type Output = Expr;
            fn $method(self, other: &Expr) -> Expr {
                Expr::new(&self.lines, Line::Binary(BinaryOp::$op, self.line, other.line))
            }
        }
        impl ops::$trait<Expr> for &Expr {
            type Output = Expr;
            fn $method(self, other: Expr) -> Expr {
                ops::$trait::$method(self, &other)
            }
        }
        impl ops::$trait<&Expr> for Expr {
            type Output = Expr;
            fn $method(self, other: &Expr) -> Expr {
                ops::$trait::$method(&self, other)
            }
        }
        impl ops::$trait<Expr> for Expr {
            type Output = Expr;
            fn $method(self, other: Expr) -> Expr {
                ops::$trait::$method(&self, &other)
            }
        }
    )*};
}
operators! {
    Add add Add;
    Sub sub Sub;
    Mul mul Mul;
    Div div Div;
}
