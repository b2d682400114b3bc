//! How a loop's tasks are spread over threads: each gets the parts of memory that it alone writes.

use super::eval::{Frame, Job, Target};
use super::program::{Program, Task};
use super::{broken, fold};
use crate::error::{Error, Result};
use crate::parallel::*;
use smallvec::SmallVec;

type Targets<'a> = SmallVec<[Target<'a>; 2]>;

/// Runs a loop; `targets` are whole slots, one for each store.
pub fn run(job: &Job, mut targets: Targets) -> Result<()> {
    let program = job.program;
    if program.split {
        return run_split(job, targets);
    }
    if !program.parallel {
        let mut frame = Frame::new(job, whole(&mut targets))?;
        return program.tasks.iter().try_for_each(|task| frame.run(task));
    }
    first_error(cut(program, &mut targets)?.into_par_iter().map(|(task, targets)| Frame::new(job, targets)?.run(task)))
}

/// Few and long rows: stage after stage, each in parts that are joined in order.
fn run_split(job: &Job, mut targets: Targets) -> Result<()> {
    let program = job.program;
    let rows: usize = program.outer.iter().product();
    let mut known = vec![vec![[0; 2]; program.folds.len()]; rows];
    for stage in 0..program.stages.len() {
        let folds = program.stages[stage].folds.clone();
        let part = |frame: &mut Frame, task: &Task| {
            let row = task.outer.start;
            resume(frame, stage, row, &known[row])?;
            frame.start(stage);
            frame.pass(stage, row, task.inner.clone())?;
            Ok(frame.cells().to_vec())
        };
        let parts: Vec<Result<Vec<fold::Cell>>> = if program.parallel {
            let tasks = cut(program, &mut targets)?;
            tasks.into_par_iter().map(|(task, targets)| part(&mut Frame::new(job, targets)?, task)).collect()
        } else {
            let mut frame = Frame::new(job, whole(&mut targets))?;
            program.tasks.iter().map(|task| part(&mut frame, task)).collect()
        };
        let mut last = None;
        for (task, cells) in program.tasks.iter().zip(parts) {
            let (row, cells) = (task.outer.start, cells?);
            for f in folds.clone() {
                match last == Some(row) {
                    true => fold::join(
                        program.folds[f].op,
                        program.folds[f].of,
                        program.folds[f].find,
                        &mut known[row][f],
                        &cells[f],
                    ),
                    false => known[row][f] = cells[f],
                }
            }
            last = Some(row);
        }
    }
    let mut frame = Frame::new(job, whole(&mut targets))?;
    (0..rows).try_for_each(|row| {
        resume(&mut frame, program.stages.len(), row, &known[row])?;
        frame.leave(row)
    })
}

/// Brings a row to where its stage `stage` begins, given the folds of all stages before.
fn resume(frame: &mut Frame, stage: usize, row: usize, known: &[fold::Cell]) -> Result<()> {
    frame.enter(row)?;
    for earlier in 0..stage {
        frame.cells().copy_from_slice(known);
        frame.finish(earlier, row)?;
    }
    Ok(())
}

fn whole<'s>(targets: &'s mut Targets) -> Targets<'s> {
    targets.iter_mut().map(|t| Target { bytes: t.bytes, first: t.first }).collect()
}

/// The first error in the order of tasks, so that the same run reports the same one.
fn first_error(results: impl IndexedParallelIterator<Item = Result<()>>) -> Result<()> {
    results.map(Result::err).find_map_first(|e| e).map_or(Ok(()), Err)
}

/// Cuts the slots into what each task writes. Tasks come in the order of their memory.
fn cut<'p, 's>(program: &'p Program, targets: &'s mut Targets) -> Result<Vec<(&'p Task, Targets<'s>)>> {
    let mut rest = whole(targets);
    let mut cuts = Vec::with_capacity(program.tasks.len());
    for task in &program.tasks {
        let mut own = Targets::new();
        for (k, target) in rest.iter_mut().enumerate() {
            // Outer values of split rows are stored when all parts are done.
            if program.split && program.outer_stores.contains(&k) {
                own.push(Target::default());
                continue;
            }
            let (lo, hi) = task.spans[k];
            own.push(take(target, lo, hi, program.stores[k].bytes).ok_or_else(outside)?);
        }
        cuts.push((task, own));
    }
    Ok(cuts)
}

fn outside() -> Error {
    broken("a store reaches outside of its slot")
}

/// Splits elements `lo..=hi` off, dropping what lies before them.
fn take<'s>(target: &mut Target<'s>, lo: i64, hi: i64, width: usize) -> Option<Target<'s>> {
    let bytes = std::mem::take(&mut target.bytes);
    let skip = usize::try_from(lo.checked_sub(target.first)?).ok()?.checked_mul(width)?;
    let count = usize::try_from(hi.checked_sub(lo)?.checked_add(1)?).ok()?.checked_mul(width)?;
    let (_, bytes) = bytes.split_at_mut_checked(skip)?;
    let (own, rest) = bytes.split_at_mut_checked(count)?;
    *target = Target { bytes: rest, first: hi + 1 };
    Some(Target { bytes: own, first: lo })
}
