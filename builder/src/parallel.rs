//! Work on all cores whose results come out in order, with a bounded number of items in memory.

use std::num::NonZero;
use std::sync::mpsc::sync_channel;
use std::thread;

/// More threads than this only take memory: the disk or the hash is the limit by then.
const MAX_THREADS: usize = 16;

/// How many threads work: one for every core.
pub fn threads() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get).min(MAX_THREADS)
}

/// Gives every item that `produce` makes to one of `threads` workers, and their results to `consume` in the items' order.
///
/// `produce` runs on a thread of its own; its callback says `false` when nobody wants more, and then it should stop. `consume` runs on
/// the caller's thread. At most three items wait or are worked on for every thread. The first error ends everything; one of `work` or
/// `consume` comes before one of `produce`.
pub fn in_order<I: Send, O: Send, E: Send>(
    threads: usize,
    produce: impl FnOnce(&mut dyn FnMut(I) -> bool) -> Result<(), E> + Send,
    work: impl Fn(I) -> Result<O, E> + Sync,
    mut consume: impl FnMut(O) -> Result<(), E>,
) -> Result<(), E> {
    thread::scope(|scope| {
        let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
        for _ in 0..threads.max(1) {
            let (input, items) = sync_channel(1);
            let (output, results) = sync_channel(1);
            inputs.push(input);
            outputs.push(results);
            let work = &work;
            scope.spawn(move || {
                for item in items {
                    if output.send(work(item)).is_err() {
                        return;
                    }
                }
            });
        }
        let producer = scope.spawn(move || {
            let mut turn = inputs.iter().cycle();
            produce(&mut |item| turn.next().is_some_and(|input| input.send(item).is_ok()))
        });
        // Items are dealt out in turn and collected in the same turn. The first worker that has nothing more is the one behind the last item.
        let results = outputs.iter().cycle().map_while(|results| results.recv().ok());
        let consumed = results.into_iter().try_for_each(|result| consume(result?));
        drop(outputs);
        let produced = match producer.join() {
            Ok(produced) => produced,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        consumed.and(produced)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_however_long_each_takes() {
        for threads in [1, 2, 3, 16] {
            for count in [0_u64, 1, 2, 3, 100] {
                let mut seen = Vec::new();
                let produce =
                    |send: &mut dyn FnMut(u64) -> bool| (0..count).try_for_each(|i| if send(i) { Ok(()) } else { Err("refused") });
                let work = |i: u64| {
                    (0..i * 7919 % 300).for_each(|_| thread::yield_now());
                    Ok(i * i)
                };
                let consume = |square| {
                    seen.push(square);
                    Ok(())
                };
                in_order(threads, produce, work, consume).unwrap();
                assert_eq!(seen, (0..count).map(|i| i * i).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn whoever_fails_first_ends_it_and_is_told() {
        let endless = |send: &mut dyn FnMut(u64) -> bool| {
            let mut i = 0;
            while send(i) {
                i += 1;
            }
            Err("stopped")
        };
        assert_eq!(in_order(2, endless, |i| if i == 50 { Err("work") } else { Ok(i) }, |_| Ok(())), Err("work"));
        assert_eq!(in_order(2, endless, Ok, |i| if i == 50 { Err("consume") } else { Ok(()) }), Err("consume"));
        let mut sum = 0;
        let failing = |send: &mut dyn FnMut(u64) -> bool| {
            (0..5).for_each(|i| assert!(send(i)));
            Err("produce")
        };
        let add = |i| {
            sum += i;
            Ok(())
        };
        assert_eq!(in_order(3, failing, Ok, add), Err("produce"));
        assert_eq!(sum, 10, "what was made before is used");
    }
}
