//! Work on many equal things, spread over threads: the one place of the core that knows of any.
//!
//! What comes out is what one thread would give, in the same order, whatever their number. Nothing is shared but the input, and all
//! threads have ended when a call returns, so a caller cannot tell.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Items that a thread takes at a time. A list of no more is not worth a second thread.
const PART: usize = 512;

/// How many threads a piece of work may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Threads(usize);

impl Threads {
    /// That many, at least one.
    pub fn new(count: usize) -> Self {
        Self(count.max(1))
    }

    /// As many as the machine runs at once; asked for once, because the answer is read from many files.
    pub fn available() -> Self {
        static COUNT: LazyLock<usize> = LazyLock::new(|| thread::available_parallelism().map_or(1, usize::from));
        Self(*COUNT)
    }

    /// `work` on successive parts of `items`; its results in their order.
    pub(crate) fn parts<T: Sync, R: Send>(self, items: &[T], work: impl Fn(&[T]) -> R + Sync) -> Vec<R> {
        let parts: Vec<&[T]> = items.chunks(PART).collect();
        let next = AtomicUsize::new(0);
        let take = || -> Vec<(usize, R)> {
            let mine = std::iter::from_fn(|| {
                let number = next.fetch_add(1, Ordering::Relaxed);
                parts.get(number).map(|part| (number, work(part)))
            });
            mine.collect()
        };
        let mut done = self.all(parts.len(), &take);
        done.sort_unstable_by_key(|(number, _)| *number);
        done.into_iter().map(|(_, result)| result).collect()
    }

    /// `work` on every item; its results in their order.
    pub(crate) fn map<T: Sync, R: Send>(self, items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
        let mut all = Vec::with_capacity(items.len());
        self.parts(items, |part| part.iter().map(&work).collect::<Vec<R>>()).into_iter().for_each(|part| all.extend(part));
        all
    }

    /// `work(i)` into every `places[i]`.
    pub(crate) fn fill<R: Send>(self, places: &mut [R], work: impl Fn(usize) -> R + Sync) {
        let share = places.len().div_ceil(self.0).max(PART);
        let fill = |(number, share_of): (usize, &mut [R])| {
            let first = number.saturating_mul(share);
            share_of.iter_mut().enumerate().for_each(|(at, place)| *place = work(first.saturating_add(at)));
        };
        let (fill, mut shares) = (&fill, places.chunks_mut(share).enumerate());
        let Some(own) = shares.next() else { return };
        thread::scope(|scope| {
            for share in shares {
                scope.spawn(move || fill(share));
            }
            fill(own);
        });
    }

    /// The results of as many calls as there are threads, and no more than there are parts.
    fn all<R: Send>(self, parts: usize, take: &(impl Fn() -> Vec<R> + Sync)) -> Vec<R> {
        thread::scope(|scope| {
            let others: Vec<_> = (1..self.0.min(parts)).map(|_| scope.spawn(take)).collect();
            let mut done = take();
            for other in others {
                match other.join() {
                    Ok(results) => done.extend(results),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            done
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_of_threads_gives_the_same_in_the_same_order() {
        for length in [0, 1, PART - 1, PART, PART + 1, 10 * PART + 7] {
            let items: Vec<usize> = (0..length).collect();
            let doubled: Vec<usize> = items.iter().map(|item| item * 2).collect();
            for threads in [0, 1, 2, 3, 8, 100].map(Threads::new) {
                assert_eq!(threads.map(&items, |item| item * 2), doubled);
                assert_eq!(threads.parts(&items, <[usize]>::to_vec).concat(), items);
                let mut filled = vec![0; length];
                threads.fill(&mut filled, |at| at * 2);
                assert_eq!(filled, doubled);
            }
        }
    }

    #[test]
    fn several_threads_work_at_once() {
        // Each of two waits for the other: one thread alone would never come back.
        let both = std::sync::Barrier::new(2);
        let items = vec![0u8; 2 * PART];
        assert_eq!(Threads::new(2).parts(&items, |_| both.wait().is_leader()).iter().filter(|leads| **leads).count(), 1);
    }
}
