//! The one way a binary starts and the one way it reports its last error.

use std::error::Error;
use std::fmt::Write;
use std::process::ExitCode;

/// Runs `main_future` on a multi-threaded runtime. An error is printed as `error: …` with its causes, and the exit
/// code is 1.
///
/// ```no_run
/// # #[derive(Debug, thiserror::Error)] enum AppError {}
/// # async fn run() -> Result<(), AppError> { Ok(()) }
/// fn main() -> std::process::ExitCode {
///     assay_daemon::run_main(run())
/// }
/// ```
pub fn run_main<E: Error>(main_future: impl Future<Output = Result<(), E>>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    match runtime.block_on(main_future) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn fail(error: &dyn Error) -> ExitCode {
    eprintln!("error: {}", describe(error));
    ExitCode::FAILURE
}

/// An error and its causes, one a line. A cause whose text its parent already shows is left out.
pub fn describe(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let line = error.to_string();
        if !text.contains(&line) {
            let _ = write!(text, "\n  caused by: {line}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer; do this")]
    struct Outer(#[source] std::io::Error);

    #[derive(Debug, thiserror::Error)]
    #[error("outer: {0}")]
    struct Shows(#[source] std::io::Error);

    #[test]
    fn causes_are_listed_once() {
        let inner = || std::io::Error::other("inner");
        assert_eq!(describe(&Outer(inner())), "outer; do this\n  caused by: inner");
        assert_eq!(describe(&Shows(inner())), "outer: inner");
    }
}
