//! What our databases have in common: connections that are lent only when they are clean, and what an operator can do when SQLite fails.

use sqlx::Connection;
use sqlx::sqlite::{SqliteConnection, SqlitePoolOptions};

/// Options of a pool that lends clean connections only ([`is_clean`]) and replaces the others.
pub fn pool_options() -> SqlitePoolOptions {
    SqlitePoolOptions::new().before_acquire(|connection, _| Box::pin(is_clean(connection)))
}

/// Whether nothing of an earlier transaction is left. SQLite itself ends a transaction whose commit fails on a full disk; the driver then fails to
/// roll it back, counts it as open for ever, and makes every later one a part of it, which no commit ever writes. Such a connection has to be
/// closed and another one opened.
pub async fn is_clean(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    // The rollback of a transaction that was dropped is done before the answer.
    connection.ping().await?;
    Ok(!connection.is_in_transaction())
}

/// The remedy for a result code, as the driver writes it (<https://sqlite.org/rescode.html>; extended codes too). `None` when the driver
/// gave no code.
pub fn remedy(code: Option<&str>) -> &'static str {
    // The low byte of an extended code is the primary one.
    match code.and_then(|code| code.parse::<u32>().ok()).map(|code| code & 0xff) {
        Some(5 | 6) => "another program uses the file: stop it (a second node, a backup, an SQL shell) and try again",
        Some(3 | 8 | 23) => "the file cannot be written: give this user write permission on it and on its directory",
        Some(10) => "the disk fails or has no room: check it and free space; what was stored before is untouched",
        Some(11 | 26) => "the file is damaged or is no database: keep a copy of it for the developers and restore a backup",
        Some(13) => "the disk is full: free space on it; what was stored before is untouched",
        Some(14) => "the file cannot be opened: check that its directory exists and that this user may read and write both",
        _ => "check the disk, the file and its permissions",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extended_codes_are_their_primary_ones() {
        // SQLITE_READONLY_DIRECTORY, SQLITE_IOERR_WRITE, SQLITE_BUSY_SNAPSHOT
        for (extended, primary) in [("1544", "8"), ("778", "10"), ("517", "5")] {
            assert_eq!(remedy(Some(extended)), remedy(Some(primary)));
        }
        assert!(remedy(Some("13")).contains("free space"));
        assert_eq!(remedy(None), remedy(Some("not a number")));
    }
}
