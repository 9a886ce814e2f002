//! What the program does with input that is not what it should be: it says so in words, with an exit
//! code of its own, and leaves every file as it was.

#[cfg(unix)]
mod environment;
mod gamma;
mod header;
mod paths;
mod plan;
mod shards;
mod undo;
mod usage;
